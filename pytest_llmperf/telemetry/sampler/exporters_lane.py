"""The lane that reads DCGM exporters over HTTP, with a thread for each set of them.

The threads share one ring; the key of a record is the slot of a device, or for a failed reading the number of the set.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmperf.telemetry.records.ring import EXPORTERS, FAULT, Ring, RingRecord
from pytest_llmperf.telemetry.records.source import SLOTS_PER_EXPORTER, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pytest_llmperf.telemetry.records.source import Source

_LIVENESS_S = 0.1


class ExportersLane:
    """Starts and ends the threads that read sets of exporters."""

    def __init__(self, ring: Ring, fault: Callable[[int, int, SourceError], int]) -> None:
        self._ring = ring
        self._fault = fault
        self._wanted: dict[tuple[object, ...], _Exporters] = {}
        self._next, self._next_slot = 1, SLOTS_PER_EXPORTER
        self._lock = threading.Lock()
        ring.set_pace(round(_LIVENESS_S * 1e9), 0)
        threading.Thread(target=self._show_life, name="exporters-life", daemon=True).start()

    def read(self, order: Mapping[str, Any], answer: Callable[[dict[str, Any]], None]) -> int:
        """Reads ``{"urls": [URL…], "hz": N}`` for one more user; users of the same set share a thread.

        Returns the number of the set. ``answer`` is given that number and the devices, or why there are none.
        """
        key = (*order["urls"], order["hz"])
        with self._lock:
            exporters = self._wanted.get(key) or self._begin(key, order["urls"], 1 / order["hz"])
            exporters.users += 1
        exporters.tell(answer)
        return exporters.number

    def _begin(self, key: tuple[object, ...], urls: list[str], period_s: float) -> _Exporters:
        exporters = self._wanted[key] = _Exporters(self._next, urls, self._next_slot, period_s, self)
        self._next += 1
        self._next_slot += len(urls) * SLOTS_PER_EXPORTER
        exporters.start()
        return exporters

    def stop_reading(self, number: int) -> None:
        """Counts one user of the set less; after the last one its thread ends, even before its first answer."""
        with self._lock:
            for key, exporters in self._wanted.items():
                if exporters.number == number:
                    exporters.users -= 1
                    if not exporters.users:
                        del self._wanted[key]
                        exporters.ended.set()
                    return

    def remove(self, failed: _Exporters) -> None:
        """Removes a set that could not be listed, so that the next user tries it again."""
        with self._lock:
            self._wanted = {key: one for key, one in self._wanted.items() if one is not failed}

    def publish(self, records: Iterable[RingRecord]) -> None:
        """Publishes records with the present time, so that those of all threads are in order of time."""
        with self._lock:
            now = time.monotonic_ns()
            self._ring.publish(now, [record._replace(t_ns=now) for record in records])

    def fail(self, number: int, error: SourceError) -> None:
        """Publishes that the set of this number could not be read."""
        fault = self._fault(number, EXPORTERS, error)
        self.publish([RingRecord(0, fault, number, EXPORTERS, FAULT)])

    def _show_life(self) -> None:
        while True:
            self.publish(())
            time.sleep(_LIVENESS_S)


class _Exporters(threading.Thread):
    """Lists the devices of a set of exporters, then reads them every ``period_s`` until the last user has left."""

    def __init__(self, number: int, urls: list[str], first_slot: int, period_s: float, lane: ExportersLane) -> None:
        super().__init__(name=f"exporters-{number}", daemon=True)
        self.number = number
        self.users = 0
        self.ended = threading.Event()
        self._urls, self._first_slot, self._period_s, self._lane = urls, first_slot, period_s, lane
        self._known: dict[str, Any] | None = None
        self._waiting: list[Callable[[dict[str, Any]], None]] = []
        self._lock = threading.Lock()

    def tell(self, answer: Callable[[dict[str, Any]], None]) -> None:
        """Answers with the devices of the set: now, or from this thread as soon as they are known."""
        with self._lock:
            if self._known is None:
                self._waiting.append(answer)
                return
        answer(self._known)

    def run(self) -> None:
        from pytest_llmperf.telemetry.sources.dcgm import DcgmBackend

        with ExitStack() as stack:
            try:
                backend = DcgmBackend(self._urls, self._first_slot)
                stack.callback(backend.close)
                facts = [asdict(facts) for facts in backend.devices()]
            except SourceError as error:
                self._lane.remove(self)
                self._answer({"error": str(error)})
                return
            self._answer({"exporters": self.number, "devices": facts})
            self._read(backend.source())

    def _answer(self, content: dict[str, Any]) -> None:
        with self._lock:
            self._known = content
        for answer in self._waiting:
            answer(content)

    def _read(self, source: Source) -> None:
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                self._lane.publish(source.read(time.monotonic_ns()))
            except SourceError as error:
                self._lane.fail(self.number, error)
            self.ended.wait(max(0.0, begun + self._period_s - time.monotonic()))
