"""The lane that reads metrics pages of engines over HTTP, with a thread for each page.

What a page is and which of its series matter is told by who asks: this process knows no engine. The records go into the
ring of the exporters, under the number of the page.
"""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.pages.series import PageSeries
from pytest_llmperf.telemetry.records.ring import FAULT, PAGE, SERIES, RingRecord
from pytest_llmperf.telemetry.records.source import SourceError, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_llmperf.system.prometheus import MetricsPage


class PagesLane:
    """Starts and ends the threads that read pages; those who ask for the same page share one."""

    def __init__(
        self, publish: Callable[[Iterable[RingRecord]], None], fault: Callable[[int, int, SourceError], int]
    ) -> None:
        self.publish = publish
        self._fault = fault
        self._pages: dict[int, _Page] = {}
        self._numbers: dict[tuple[object, ...], int] = {}
        self._lock = threading.Lock()

    def read(self, order: Mapping[str, Any]) -> int:
        """Reads ``{"url": URL, "series": [SERIES…], "hz": N}`` for one more user; returns the number of the page.

        A series is a name, with the labels that it must have.

        Raises:
            ValueError: the URL is not that of a page, or a series is written otherwise.
        """
        from pytest_llmperf.system.prometheus import MetricsPage

        key = (order["url"], *order["series"], order["hz"])
        with self._lock:
            number = self._numbers.setdefault(key, len(self._numbers) + 1)
            page = self._pages.get(number)
            if page is None:
                reader = MetricsPage(order["url"])
                page = self._pages[number] = _Page(number, reader, order["series"], 1 / order["hz"], self)
                page.start()
            page.users += 1
        return number

    def stop_reading(self, number: int) -> None:
        """Counts one user of the page less; after the last one its thread ends."""
        with self._lock:
            page = self._pages.get(number)
            if page is None:
                return
            page.users -= 1
            if not page.users:
                del self._pages[number]
                page.ended.set()

    def fail(self, number: int, error: OSError) -> None:
        """Publishes that the page of this number could not be read."""
        fault = self._fault(number, PAGE, SourceError(str(error), Why.TRANSIENT))
        self.publish([RingRecord(0, fault, number, PAGE, FAULT)])


class _Page(threading.Thread):
    """Reads a page every ``period_s`` until its last user has left."""

    def __init__(self, number: int, page: MetricsPage, series: Sequence[str], period_s: float, lane: PagesLane) -> None:
        super().__init__(name=f"page-{number}", daemon=True)
        self.users = 0
        self.ended = threading.Event()
        self._number, self._page, self._period_s, self._lane = number, page, period_s, lane
        self._series = list(map(PageSeries.parse, series))
        self._names = sorted({one.name for one in self._series})

    def run(self) -> None:
        due = time.monotonic()
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            self._look()
            # A reading that took too long is not made up for.
            due = max(due + self._period_s, time.monotonic())
        self._page.close()

    def _look(self) -> None:
        asked_ns = time.monotonic_ns()
        try:
            samples = self._page.read(self._names)
        except OSError as error:
            self._lane.fail(self._number, error)
            return
        took_ns = time.monotonic_ns() - asked_ns
        records = [RingRecord(0, took_ns, self._number, 0, PAGE)]
        for place, series in enumerate(self._series):
            values = [sample.value for sample in samples if series.matches(sample.name, sample.labels)]
            if values:
                records.append(RingRecord(0, pack_number(sum(values)), self._number, place, SERIES, len(values)))
        self._lane.publish(records)


def pack_number(value: float) -> int:
    """A number as the whole one that its bits are, for the ``value`` of a record."""
    packed: int = struct.unpack("@q", struct.pack("@d", value))[0]
    return packed


def unpack_number(bits: int) -> float:
    """The number that :func:`pack_number` was given."""
    value: float = struct.unpack("@d", struct.pack("@q", bits))[0]
    return value
