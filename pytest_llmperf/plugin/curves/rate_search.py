"""The searches and sweeps of one test: what each of their loads has given, as points of a curve."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.budgets.capacity.conditions import (
    find_conditions,
    find_rate,
    find_rate_limit,
    see_step,
    why_client_limits,
    why_step_invalid,
)
from pytest_llmperf.budgets.capacity.curve import make_point
from pytest_llmperf.budgets.capacity.search import Search
from pytest_llmperf.measurement.capacity.result import CapacityResult, SweepResult
from pytest_llmperf.measurement.reading import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.budgets.capacity.conditions import Condition
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.capacity.result import MeasuredPoint
    from pytest_llmperf.measurement.capacity.steps import SearchOptions, SearchStep
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming


class MeasureStep(Protocol):
    """Measures a load of a search alone."""

    def __call__(self, load: Load, requests: Sequence[RequestTiming]) -> Measurement:
        """What is known of an engine while it had this load."""


@dataclass(frozen=True)
class SearchMeans:
    """What a search or sweep has of its test.

    Attributes:
        limits: the budgets of the test.
        engine: the one that is asked; None if it is not known.
        measure: measures one of its loads.
    """

    limits: Sequence[Limit]
    engine: EngineInfo | None
    measure: MeasureStep


class RateSearch:
    """A search of a test for the highest rate at which its latency limits hold.

    ``deliver`` takes the result as soon as the search is over. Further rounds of the test go on with :meth:`go_on`.
    """

    def __init__(
        self,
        means: SearchMeans,
        options: SearchOptions,
        asked: str,
        deliver: Callable[[RateSearch, CapacityResult], None],
    ) -> None:
        self.asked = asked
        self._means = means
        self._deliver = deliver
        found = find_conditions(means.limits, means.engine)
        self._missing = found.reason if isinstance(found, Missing) else ""
        self._conditions: list[Condition] = [] if isinstance(found, Missing) else found
        limit = find_rate_limit(means.limits, means.engine)
        self._search = Search([one.allowed for one in self._conditions], options, limit)
        self._fault = ""
        self._curve: list[MeasuredPoint] = []
        self._seconds = 0.0
        self._begun_ns = time.monotonic_ns()

    def go_on(self, options: SearchOptions, rounds: int) -> None:
        """Goes on in a further round of the test: as much evidence again, so that all of it is worth more."""
        self._begun_ns = time.monotonic_ns()
        most = options.most_requests
        self._search.go_on(
            replace(
                options,
                precision=options.precision / rounds**0.5,
                most_requests=None if most is None else most + self._search.requests,
            )
        )

    def next_step(self) -> SearchStep | None:
        """What to send next; None once the search is over."""
        return None if self._missing or self._fault else self._search.next_step()

    def add(self, step: SearchStep, load: Load, requests: Sequence[RequestTiming]) -> None:
        """Takes what a step has sent."""
        measured = self._means.measure(load, requests)
        if step.rate is None:
            self._add_probe(measured)
            return
        rate = find_rate(measured.judged) or step.rate
        left_out = self._use(step, measured, rate)
        self._curve.append(make_point(measured, self._means.limits, rate=rate, left_out=left_out))

    def describe(self) -> str:
        """``7.1 req/s (6.8 to 7.4) after 2,310 requests``; that it begins, before the first rate."""
        found = self._search.estimate()
        if found is None:
            return "begins"
        return f"{found.rate:.3g} req/s ({found.low:.3g} to {found.high:.3g}) after {self._search.requests} requests"

    def finish(self, fault: str = "", ended: str = "") -> CapacityResult:
        """The result; ``fault`` says why nothing of it can be used, ``ended`` why the client ends it."""
        self._fault = self._fault or fault
        self._seconds += (time.monotonic_ns() - self._begun_ns) / 1e9
        result = self._make_result(self._fault or ended or self._search.ended)
        self._deliver(self, result)
        return result

    # ----------------------------------------------------------------------------------------------------------------

    def _add_probe(self, measured: Measurement) -> None:
        if times := _list_times(measured):
            self._search.add_probe(times)
        else:
            self._fault = "no single request was answered"

    def _use(self, step: SearchStep, measured: Measurement, rate: float) -> str:
        """Adds what a step says to the search; returns why it says nothing, or ""."""
        points = []
        for condition in self._conditions:
            if reason := why_step_invalid(condition, measured):
                self._fault = f"{condition.limit.name} at {rate:.3g} req/s: {reason}"
                return self._fault
            point = see_step(condition, measured, rate)
            if isinstance(point, Missing):
                self._missing = f"{condition.limit.name} is not known: {point.reason}"
                return self._missing
            if reason := why_client_limits(condition, measured, point):
                self._search.refuse(step, f"the client was too slow at {rate:.3g} req/s: {reason}")
                return reason
            points.append(point)
        self._search.add(step, points, _list_times(measured))
        return ""

    def _make_result(self, ended: str) -> CapacityResult:
        found = None if self._missing else self._search.estimate()
        about = CapacityResult(
            None,
            curve=tuple(sorted(self._curve, key=lambda point: point.rate or 0.0)),
            asked=self.asked,
            conditions=tuple(map(str, self._conditions)),
            limits={condition.limit.name: condition.limit.value for condition in self._conditions},
            requests=self._search.requests,
            seconds=self._seconds,
            ended=ended,
            fault=self._fault,
        )
        if found is None:
            why = self._missing or self._fault or self._search.bounded or f"it knows no rate: {ended}"
            return replace(about, missing=why, fault=self._fault or (why if self._search.bounded else ""))
        if self._search.has_ended_at_nothing:
            return replace(about, rate=0.0, low=0.0, high=found.high)
        known = replace(about, effective=self._search.count_effective())
        if self._search.bounded and found.high >= self._search.ceiling:
            least = self._search.find_bound()
            return replace(known, rate=least, low=least, bounded=self._search.bounded)
        if (flat := self._search.find_flat()) is not None:
            why = (
                f"{self._conditions[flat]} is broken about as often at each rate, so that none is the highest: "
                "some requests take longer however few there are; limit another percentile, or requests of one kind"
            )
            return replace(known, rate=found.rate, low=found.low, high=found.high, fault=why)
        return replace(known, rate=found.rate, low=found.low, high=found.high, noise=found.noise)


def _list_times(measured: Measurement) -> list[float]:
    """The end-to-end times of the judged requests that were answered, in seconds."""
    return [e2e for request in measured.judged if (e2e := request.e2e) is not None and request.error is None]


class Sweep:
    """A sweep of a test; ``deliver`` takes its result."""

    def __init__(self, means: SearchMeans, asked: str, deliver: Callable[[SweepResult], None]) -> None:
        self._means = means
        self._asked = asked
        self._deliver = deliver
        self._curve: list[MeasuredPoint] = []

    def add(self, load: Load, requests: Sequence[RequestTiming], concurrency: int | None, rate: float | None) -> None:
        """Takes what was sent at one rate, or with so many requests at a time."""
        measured = self._means.measure(load, requests)
        found = make_point(measured, self._means.limits, rate=rate, concurrency=concurrency)
        self._curve.append(found)

    def finish(self) -> SweepResult:
        """The result so far."""
        result = SweepResult(tuple(self._curve), self._asked)
        self._deliver(result)
        return result
