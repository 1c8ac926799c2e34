"""The searches and sweeps of one test, by engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.plugin.curves.rate_search import RateSearch, SearchMeans, Sweep

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
    from pytest_llmperf.measurement.capacity.steps import SearchOptions
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming


class MeasureLoad(Protocol):
    """Measures one load on an engine alone."""

    def __call__(self, engine: Engine, load: Load, requests: Sequence[RequestTiming]) -> Measurement:
        """What is known of the engine while it had this load, which has ended."""


class Curves:
    """Keeps the searches and sweeps of a test. ``limits`` are its budgets; ``measure`` measures each of their loads."""

    def __init__(self, limits: Sequence[Limit], measure: MeasureLoad) -> None:
        self._limits = limits
        self._measure = measure
        self._searches: list[tuple[Engine, RateSearch]] = []
        self._capacities: dict[RateSearch, CapacityResult] = {}
        self._sweeps: list[tuple[Engine, SweepResult]] = []

    def forget(self) -> None:
        """Forgets all of them: the test begins now."""
        self._searches.clear()
        self._capacities.clear()
        self._sweeps.clear()

    def begin_capacity(self, engine: Engine, options: SearchOptions, asked: str, rounds: int) -> RateSearch:
        """Begins a search on an engine; that of an earlier one of ``rounds`` with the same workload goes on."""
        for known, search in self._searches:
            if known is engine and search.asked == asked:
                search.go_on(options, rounds)
                return search
        found = RateSearch(self._find_means(engine), options, asked, self._capacities.__setitem__)
        self._searches.append((engine, found))
        return found

    def begin_sweep(self, engine: Engine, asked: str) -> Sweep:
        """Begins a sweep on an engine."""
        return Sweep(self._find_means(engine), asked, lambda result: self._sweeps.append((engine, result)))

    def list_capacities(self, engines: Collection[Engine]) -> tuple[CapacityResult, ...]:
        """The results of the searches on these engines."""
        found = [search for engine, search in self._searches if engine in engines]
        return tuple(self._capacities[search] for search in found if search in self._capacities)

    def list_sweeps(self, engines: Collection[Engine]) -> tuple[SweepResult, ...]:
        """The results of the sweeps on these engines."""
        return tuple(result for engine, result in self._sweeps if engine in engines)

    def _find_means(self, engine: Engine) -> SearchMeans:
        return SearchMeans(self._limits, engine.info, partial(self._measure, engine))
