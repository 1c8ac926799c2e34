"""How many slots of llama.cpp's servers are busy while a test runs, and whether its requests explain that."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.engines.attached.core_waits import NOTHING_SEEN, CoreWaits
from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, http_get

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming

LOOKS_PER_SECOND = 4.0
# A server may take as long for each byte of an answer as for a whole one.
STOP_SECONDS = 15.0
# A request that its client has given up takes its slot for a moment longer.
LINGER_NS = 500_000_000


@dataclass(frozen=True)
class SlotsLook:
    """One look: the times in ns at which it was asked for and answered, and how many slots were busy."""

    asked_ns: int
    at_ns: int
    busy: int


class SlotsWatch:
    """Looks at the slots of these URLs a few times a second until it is stopped.

    Attributes:
        looks: what was seen so far; a look that failed is left out.
    """

    def __init__(self, urls: Sequence[str], api_key: str = "") -> None:
        self.looks: list[SlotsLook] = []
        self._urls = tuple(urls)
        self._api_key = api_key
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="llmperf-slots", daemon=True)
        if self._urls:
            self._thread.start()

    def stop(self) -> None:
        """Returns when the last look is done, or is not in ``STOP_SECONDS``. May be called twice."""
        if self._urls and not self._ended.is_set():
            self._ended.set()
            self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while True:
            self._look()
            if self._ended.wait(1 / LOOKS_PER_SECOND):
                self._look()
                return

    def _look(self) -> None:
        asked_ns = time.monotonic_ns()
        busy = [count_busy_slots(url, self._api_key) for url in self._urls]
        known = [number for number in busy if number is not None]
        if known:
            self.looks.append(SlotsLook(asked_ns, time.monotonic_ns(), sum(known)))


def count_busy_slots(url: str, api_key: str = "") -> int | None:
    """How many slots of a llama.cpp server are busy; None if it does not say."""
    try:
        slots = json.loads(http_get(url, api_key=api_key))
        return sum(bool(slot["is_processing"]) for slot in slots) if isinstance(slots, list) else None
    except (OSError, *UNREADABLE_JSON):
        return None


def explain_busy_slots(
    looks: Sequence[SlotsLook],
    requests: Sequence[RequestTiming],
    cores: CoreWaits = NOTHING_SEEN,
    inputs: Sequence[RequestTiming] = (),
) -> str:
    """Why the slots that were busy are more than the test's requests, in one sentence; "" if they are not.

    A server that waits for a core, by ``cores``, frees the slot of a request that has ended so much later.
    Calls of the app under test do not go through llm_client. If that sent nothing itself, all may be the app's.
    ``inputs`` are its requests for embeddings and scores, which may hold a slot for each text.
    """
    begin_ns = min((request.sent_ns for request in requests), default=0)
    end_ns = max((request.end_ns for request in requests), default=0)
    meanwhile = [look for look in looks if begin_ns <= look.asked_ns and look.at_ns <= end_ns]
    found = [
        (look.busy, sum(max(1, r.inputs) for r in (*requests, *inputs) if _may_hold_slot(r, look, cores)))
        for look in meanwhile
    ]
    busy, ours = max(found, key=lambda pair: pair[0] - pair[1], default=(0, 0))
    if busy <= ours:
        return ""
    return (
        f"others used the server: {busy} of its slots were busy with {ours} request{'' if ours == 1 else 's'} of the "
        "test (or calls went past llm_client)"
    )


def _may_hold_slot(request: RequestTiming, look: SlotsLook, cores: CoreWaits) -> bool:
    if request.sent_ns > look.at_ns:
        return False
    late_ns = look.asked_ns - request.end_ns - LINGER_NS
    return late_ns <= 0 or late_ns <= cores.find_most(request.end_ns, look.asked_ns)
