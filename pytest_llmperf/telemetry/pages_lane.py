"""The lanes that read pages over HTTP, exporters of other hosts and metrics of engines: a thread for each.

They share one ring; each record carries the number of its page or the slot of a device that the page tells of.
"""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmperf.telemetry.ring import FAULT, SCRAPED, Record, Ring
from pytest_llmperf.telemetry.source import SourceError, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_llmperf.telemetry.source import Source

_BITS = struct.Struct("@d")
_INTEGER = struct.Struct("@q")
_LIVENESS_S = 0.1


def bits(value: float) -> int:
    """A float as the integer that a record carries."""
    (number,) = _INTEGER.unpack(_BITS.pack(value))
    return int(number)


def from_bits(number: int) -> float:
    """The float that :func:`bits` made an integer of."""
    (value,) = _BITS.unpack(_INTEGER.pack(number))
    return float(value)


class MetricsSource:
    """Chosen metrics of an engine's page, as SCRAPED records: ``key`` the page, ``detail`` the place in ``names``.

    A metric with several label sets (one for each engine core) is given as its largest value.
    """

    def __init__(self, number: int, url: str, names: Sequence[str]) -> None:
        from pytest_llmperf.telemetry.prometheus import MetricsPage

        self._page = MetricsPage(url)
        self._number = number
        self._places = {name: place for place, name in enumerate(names)}

    def read(self, t_ns: int) -> Sequence[Record]:
        try:
            samples = self._page.read()
        except (OSError, ValueError) as error:
            raise SourceError(str(error), Why.TRANSIENT) from None
        found: dict[int, float] = {}
        for sample in samples:
            place = self._places.get(sample.name)
            if place is not None:
                found[place] = max(found.get(place, sample.value), sample.value)
        return [Record(t_ns, bits(value), self._number, place, SCRAPED) for place, value in found.items()]

    def close(self) -> None:
        self._page.close()


class _Page(threading.Thread):
    """Reads one source at its pace until it is stopped. What it read carries the time at which its answer was there."""

    def __init__(
        self,
        number: int,
        source: Source,
        period_s: float,
        publish: Callable[[Iterable[Record]], None],
        fault: Callable[[int, int, SourceError], int],
    ) -> None:
        super().__init__(name=f"page-{number}", daemon=True)
        self.ended = threading.Event()
        self._number, self._source, self._period_s = number, source, period_s
        self._publish, self._fault = publish, fault

    def run(self) -> None:
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                self._publish(self._source.read(time.monotonic_ns()))
            except SourceError as error:
                number = self._fault(self._number, SCRAPED, error)
                self._publish([Record(0, number, self._number, SCRAPED, FAULT)])
            self.ended.wait(max(0.0, begun + self._period_s - time.monotonic()))
        self._source.close()


class PagesLane:
    """Starts and ends the reading of pages as ordered."""

    def __init__(self, ring: Ring, fault: Callable[[int, int, SourceError], int]) -> None:
        self._ring = ring
        self._fault = fault
        self._wanted: set[int] = set()
        self._pages: dict[int, _Page] = {}
        self._next = 0
        self._lock = threading.Lock()
        ring.set_pace(round(_LIVENESS_S * 1e9), 0)
        threading.Thread(target=self._show_life, name="pages-life", daemon=True).start()

    def read(self, order: Mapping[str, Any], answer: Callable[[dict[str, Any]], None]) -> int:
        """Reads ``{"url": …, "names": […], "hz": N}`` or ``{"dcgm": [URL…], "hz": N}``; the number of the page."""
        self._next += 1
        self._wanted.add(self._next)
        # What is asked of a server may take its time, and other orders must not wait for it.
        threading.Thread(target=self._begin, args=(self._next, order, answer), daemon=True).start()
        return self._next

    def drop(self, number: int) -> None:
        """Reads a page no more, also one that is still to answer for the first time."""
        with self._lock:
            self._wanted.discard(number)
            page = self._pages.pop(number, None)
        if page is not None:
            page.ended.set()

    def _begin(self, number: int, order: Mapping[str, Any], answer: Callable[[dict[str, Any]], None]) -> None:
        try:
            source, facts = self._source(number, order)
        except (SourceError, ValueError) as error:
            answer({"error": str(error)})
            return
        page = _Page(number, source, 1 / order["hz"], self._publish, self._fault)
        with self._lock:
            if number in self._wanted:
                self._pages[number] = page
            else:
                page.ended.set()
        page.start()
        answer({"page": number, "devices": facts})

    def _source(self, number: int, order: Mapping[str, Any]) -> tuple[Source, list[dict[str, Any]]]:
        if "url" in order:
            return MetricsSource(number, order["url"], order["names"]), []
        from pytest_llmperf.telemetry.dcgm import DcgmBackend

        backend = DcgmBackend(order["dcgm"])
        try:
            return backend.source(), [asdict(facts) for facts in backend.devices()]
        except SourceError:
            backend.close()
            raise

    def _publish(self, records: Iterable[Record]) -> None:
        """At the time of publishing: the records of a ring are in order of time, whichever thread they came from."""
        with self._lock:
            now = time.monotonic_ns()
            self._ring.publish(now, [record._replace(t_ns=now) for record in records])

    def _show_life(self) -> None:
        while True:
            self._publish(())
            time.sleep(_LIVENESS_S)
