"""From budgets and a measurement to verdicts: a pure function that knows nothing of pytest."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_llmperf.budgets.budget import Limit, select
from pytest_llmperf.budgets.validity import fault
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement import Measurement, Reading, RequestTiming
from pytest_llmperf.metrics import METRICS, read, samples, span_seconds

GOODPUT = "throughput.goodput"


def judge(limits: Sequence[Limit], measurement: Measurement) -> list[Verdict]:
    """One verdict per limit that applies to this engine and device; limits are inclusive.

    A test that has limits of which none applies gets the single verdict NO BUDGET.
    """
    chosen = select(limits, measurement.engine)
    if limits and not chosen:
        return [_no_budget(limits, measurement)]
    return [_judge_one(limit, measurement, chosen) for limit in chosen]


def broken(verdicts: Sequence[Verdict], *, strict: bool) -> list[Verdict]:
    """The verdicts that fail a test: every FAIL, and under ``strict`` all that say neither held nor broken."""
    fails = [v for v in verdicts if v.status is Status.FAIL]
    return fails + [v for v in verdicts if strict and v.status.without_verdict]


def _no_budget(limits: Sequence[Limit], measurement: Measurement) -> Verdict:
    engine = measurement.engine
    where = f"{engine.name} on {engine.device_name}" if engine else "a test without an engine"
    written = ", ".join(dict.fromkeys(_scope(limit) for limit in limits))
    return Verdict(Status.NO_BUDGET, "", "", reason=f"no budget for {where}; the budgets of this test are for {written}")


def _scope(limit: Limit) -> str:
    parts = [f"engine={limit.engine!r}" if limit.engine else "", f"device={limit.device!r}" if limit.device else ""]
    return " ".join(part for part in parts if part)


def _judge_one(limit: Limit, measurement: Measurement, chosen: Sequence[Limit]) -> Verdict:
    reading = _goodput(measurement, chosen) if limit.metric == GOODPUT else read(limit.metric, limit.statistic, measurement)
    reason = fault(limit.metric, measurement)
    status = Status.INVALID if reason else Status.NOT_MEASURED if reading.value is None else _compare(limit, reading.value)
    return Verdict(
        status,
        limit.name,
        limit.metric,
        limit=limit.value,
        limit_text=limit.text,
        measured=reading.value,
        how=reading.how,
        reason=reason or reading.reason,
    )


def _compare(limit: Limit, value: float) -> Status:
    holds = value <= limit.value if limit.definition.better == "lower" else value >= limit.value
    return Status.PASS if holds else Status.FAIL


def _goodput(measurement: Measurement, chosen: Sequence[Limit]) -> Reading:
    objectives = [limit for limit in chosen if limit.definition.group == "latency" and limit.statistic is not None]
    if not objectives:
        return Reading.missing("goodput counts requests that met the latency limits: add a latency_budget to the test")
    if not measurement.requests:
        return Reading.missing("the test sent no request through llm_client")
    span = span_seconds(measurement.requests)
    if span <= 0:
        return Reading.missing("the requests took no time")
    good = sum(all(_met(request, limit) for limit in objectives) for request in measurement.requests)
    return Reading(good / span, METRICS[GOODPUT].formula, samples=len(measurement.requests))


def _met(request: RequestTiming, limit: Limit) -> bool:
    """Each value of the request, whatever the percentile: a request is good or it is not. A failed one never is."""
    values = samples([request], limit.definition.key)
    return bool(values) and max(values) <= limit.value
