"""What several runs of one build measured of each metric of each test."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.rejudging.measurement import StoredMeasurement
from pytest_llmperf.baselines.stored_run import failed_by_itself
from pytest_llmperf.budgets.calibration.series import FEWEST_SESSIONS, SessionSeries, SessionValue
from pytest_llmperf.budgets.interval import Confidence, find_interval
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.metrics.cost import find_quantity_in
from pytest_llmperf.metrics.table import find
from pytest_llmperf.reports.result import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.interval import Better, Interval
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.units import Quantity

_ONE_SIGMA = 0.15866
_JUDGED = (Status.PASS, Status.FAIL, Status.INCONCLUSIVE)


@dataclass(frozen=True)
class MetricKey:
    """Which number: of which test, of which engine if the test had several (its label, else empty), and its name."""

    nodeid: str
    engine: str
    name: str


@dataclass
class MetricHistory:
    """What all runs together know of one number.

    Attributes:
        key: which number it is.
        quantity, better: of its metric.
        sessions: what each run measured that measured it validly, oldest first.
        runs: how many runs had the test.
        limits: the limits that runs had on it, by their text and whether they are against the baseline: the value in
            the base unit, or the share.
        statuses: how often its verdict was which.
        reasons: why runs have no valid value, each once.
        doubts: of each run whose value is known to keep the limit that it had and may else be worse than the engine's
            own, why.
        engine: the engine that was measured; None without one.
    """

    key: MetricKey
    quantity: Quantity
    better: Better
    sessions: list[SessionValue] = field(default_factory=list)
    runs: int = 0
    limits: dict[tuple[str, bool], float | None] = field(default_factory=dict)
    statuses: Counter[Status] = field(default_factory=Counter)
    reasons: dict[str, None] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    engine: EngineInfo | None = None

    @property
    def series(self) -> SessionSeries | None:
        """The values and their noise; None of fewer than three runs."""
        if len(self.sessions) < FEWEST_SESSIONS:
            return None
        return SessionSeries(self.sessions, self.better, self.quantity.base)


def collect_histories(reports: Iterable[Mapping[str, Any]]) -> dict[MetricKey, MetricHistory]:
    """What reports say of every number that one of them has a valid value or a limit of, oldest first.

    A test that something else than a budget failed counts for nothing in that run.
    """
    found: dict[MetricKey, MetricHistory] = {}
    for report in reports:
        confidence = Confidence(session_noise=report["session"].get("session_noise"))
        for test in report["tests"]:
            if test["measurement"] and not failed_by_itself(test):
                _add_test(found, test, confidence, report.get("metrics") or {})
    return found


def _add_test(
    found: dict[MetricKey, MetricHistory], test: Mapping[str, Any], confidence: Confidence, metrics: Mapping[str, Any]
) -> None:
    whole = StoredMeasurement(test["measurement"])
    verdicts = {(verdict.engine, verdict.name, verdict.relative): verdict for verdict in from_wire(test).verdicts}
    places = [whole, *whole.parts]
    for place in places:
        numbers = dict(_read_numbers(place, confidence.at_each_look() if place.is_sequential else confidence))
        limited = [name for engine, name, _ in verdicts if engine == place.label and name]
        for name in dict.fromkeys([*numbers, *limited]):
            key = MetricKey(test["nodeid"], place.label, name)
            history = _start_history(key, place.engine, metrics)
            if history is None:
                continue
            if (known := found.get(key)) is not None and known.quantity == history.quantity:
                history = known  # else the prices are in another currency now, and what was before is no such amount
            found[key] = history
            history.runs += 1
            own = [verdicts.get((place.label, name, relative)) for relative in (False, True)]
            _add_number(history, numbers.get(name), [verdict for verdict in own if verdict is not None])


def _start_history(key: MetricKey, engine: EngineInfo | None, metrics: Mapping[str, Any]) -> MetricHistory | None:
    """None for a metric that is not known here: one that a project has registered."""
    try:
        metric, _ = find(key.name)
    except ValueError:
        return None
    quantity = find_quantity_in(metric, metrics.get(metric.name, {}).get("unit"))
    return MetricHistory(key, quantity, metric.better, engine=engine)


def _add_number(history: MetricHistory, number: SessionValue | str | None, verdicts: Sequence[Verdict]) -> None:
    for verdict in verdicts:
        history.statuses[verdict.status] += 1
        share = _read_share(verdict.limit_text) if verdict.relative else None
        history.limits[verdict.limit_text, verdict.relative] = verdict.limit if share is None else share
    judged = next((verdict for verdict in verdicts if verdict.status in _JUDGED), None)
    unjudged = next((verdict for verdict in verdicts if verdict.status not in (*_JUDGED, Status.NO_BASELINE)), None)
    if unjudged is not None:
        history.reasons[unjudged.reason] = None
    elif isinstance(number, SessionValue):
        history.sessions.append(number)
    elif judged is not None and judged.measured is not None and not judged.relative:
        interval = judged.interval
        history.sessions.append(SessionValue(judged.measured, interval, _guess_noise(judged.measured, interval)))
        history.doubts += [number] if isinstance(number, str) else []
    elif number:
        history.reasons[number] = None


def _read_numbers(place: StoredMeasurement, confidence: Confidence) -> Iterator[tuple[str, SessionValue | str]]:
    """Each number of a measurement, or why it is not valid."""
    objections = place.objections
    for name in place.names:
        try:
            metric, statistic = find(name)
        except ValueError:
            continue  # a mean or a smallest value, or a metric that a project has registered
        reading = place.read(metric, statistic)
        why = next((one.reason for one in objections if one.applies_to(metric.name, Status.FAIL)), "")
        why = why or place.why_no_evidence(metric, statistic)
        if why or reading.value is None:
            yield name, why or reading.reason
            continue
        evidence = place.find_evidence(metric)
        if evidence is None:
            yield name, SessionValue(reading.value)
            continue
        interval = find_interval(evidence, statistic, reading.value, metric.better, confidence)
        sigma = find_interval(evidence, statistic, reading.value, metric.better, Confidence(error=_ONE_SIGMA))
        yield name, SessionValue(reading.value, interval, _measure_half(reading.value, sigma))


def _measure_half(value: float, interval: Interval | None) -> float:
    """Half of an interval of one standard deviation on each side, on the scale of logarithms."""
    if interval is None or not interval.low or not interval.high or value <= 0:
        return 0.0
    return (math.log(interval.high) - math.log(interval.low)) / 2


def _guess_noise(value: float, interval: Interval | None) -> float:
    """From the interval of a verdict, which reaches about 2.5 standard deviations on each side."""
    return _measure_half(value, interval) / 2.5


def _read_share(text: str) -> float:
    return float(text.removesuffix("%").replace(" ", "")) / 100


def is_noisy(history: MetricHistory) -> bool:
    """Whether it is one of the numbers that are judged by an interval, such as rates and latencies."""
    return any(session.interval is not None for session in history.sessions)
