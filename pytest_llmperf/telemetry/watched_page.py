"""A metrics page that the sampler process reads, as pytest sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.system.prometheus import PageLook
from pytest_llmperf.telemetry.records.ring import FAULT, PAGE, SERIES
from pytest_llmperf.telemetry.sampler.client import SamplerError
from pytest_llmperf.telemetry.sampler.pages_lane import unpack_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.telemetry.records.ring import RingRecord
    from pytest_llmperf.telemetry.sampler.client import Sampler


class WatchedPage:
    """Has the sampler read the ``series`` of a page ``hz`` times a second, from its creation until it is closed."""

    def __init__(self, sampler: Sampler, url: str, series: Sequence[str], hz: float) -> None:
        self._sampler = sampler
        self._series = list(series)
        self._number = self._started_ns = 0
        self._failure = ""
        self._is_open = False
        try:
            self._started_ns = sampler.started_ns
            self._number = sampler.ask("read_page", url=url, series=self._series, hz=hz)["page"]
            self._is_open = True
        except SamplerError as error:
            self._failure = str(error)

    def looks(self, start_ns: int, end_ns: int) -> list[PageLook]:
        """The readings that were answered in this time, in order."""
        readings: dict[int, list[RingRecord]] = {}
        for record in self._records(start_ns, end_ns):
            if record.lane in (PAGE, SERIES):
                readings.setdefault(record.t_ns, []).append(record)
        return [self._make_look(at_ns, records) for at_ns, records in readings.items()]

    def _make_look(self, answered_ns: int, records: Sequence[RingRecord]) -> PageLook:
        took_ns = next(record.value for record in records if record.lane == PAGE)
        series = {self._series[record.detail]: record for record in records if record.lane == SERIES}
        return PageLook(
            answered_ns - took_ns // 2,
            took_ns,
            {name: unpack_number(record.value) for name, record in series.items()},
            {name: record.flags for name, record in series.items()},
        )

    def why_unread(self, start_ns: int, end_ns: int) -> str:
        """Why the last reading in this time failed; empty if it did not, or if there was none."""
        if self._failure:
            return self._failure
        if not self._is_same:
            return "the sampler ended during the test, and looked at the engine no more"
        records = self._records(start_ns, end_ns)
        if not records or records[-1].lane != FAULT:
            return ""
        try:
            faults = self._sampler.ask("faults")["faults"]
        except SamplerError as error:
            return str(error)
        return str(faults[records[-1].value]["text"])

    def close(self) -> None:
        """Ends the readings. May be called twice; the looks stay readable."""
        is_open, self._is_open = self._is_open, False
        if not is_open or not self._is_same:
            return
        try:
            self._sampler.ask("stop_reading_page", page=self._number)
        except SamplerError:
            return  # it has ended, and reads nothing

    @property
    def _is_same(self) -> bool:
        """Whether the sampler process is still the one that was asked."""
        return self._sampler.alive and self._sampler.started_ns == self._started_ns

    def _records(self, start_ns: int, end_ns: int) -> list[RingRecord]:
        if self._failure or not self._is_same:
            return []
        return [
            record
            for record in self._sampler.exporters.read(start_ns, end_ns)
            if record.key == self._number
            and (record.lane in (PAGE, SERIES) or (record.lane == FAULT and record.detail == PAGE))
        ]
