"""Judges limits against measurements as reports keep them, by the rules of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.rejudging.measurement import StoredMeasurement
from pytest_llmperf.budgets.cost_load import PER_TOKEN, ask_for_latency
from pytest_llmperf.budgets.interval import Confidence, count_missing, find_interval, is_hidden_by_sessions
from pytest_llmperf.budgets.judge import compare_with_limit, explain_inconclusive, find_no_budget
from pytest_llmperf.budgets.limit import Limit, select
from pytest_llmperf.budgets.verdict import Status, Verdict, make_verdict
from pytest_llmperf.metrics.metric import DistributionMetric, ObjectiveMetric
from pytest_llmperf.metrics.table import find_metric
from pytest_llmperf.reports.result import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.interval import Interval
    from pytest_llmperf.budgets.stored.validity import Objection
    from pytest_llmperf.metrics.metric import Metric


@dataclass(frozen=True)
class _ReadValue:
    """What a report says of one limited metric."""

    value: float | None
    interval: Interval | None = None
    how: str = ""
    reason: str = ""
    status: Status | None = None


def judge_again(limits: Sequence[Limit], test: Mapping[str, Any], session_noise: float | None) -> list[Verdict]:
    """The verdicts on a test of a report under other limits than it had; one for each that applies to its engine.

    A limit that the test had already keeps its verdict. What was INVALID stays so, whatever the limit.

    Args:
        limits: those that are meant for the test, the closest first.
        test: its entry in a report that was read.
        session_noise: the noise between sessions that the run was told of, as a share; None if it was not.
    """
    if not limits:
        return []
    if not test["measurement"]:
        return [_judge_nothing(limit) for limit in select(limits, None)]
    whole = StoredMeasurement(test["measurement"])
    known = list(from_wire(test).verdicts)
    verdicts = [
        verdict
        for chosen, there, label in _places(limits, whole)
        for verdict in _JudgeOfPlace(there, label, known, chosen, session_noise).judge()
    ]
    return verdicts or [find_no_budget(limits, whole.engine)]


def _judge_nothing(limit: Limit) -> Verdict:
    return _make_verdict(
        Status.NOT_MEASURED, limit, _ReadValue(None, reason="the report has no measurement of the test")
    )


def _places(
    limits: Sequence[Limit], whole: StoredMeasurement
) -> Iterator[tuple[Sequence[Limit], StoredMeasurement, str]]:
    """As in a run: limits that name an engine are compared with the part of that engine, others with the whole."""
    if not whole.parts:
        yield select(limits, whole.engine), whole, ""
        return
    yield select([limit for limit in limits if limit.engine is None], whole.engine), whole, ""
    scoped = [limit for limit in limits if limit.engine is not None]
    for part in whole.parts:
        yield select(scoped, part.engine), part, part.label


class _JudgeOfPlace:
    """Judges the limits on one engine of a test."""

    def __init__(
        self,
        measurement: StoredMeasurement,
        label: str,
        known: Sequence[Verdict],
        chosen: Sequence[Limit],
        session_noise: float | None,
    ) -> None:
        self._measurement = measurement
        self._label = label
        self._known = [verdict for verdict in known if verdict.engine == label]
        self._chosen = chosen
        confidence = Confidence(session_noise=session_noise)
        self._confidence = confidence.at_each_look() if measurement.is_sequential else confidence
        self._objections: Sequence[Objection] = measurement.objections if chosen else ()

    def judge(self) -> list[Verdict]:
        """One verdict for each limit."""
        seconds = self._measurement.engine_seconds
        found = ask_for_latency([self._find_known(limit) or self._judge(limit) for limit in self._chosen])
        return [replace(verdict, engine=self._label, engine_seconds=seconds) for verdict in found]

    def _find_known(self, limit: Limit) -> Verdict | None:
        """The verdict that the run has given on the same limit, or why it has measured something else."""
        if reason := self._measurement.why_other_comparison(limit):
            return _make_verdict(Status.NOT_MEASURED, limit, _ReadValue(None, reason=reason))
        depends = isinstance(limit.definition, ObjectiveMetric) or limit.metric == PER_TOKEN
        if depends and not self._has_same_objectives():
            return None
        for verdict in self._known:
            is_same = verdict.limit_text == limit.text if limit.relative else verdict.limit == limit.value
            if verdict.name == limit.name and verdict.relative == limit.relative and is_same:
                return verdict
        return None

    def _judge(self, limit: Limit) -> Verdict:
        if limit.relative:
            return _make_verdict(
                Status.NO_BASELINE, limit, _ReadValue(None, reason="a stored report is compared with none")
            )
        found = self._find_value(limit)
        status = found.status or compare_with_limit(limit, found.value, found.interval)
        for objection in self._objections:
            if objection.applies_to(limit.metric, status):
                return _make_verdict(Status.INVALID, limit, replace(found, reason=objection.reason))
        if status is Status.INCONCLUSIVE:
            found = replace(found, reason=self._explain(limit, found))
        return _make_verdict(status, limit, found)

    def _find_value(self, limit: Limit) -> _ReadValue:
        metric, statistic = limit.definition, limit.statistic
        if isinstance(metric, ObjectiveMetric):
            return self._find_value_of_objectives(metric)
        reading = self._measurement.read(metric, statistic)
        if reading.value is None:
            return _ReadValue(None, how=reading.how, reason=reading.reason)
        if reason := self._measurement.why_no_evidence(metric, statistic):
            return _ReadValue(reading.value, how=reading.how, reason=reason, status=Status.INVALID)
        evidence = self._measurement.find_evidence(metric)
        if evidence is None:
            return _ReadValue(reading.value, how=reading.how)
        interval = find_interval(evidence, statistic, reading.value, metric.better, self._confidence)
        return _ReadValue(reading.value, interval, reading.how)

    def _find_value_of_objectives(self, metric: Metric) -> _ReadValue:
        """It depends on the other limits of the test: known only where these are as they were."""
        same = next((v for v in self._known if v.metric == metric.name and not v.relative), None)
        if same is None or same.measured is None:
            reason = (
                same.reason if same else f"the test had no limit on {metric.name}, so its report has no value of it"
            )
            return _ReadValue(None, reason=reason)
        if not self._has_same_objectives():
            reason = f"the report holds {metric.name} for the latency limits that its test had, and these are others"
            return _ReadValue(None, reason=reason)
        invalid = same.status is Status.INVALID
        return _ReadValue(
            same.measured, same.interval, same.how, same.reason if invalid else "", Status.INVALID if invalid else None
        )

    def _has_same_objectives(self) -> bool:
        asked = {
            (limit.metric, limit.value)
            for limit in self._chosen
            if isinstance(limit.definition, DistributionMetric) and not limit.relative
        }
        had = {
            (verdict.metric, verdict.limit)
            for verdict in self._known
            if verdict.limit is not None and not verdict.relative and _is_distribution(verdict.metric)
        }
        return asked == had

    def _explain(self, limit: Limit, found: _ReadValue) -> str:
        metric, value = limit.definition, found.value or 0.0
        evidence = self._measurement.find_evidence(metric)
        missing = (
            None
            if evidence is None
            else count_missing(evidence, limit.statistic, value, limit.value, metric.better, self._confidence)
        )
        is_hidden = is_hidden_by_sessions(value, limit.value, metric.better, self._confidence)
        noise = self._confidence.session_noise if is_hidden else None
        return explain_inconclusive(limit, found.interval, missing, noise)


def _is_distribution(metric: str) -> bool:
    return isinstance(find_metric(metric), DistributionMetric)


def _make_verdict(status: Status, limit: Limit, found: _ReadValue) -> Verdict:
    return make_verdict(status, limit, found.reason, measured=found.value, interval=found.interval, how=found.how)
