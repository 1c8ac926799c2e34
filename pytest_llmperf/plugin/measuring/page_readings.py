"""The metrics pages of the engines of one test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import PageReading, Reading
from pytest_llmperf.telemetry.pages.observation import PageObservation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.pages.definition import PageMetric
    from pytest_llmperf.measurement.window import Window
    from pytest_llmperf.telemetry.pages.observation import BeginWatch

_NO_PAGE = "the engine has no metrics page: give --llmperf-metrics=URL"


class PageReadings:
    """Reads these metrics of the pages of each engine; ``find_pages`` returns the URLs of an engine's pages."""

    def __init__(
        self, metrics: Sequence[PageMetric], find_pages: Callable[[Engine], Sequence[str]], watch: BeginWatch
    ) -> None:
        self._metrics = metrics
        self._find_pages = find_pages
        self._watch = watch
        self._observed: dict[Engine, list[PageObservation]] = {}

    def begin(self, engine: Engine) -> None:
        """Begins to read the pages of an engine."""
        if self._metrics:
            pages = self._find_pages(engine)
            self._observed[engine] = [PageObservation(url, self._metrics, self._watch) for url in pages]

    def read(self, engine: Engine, window: Window) -> Mapping[str, PageReading]:
        """What was read for an engine so far, by the name of the metric."""
        if not self._metrics:
            return {}
        pages = [page.read(window) for page in self._observed.get(engine, ())]
        return {metric.name: _choose([page[metric.name] for page in pages]) for metric in self._metrics}

    def end(self) -> None:
        """Reads all pages for the last time."""
        for page in self._list_pages():
            page.end()

    def close(self) -> None:
        """Ends the reading of all pages, and forgets them."""
        for page in self._list_pages():
            page.close()
        self._observed.clear()

    def _list_pages(self) -> list[PageObservation]:
        return [page for pages in self._observed.values() for page in pages]


def _choose(readings: Sequence[PageReading]) -> PageReading:
    """The reading of the one page that has it; without one the reason of the first."""
    found = [one for one in readings if one.reading.value is not None]
    if len(found) > 1:
        return PageReading(Reading.missing(f"{len(found)} of the pages of the engine have it: give one of them"))
    return next(iter(found or readings), PageReading(Reading.missing(_NO_PAGE)))
