"""Reads a metrics page over one test: at both its ends, and some times a second in between."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.system.prometheus import MetricsPage
from pytest_llmperf.telemetry.pages.compute import compute_reading
from pytest_llmperf.telemetry.pages.snapshot import MOST_BYTES, PATIENCE_S, STARTED, PageLooks, Snapshot, take_snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.pages.series import PageSeries
    from pytest_llmperf.measurement.reading import PageReading
    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.system.prometheus import PageLook

LOOKS_PER_SECOND = 2.0
_SETTLE_S = 0.5
_PAUSE_S = 0.02


class Watch(Protocol):
    """A page that another process reads."""

    def looks(self, start_ns: int, end_ns: int) -> Sequence[PageLook]:
        """The readings that were answered in this time, in order."""

    def why_unread(self, start_ns: int, end_ns: int) -> str:
        """Why the last reading in this time failed; empty if it did not."""

    def close(self) -> None:
        """Ends the readings. May be called twice."""


class BeginWatch(Protocol):
    """Has a page read from now on, in another process."""

    def __call__(self, url: str, series: Sequence[str], hz: float, /) -> Watch:
        """Reads the ``series`` of the page ``hz`` times a second."""


class PageObservation:
    """Reads these metrics of the page at ``url`` from now on. Never raises: the readings carry what is wrong."""

    def __init__(self, url: str, metrics: Sequence[PageMetric], watch: BeginWatch) -> None:
        self._url = url
        self._metrics = metrics
        self._names = sorted({series.name for metric in metrics for series in _list_series(metric)})
        self._before = self._read()
        self._after: Snapshot | None = None
        watched = {s.text: s for metric in metrics for s in _list_watched(metric)}
        self._watched = [*watched, STARTED]
        self._watch = watch(url, self._watched, LOOKS_PER_SECOND) if not self._before.failure else None

    def read(self, window: Window) -> dict[str, PageReading]:
        """The metrics so far, by name; once it has ended, those of the whole test."""
        after = self._read() if self._after is None else self._after
        looks = self._list_looks(window)
        return {one.name: compute_reading(one, self._before, after, looks, window.seconds) for one in self._metrics}

    def end(self) -> None:
        """Reads the page for the last time, unless it has ended already."""
        if self._after is None:
            self._after = self._read_settled()
            self.close()

    def close(self) -> None:
        """Ends the readings without a last one. May be called twice."""
        if self._watch is not None:
            self._watch.close()

    def _read(self) -> Snapshot:
        with closing(MetricsPage(self._url, timeout=PATIENCE_S, most_bytes=MOST_BYTES)) as page:
            return take_snapshot(page, self._names)

    def _read_settled(self) -> Snapshot:
        """The page once its counters no longer rise: a server may count an answer just after it has sent it."""
        counters = [series for metric in self._metrics for series in metric.counters]
        deadline, last = time.monotonic() + _SETTLE_S, self._read()
        while counters and not last.failure and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
            earlier, last = last, self._read()
            if all(earlier.add_up(series) == last.add_up(series) for series in counters):
                break
        return last

    def _list_looks(self, window: Window) -> PageLooks:
        if self._watch is None:
            return PageLooks()
        seen = self._watch.looks(window.start_ns, window.end_ns)
        return PageLooks(
            {text: [look.sums[text] for look in seen if text in look.sums] for text in self._watched},
            {text: max((look.counts.get(text, 0) for look in seen), default=0) for text in self._watched},
            [look.sums[STARTED] for look in seen if STARTED in look.sums],
            self._watch.why_unread(window.start_ns, window.end_ns),
        )


def _list_series(metric: PageMetric) -> tuple[PageSeries, ...]:
    return metric.counters or (metric.series,)


def _list_watched(metric: PageMetric) -> tuple[PageSeries, ...]:
    """The series that are looked at during the test: of a histogram the number of its values alone."""
    return metric.counters[:1] if metric.kind == "histogram" else _list_series(metric)
