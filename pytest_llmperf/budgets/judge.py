"""Judges limits against a measurement. Pure functions, without pytest."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.client_lag import add_lag, find_largest_lag, is_saturated, take_off_lag
from pytest_llmperf.budgets.cost_load import ask_for_latency
from pytest_llmperf.budgets.host_pressure import take_off_wait
from pytest_llmperf.budgets.interval import Confidence, count_missing, find_interval, is_hidden_by_sessions
from pytest_llmperf.budgets.limit import Limit, select
from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines
from pytest_llmperf.budgets.stamp_bounds import bound_truth
from pytest_llmperf.budgets.validity import why_disturbed, why_invalid, why_objectives_invalid
from pytest_llmperf.budgets.verdict import Status, Verdict, make_verdict
from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.metrics.capacity import SUSTAINED
from pytest_llmperf.metrics.metric import DistributionMetric, Objective, ObjectiveMetric
from pytest_llmperf.metrics.missing import why_raised

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.budgets.compared import Compare, Compared
    from pytest_llmperf.budgets.interval import Interval
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.evidence import Evidence

CONFIDENCE = Confidence()


def judge(
    limits: Sequence[Limit],
    measurement: Measurement,
    confidence: Confidence = CONFIDENCE,
    compare: Compare | None = None,
) -> list[Verdict]:
    """One verdict for each limit that applies to this engine and device; limits are inclusive.

    A value with noise passes or fails only where its whole interval lies on one side of the limit; else its verdict is
    INCONCLUSIVE.

    If the test had several engines, a limit that names one is compared with that one alone, other limits with all
    together. A test that has limits of which none applies gets the single verdict NO BUDGET.

    ``compare`` finds the baseline of relative limits; without it they are NO BASELINE.
    """
    verdicts = [
        verdict
        for limits_there, there, engine in _places(limits, measurement)
        for verdict in _judge_all(
            select(limits_there, there.engine), there, _Judge(engine, measurement, confidence, compare)
        )
    ]
    return verdicts or ([find_no_budget(limits, measurement.engine)] if limits else [])


def _places(limits: Sequence[Limit], measurement: Measurement) -> Iterator[tuple[Sequence[Limit], Measurement, str]]:
    """Which limits are compared with which measurement, with the label of its engine if the test had several."""
    if not measurement.parts:
        yield limits, measurement, ""
        return
    yield [limit for limit in limits if limit.engine is None], measurement, ""
    scoped = [limit for limit in limits if limit.engine is not None]
    for part in measurement.parts:
        yield scoped, part, part.label


@dataclass(frozen=True)
class _Judge:
    """How the limits on one engine are judged: its label if the test had several, the whole test, the confidence."""

    engine: str
    whole: Measurement
    confidence: Confidence
    compare: Compare | None

    def confidence_for(self, limit: Limit) -> Confidence:
        """A relative limit shares its error with the others of the session."""
        if not limit.relative or self.compare is None:
            return self.confidence
        return self.confidence.share_error(self.compare.sides)


def _judge_all(chosen: Sequence[Limit], measurement: Measurement, judge: _Judge) -> list[Verdict]:
    judged = leave_out_conditions(chosen, measurement)
    found = ask_for_latency([_judge_one(limit, measurement, chosen, judge) for limit in judged])
    return [replace(verdict, engine=judge.engine, engine_seconds=measurement.engine_seconds) for verdict in found]


def leave_out_conditions(limits: Sequence[Limit], measurement: Measurement) -> list[Limit]:
    """The limits of a test that are judged by themselves.

    A search for the highest rate overloads an engine on purpose. In a test that sends nothing else and limits that
    rate, the latency limits are what the rate has to hold, and have no verdict of their own.
    """
    is_search = measurement.capacities and not measurement.requests
    if not is_search or not any(limit.metric == SUSTAINED for limit in limits):
        return list(limits)
    return [one for one in limits if one.relative or not isinstance(one.definition, DistributionMetric)]


def may_be_decided(verdicts: Sequence[Verdict]) -> bool:
    """Whether more rounds may change the fate of a test: a budget needs more evidence, and none has failed already."""
    if any(verdict.status in (Status.FAIL, Status.INVALID) for verdict in verdicts):
        return False
    return any(verdict.needs_more for verdict in verdicts)


def select_broken(verdicts: Sequence[Verdict], *, strict: bool, inconclusive: bool = False) -> list[Verdict]:
    """The verdicts that fail a test: every FAIL, with ``strict`` those that could not be judged.

    With ``inconclusive`` those that are INCONCLUSIVE as well.
    """
    fails = [v for v in verdicts if v.status is Status.FAIL]
    fails += [v for v in verdicts if strict and v.status.without_verdict]
    return fails + [v for v in verdicts if inconclusive and v.status is Status.INCONCLUSIVE]


def find_no_budget(limits: Sequence[Limit], engine: EngineInfo | None) -> Verdict:
    """The verdict on a test that has limits of which none applies to its engine and device."""
    where = f"{engine.title} on {engine.device_name}" if engine else "a test without an engine"
    written = ", ".join(dict.fromkeys(limit.scope for limit in limits))
    reason = f"no budget for {where}; the budgets of this test are for {written}"
    return Verdict(Status.NO_BUDGET, "", "", reason=reason)


def _judge_one(limit: Limit, measurement: Measurement, chosen: Sequence[Limit], judge: _Judge) -> Verdict:
    metric, objectives, confidence = limit.definition, _objectives(chosen), judge.confidence_for(limit)
    measurement = metric.select(measurement)
    evidence: Evidence | None = None
    interval: Interval | None = None
    try:
        reading = metric.read(measurement, limit.statistic, objectives)
        reason = why_invalid(metric, measurement)
        if isinstance(metric, ObjectiveMetric):
            reason = reason or why_objectives_invalid(objectives, measurement)
        if reading.value is not None and math.isfinite(reading.value):
            evidence = metric.find_evidence(measurement, objectives)
            if evidence is not None:
                interval = find_interval(evidence, limit.statistic, reading.value, metric.better, confidence)
    except Exception as error:  # a metric may be another package's, and the other limits are still to be judged
        reading = Reading.missing("")
        reason = why_raised(error)
    if reading.value is not None and not math.isfinite(reading.value):
        reason = reason or f"the measured value is {reading.value}"
        reading = Reading.missing(reason)
    if reading.value is None and reading.lacks_baseline and not reason:
        return make_verdict(Status.NO_BASELINE, limit, reading.reason)
    doubt = "" if reading.needs_more else why_stamps_are_not_the_engines(metric, limit.statistic, measurement)
    if doubt and not reason:
        interval = bound_truth(metric, limit.statistic, measurement, confidence).stretch_to(reading.value)
    compared: Compared | Missing | None = None
    within = interval
    if limit.relative and not reason:
        compared, limit, interval = _find_baseline(limit, reading, interval, judge)
    if isinstance(compared, Missing):
        return make_verdict(Status.NO_BASELINE, limit, compared.reason, measured=reading.value, how=reading.how)
    if doubt and not reason and interval is not None:
        reason = "" if _decides(limit, reading, interval) else doubt
        reading = replace(reading, how=f"{reading.how}; {doubt}")
    status = Status.INVALID if reason else compare_with_limit(limit, reading.value, interval)
    missing: int | None = None
    if compared is not None and not compared.is_within:
        reason = reason or ("" if status is Status.PASS else compared.reason)
    elif status is Status.INCONCLUSIVE and reading.value is not None and evidence is not None:
        missing = count_missing(evidence, limit.statistic, reading.value, limit.value, metric.better, confidence)
        is_hidden = is_hidden_by_sessions(reading.value, limit.value, metric.better, confidence)
        reason = explain_inconclusive(limit, within, missing, confidence.session_noise if is_hidden else None)
    if status in (Status.PASS, Status.FAIL, Status.INCONCLUSIVE):
        holds = status is Status.PASS
        is_sure = _is_sure_without_lag(limit, status, measurement, interval, reading)
        if is_sure and isinstance(metric, ObjectiveMetric) and not holds:
            is_sure = _fails_at_best(limit, metric, objectives, measurement)
        with_cores = _is_sure_with_cores(limit, status, measurement, interval, reading)
        disturbed = why_disturbed(
            metric, measurement, limit.statistic, holds=holds, is_sure=is_sure, is_sure_with_cores=with_cores
        )
        status, reason = (Status.INVALID, disturbed) if disturbed else (status, reason)
    verdict = replace(
        make_verdict(
            status, limit, reason or reading.reason, measured=reading.value, interval=interval, how=reading.how
        ),
        needs_more=missing is not None or (status is Status.NOT_MEASURED and reading.needs_more),
    )
    return verdict if compared is None else _add_baseline(verdict, limit, compared)


def _find_baseline(
    limit: Limit, reading: Reading, interval: Interval | None, judge: _Judge
) -> tuple[Compared | Missing | None, Limit, Interval | None]:
    """What a value is compared with; the limit as it stands there, in the base unit; and the interval against it.

    Without a value there is nothing to compare.
    """
    if reading.value is None:
        return None, limit, interval
    if judge.compare is None:
        return Missing("nothing to compare with here"), limit, interval
    found = judge.compare(limit, reading, interval, judge.whole, judge.engine, judge.confidence)
    if isinstance(found, Missing):
        return found, limit, interval
    return found, replace(limit, value=found.allowed), found.interval


def _add_baseline(verdict: Verdict, limit: Limit, compared: Compared) -> Verdict:
    """The verdict with what its value was compared with; ``limit`` as it stands there."""
    return replace(
        verdict,
        limit=limit.value,
        how=f"{verdict.how}; {compared.how}",
        baseline=compared.baseline,
        p_value=compared.p_value,
    )


def _objectives(limits: Sequence[Limit]) -> list[Objective]:
    """The limits that each request keeps or breaks by itself, whatever their percentile."""
    return [
        Objective(limit.definition, limit.value)
        for limit in limits
        if isinstance(limit.definition, DistributionMetric) and not limit.relative
    ]


def compare_with_limit(limit: Limit, value: float | None, interval: Interval | None) -> Status:
    """On which side of a limit a value lies with its whole interval; None as the interval of an exact value."""
    if value is None:
        return Status.NOT_MEASURED
    if interval is None:
        return Status.PASS if _holds(limit, value) else Status.FAIL
    best, worst = (interval.low, interval.high) if limit.definition.better == "lower" else (interval.high, interval.low)
    if worst is not None and _holds(limit, worst):
        return Status.PASS
    return Status.FAIL if best is not None and not _holds(limit, best) else Status.INCONCLUSIVE


def _decides(limit: Limit, reading: Reading, interval: Interval) -> bool:
    """Whether a value lies on one side of its limit wherever in this interval the truth is."""
    return compare_with_limit(limit, reading.value, interval) in (Status.PASS, Status.FAIL)


def _is_sure_without_lag(
    limit: Limit, status: Status, measurement: Measurement, interval: Interval | None, reading: Reading
) -> bool:
    """Whether the limit would be kept, or broken, as it is, had the client not been late.

    What is INCONCLUSIVE claims neither, so that a lag which can only have made the value worse changes nothing.
    """
    low, high = (reading.value, reading.value) if interval is None else (interval.low, interval.high)
    best, worst = (low, high) if limit.definition.better == "lower" else (high, low)
    metric, statistic = limit.definition, limit.statistic
    if not metric.worse_with_lag and is_saturated(measurement):
        return False
    if status is Status.FAIL:
        return best is not None and not _holds(limit, take_off_lag(best, metric, statistic, measurement))
    if status is Status.PASS:
        return worst is not None and _holds(limit, add_lag(worst, metric, statistic, measurement))
    return metric.worse_with_lag


def _fails_at_best(
    limit: Limit, metric: ObjectiveMetric, objectives: Sequence[Objective], measurement: Measurement
) -> bool:
    """Whether too few requests would keep their objectives if each of these were wider by the lag of the client."""
    late = find_largest_lag(measurement)
    wider = [replace(objective, limit=objective.limit + late) for objective in objectives]
    best = metric.read(measurement, None, wider).value
    return best is not None and not _holds(limit, take_off_lag(best, metric, None, measurement))


def _is_sure_with_cores(
    limit: Limit, status: Status, measurement: Measurement, interval: Interval | None, reading: Reading
) -> bool:
    """Whether the limit would be kept, or broken, as it is, had the engine never waited for a core.

    What is INCONCLUSIVE claims neither, as in :func:`_is_sure_without_lag`.
    """
    if status is not Status.FAIL:
        return limit.definition.worse_with_others
    best = _find_best(limit, interval, reading)
    return best is not None and not _holds(limit, take_off_wait(best, limit.definition, measurement))


def _find_best(limit: Limit, interval: Interval | None, reading: Reading) -> float | None:
    """The end of the interval that is best for the limit, or without one the value itself."""
    if interval is None:
        return reading.value
    return interval.low if limit.definition.better == "lower" else interval.high


def _holds(limit: Limit, value: float) -> bool:
    return value <= limit.value if limit.definition.better == "lower" else value >= limit.value


def explain_inconclusive(
    limit: Limit, interval: Interval | None, missing: int | None, hidden_by: float | None = None
) -> str:
    """What was too little to tell the value from its limit, and about how many more units would do.

    ``hidden_by`` is the noise between sessions, if it alone is the cause: no further unit would take it away.
    """
    close = f"too close to {limit.text} to tell"
    if interval is None or not interval.units:
        source = interval.unit if interval is not None and interval.unit else "sensor"
        return f"{close}: the {source} is no more exact than that"
    if hidden_by:
        differ = f"sessions differ by {100 * hidden_by:.3g} %"
        return f"{close}: {differ}, whatever the number of {interval.unit}s; compare two builds in one session instead"
    if missing is None:
        return f"{close} with {interval.evidence_text}, and more would hardly help: the truth is about the limit"
    return f"{close} with {interval.evidence_text}; about {missing} more would do"
