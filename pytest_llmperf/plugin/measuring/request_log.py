"""The requests and loads of one measured run, each registered when it begins."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.load import Load
from pytest_llmperf.plugin.measuring.left_overs import LOAD, REQUEST, LeftOver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.plugin.measuring.forked_calls import ForkedCalls
    from pytest_llmperf.plugin.measuring.left_overs import LeftOvers, Owner
    from pytest_llmperf.traffic.client.listener import EndLoad, EndRequest, ListPrompts, Ongoing

    RememberPrompts = Callable[[Engine, Iterable[Prompt | None]], None]

UNENDED = "it was still on its way when the test ended"
_UNENDED_LOAD = "the load was still running when the test ended"


@dataclass(eq=False)
class _Open:
    """A request, or a load (``request`` is None), that has begun. ``list_prompts`` lists what it has sent so far."""

    engine: Engine
    request: Ongoing | None
    asked: str
    list_prompts: ListPrompts
    begun_ns: int
    period: int


@dataclass(frozen=True, eq=False)
class _Preview:
    """A load that goes on, as far as it has come."""

    engine: Engine
    load: Load
    requests: Sequence[RequestTiming]


class RequestLog:
    """What one test sends. A request counts if it begins in the measured period; each ends once.

    A period begins with ``open`` and ends with ``close``. What runs at its end is cut off: for the test it ends then,
    with an error. ``owner`` names the test; ``left_overs`` takes what goes on, and ``remember`` the prompts of what
    does not count, or of which nothing is known. In a process that the test has forked, what begins is noted in
    ``forked`` instead.
    """

    def __init__(self, owner: Owner, left_overs: LeftOvers, remember: RememberPrompts, forked: ForkedCalls) -> None:
        self.owner = owner
        self._forked = forked
        self._pid = os.getpid()
        self._left_overs = left_overs
        self._remember = remember
        self._lock = threading.Lock()
        self._period = 0
        self._closed = False
        self._open: dict[_Open, LeftOver | None] = {}
        self._requests: list[tuple[Engine, RequestTiming]] = []
        self._loads: list[tuple[Engine, Load]] = []
        self._apart: list[tuple[Engine, RequestTiming]] = []
        self._previews: list[_Preview] = []

    def begin(self, engine: Engine, request: Ongoing) -> EndRequest:
        """Registers a request to an engine; returns what takes its timing, or None if it was never sent."""
        if os.getpid() != self._pid:
            return self._note_forked_request(engine, request)
        opened = self._register(engine, request, "", lambda: (request.describe_so_far(time.monotonic_ns(), "").prompt,))

        def end(timing: RequestTiming | None) -> None:
            with self._lock:
                if self._ends(opened) and timing is not None:
                    self._requests.append((engine, timing))

        return end

    def begin_load(self, engine: Engine, asked: str, prompts: ListPrompts, *, apart: bool = False) -> EndLoad:
        """Registers a load on an engine; returns what takes it and the timings of its requests.

        The requests of one that stands ``apart`` are in no number of the test, but the engine was asked for them.
        """
        if os.getpid() != self._pid:
            return self._note_forked_load(engine, prompts)
        opened = self._register(engine, None, asked, prompts)

        def end(load: Load, requests: Sequence[RequestTiming]) -> None:
            if not requests:
                self._remember(engine, prompts())
            with self._lock:
                if not self._ends(opened):
                    return
                (self._apart if apart else self._requests).extend((engine, timing) for timing in requests)
                if not apart:
                    self._loads.append((engine, load))

        return end

    def _note_forked_request(self, engine: Engine, request: Ongoing) -> EndRequest:
        now_ns = time.monotonic_ns()
        self._forked.note(self.owner, REQUEST, engine, now_ns, (request.describe_so_far(now_ns, "").prompt,))
        return lambda _: None

    def _note_forked_load(self, engine: Engine, prompts: ListPrompts) -> EndLoad:
        now_ns = time.monotonic_ns()
        self._forked.note(self.owner, LOAD, engine, now_ns, prompts())
        return lambda _load, _requests: self._forked.note(self.owner, "", engine, now_ns, prompts())

    @contextmanager
    def preview(self, engine: Engine, load: Load, requests: Sequence[RequestTiming]) -> Iterator[None]:
        """Counts a load that has not ended, with what it has sent so far, while the ``with`` block runs."""
        shown = _Preview(engine, load, requests)
        with self._lock:
            self._previews.append(shown)
        try:
            yield
        finally:
            with self._lock:
                self._previews.remove(shown)

    def extend(self, requests: Sequence[tuple[Engine, RequestTiming]]) -> None:
        """Adds requests of an app, which have ended."""
        with self._lock:
            self._requests += requests

    def _register(self, engine: Engine, request: Ongoing | None, asked: str, prompts: ListPrompts) -> _Open:
        with self._lock:
            opened = _Open(engine, request, asked, prompts, time.monotonic_ns(), self._period)
            # Tests run in the main thread: what begins there is of a test, and not of this one any more.
            borrowed = threading.current_thread() is threading.main_thread()
            self._open[opened] = self._leave(opened, borrowed=borrowed) if self._closed else None
            return opened

    def _ends(self, opened: _Open) -> bool:
        """Ends it; returns whether it counts."""
        left = self._open.pop(opened, None)
        if left is not None:
            left.ended_ns = time.monotonic_ns()
            self._remember(opened.engine, opened.list_prompts())
        return left is None and not self._closed and opened.period == self._period

    def _leave(self, opened: _Open, *, borrowed: bool = False) -> LeftOver:
        kind = LOAD if opened.request is None else REQUEST
        left = LeftOver(self.owner, kind, opened.begun_ns, opened.engine, None, opened.list_prompts, borrowed)
        self._left_overs.add(left)
        self._remember(opened.engine, opened.list_prompts())
        return left

    # ------------------------------------------------------------------------------------------------- its periods

    def open(self) -> None:
        """Begins a period: what has been sent before does not count, and what still runs is left over."""
        with self._lock:
            self._period += 1
            self._requests.clear()
            self._loads.clear()
            self._apart.clear()
            self._leave_all()

    def reopen(self) -> None:
        """Lets a log that was closed register what begins from now on; ``open`` begins its next period."""
        with self._lock:
            self._closed = False

    def close(self, at_ns: int) -> None:
        """Ends the period at ``at_ns``. What still runs has failed for the test; the rest of it is left over."""
        with self._lock:
            for opened in self._running():
                if opened.request is None:
                    self._loads.append((opened.engine, Load(opened.asked, None, fault=_UNENDED_LOAD)))
                else:
                    self._requests.append((opened.engine, opened.request.describe_so_far(at_ns, UNENDED)))
            self._leave_all()
            self._closed = True

    def _leave_all(self) -> None:
        for opened in self._running():
            self._open[opened] = self._leave(opened)

    def _running(self) -> list[_Open]:
        return [opened for opened, left in self._open.items() if left is None]

    # ------------------------------------------------------------------------------------------------ what was sent

    @property
    def closed(self) -> bool:
        """Whether it has been closed: what begins from then on is left over at once."""
        return self._closed

    @property
    def requests(self) -> list[tuple[Engine, RequestTiming]]:
        """The requests that have ended, each with its engine."""
        with self._lock:
            return [*self._requests, *((one.engine, timing) for one in self._previews for timing in one.requests)]

    @property
    def apart(self) -> list[tuple[Engine, RequestTiming]]:
        """The requests of loads that stand apart, each with its engine."""
        with self._lock:
            return list(self._apart)

    @property
    def loads(self) -> list[tuple[Engine, Load]]:
        """The loads that have ended, each with its engine."""
        with self._lock:
            return [*self._loads, *((one.engine, one.load) for one in self._previews)]

    @property
    def running_since(self) -> list[int]:
        """When each request that has not ended began, in ns."""
        with self._lock:
            return [opened.begun_ns for opened in self._running()]
