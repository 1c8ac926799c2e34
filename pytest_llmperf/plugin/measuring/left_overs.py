"""Requests that run while a test is measured and are not its own: an earlier test, or its own setup, sent them."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.traffic.client.listener import ListPrompts

BORROWED = "llm_client of another test"
"""What a request by the client of an earlier test is called beside the paths of calls whose answers are not read."""
REQUEST, LOAD, CALL = "request", "load", "call of the app"


@dataclass(frozen=True)
class Owner:
    """A test, and which attempt of it if it is run again."""

    nodeid: str
    attempt: int = 1


@dataclass(eq=False)
class LeftOver:
    """A request that does not count, because it began before the measurement or went on after it.

    Attributes:
        owner: the test that sent it; None if it came while none was measured.
        kind: ``REQUEST``, ``LOAD`` or ``CALL``.
        begun_ns, ended_ns: when it began and when it ended, in ns of ``time.monotonic_ns()``; None while it runs.
        engine: where it was sent.
        list_prompts: lists what it has put into the engine's cache so far, as far as that is known.
        borrowed: whether a later test has begun it by the client of its ``owner``, as far as the thread tells.
    """

    owner: Owner | None
    kind: str
    begun_ns: int
    engine: Engine
    ended_ns: int | None = None
    list_prompts: ListPrompts = tuple
    borrowed: bool = False


class LeftOvers:
    """What the tests of one pytest process have left running, or have sent after their end. Threads may add to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: list[LeftOver] = []

    def add(self, left_over: LeftOver) -> None:
        """Adds a request when it is left over; its end is noted in it when it comes."""
        with self._lock:
            self._known.append(left_over)

    def forget_ended(self) -> None:
        """Forgets those that have ended, when a test begins."""
        with self._lock:
            self._known = [one for one in self._known if one.ended_ns is None]

    def find_running(self, window: Window) -> list[LeftOver]:
        """Those that ran in a window."""
        with self._lock:
            begun = [one for one in self._known if one.begun_ns < window.end_ns]
        return [one for one in begun if one.ended_ns is None or one.ended_ns > window.start_ns]


def describe_left_overs(found: Iterable[LeftOver], owner: Owner) -> tuple[str, ...]:
    """What ran beside the test ``owner``, one sentence for each kind and sender."""
    counted = Counter((one.owner, one.kind) for one in found)
    return tuple(_describe(count, kind, sender, owner) for (sender, kind), count in counted.items())


def _describe(count: int, kind: str, sender: Owner | None, owner: Owner) -> str:
    first, *rest = kind.split(" ", 1)
    what = " ".join([f"a {first}" if count == 1 else f"{count} {first}s", *rest])
    was = "was" if count == 1 else "were"
    if sender is None or sender == owner:
        return f"{what} that began before the measurement {was} still running while this test ran"
    whose = f"attempt {sender.attempt} of this test" if sender.nodeid == owner.nodeid else sender.nodeid
    return f"{what} of {whose} {was} still running while this test ran"
