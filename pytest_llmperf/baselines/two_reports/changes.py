"""How the numbers of a test changed from one report to the other, and within which bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.rejudging.measurement import StoredMeasurement
from pytest_llmperf.baselines.stored_run import failed_by_itself
from pytest_llmperf.baselines.two_reports.differences import find_incomparable
from pytest_llmperf.budgets.interval import Confidence, find_interval
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.metrics.cost import find_quantity_in
from pytest_llmperf.metrics.table import find

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.interval import Better, Interval
    from pytest_llmperf.measurement.units import Quantity
    from pytest_llmperf.metrics.metric import Metric
    from pytest_llmperf.metrics.statistics import Statistic

SHOWN = (
    "memory.peak",
    "memory.required",
    "throughput.output",
    "latency.ttft_p50",
    "latency.ttft_p95",
    "latency.tpot_p50",
    "latency.tpot_p95",
    "latency.e2e_p50",
    "latency.e2e_p95",
    "energy.per_output_token",
)
"""What is shown of a test, beside what one of the reports has a limit on."""


@dataclass(frozen=True)
class ChangeOfNumber:
    """One number in both reports.

    Attributes:
        name: as it is limited; with the label of its engine in front if the test had several.
        old, new: the values in the base unit; None if a report has none.
        share: ``new / old - 1``; None where that is not known.
        low, high: where the true change lies by what each session knows of itself; None for a side that is not known.
        is_exact: whether the values have no noise of their own.
        invalid: why one of the values is not to be trusted; empty if both are.
        status: the verdict under the limit that was asked for; None without one.
    """

    name: str
    quantity: Quantity
    better: Better
    old: float | None
    new: float | None
    share: float | None = None
    low: float | None = None
    high: float | None = None
    is_exact: bool = False
    invalid: str = ""
    status: Status | None = None


@dataclass(frozen=True)
class ChangeOfTest:
    """One test that both reports have measured.

    Attributes:
        incomparable: what differs that makes its numbers incomparable; empty if they may be compared.
        numbers: one for each metric.
    """

    nodeid: str
    incomparable: list[str]
    numbers: list[ChangeOfNumber]


def compare_tests(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    limit: float | None,
    everything: bool,
    metrics: Sequence[Mapping[str, Any]] = ({}, {}),
) -> ChangeOfTest:
    """Compares the entries of a test in two reports.

    Args:
        old, new: the entries.
        limit: by which share a number may get worse; None if nothing is judged.
        everything: whether all numbers are compared, and not a choice of them.
        metrics: what each report says of its metrics: the currencies of costs stand there.
    """
    sides = [StoredMeasurement(test["measurement"]) for test in (old, new)]
    incomparable = find_incomparable(old["measurement"], new["measurement"])
    failed = [name for name, test in (("A", old), ("B", new)) if failed_by_itself(test)]
    if failed:
        incomparable.append(f"the test failed by itself in {' and '.join(failed)}")
    limited = {verdict["name"] for test in (old, new) for verdict in test["verdicts"]}
    numbers: list[ChangeOfNumber] = []
    for label, one, other in _pair_places(*sides):
        for name in dict.fromkeys([*one.names, *other.names]):
            if everything or name in SHOWN or name in limited:
                numbers += _compare_numbers(label, name, one, other, None if incomparable else limit, metrics)
    return ChangeOfTest(old["nodeid"], incomparable, numbers)


def _pair_places(
    old: StoredMeasurement, new: StoredMeasurement
) -> Iterator[tuple[str, StoredMeasurement, StoredMeasurement]]:
    yield "", old, new
    parts = {part.label: part for part in new.parts}
    for part in old.parts:
        if part.label in parts:
            yield part.label, part, parts[part.label]


def _compare_numbers(
    label: str,
    name: str,
    old: StoredMeasurement,
    new: StoredMeasurement,
    limit: float | None,
    metrics: Sequence[Mapping[str, Any]],
) -> Sequence[ChangeOfNumber]:
    try:
        metric, statistic = find(name)
    except ValueError:
        return ()  # a mean or a smallest value, or a metric that a project has registered
    title = f"{label}: {name}" if label else name
    before, quantity = (find_quantity_in(metric, known.get(metric.name, {}).get("unit")) for known in metrics)
    values = [side.read(metric, statistic).value for side in (old, new)]
    one, other = values
    if before != quantity and one is not None and other is not None:
        invalid = f"A has it in {before.base} and B in {quantity.base}: amounts in two currencies cannot be compared"
        status = None if limit is None else Status.INVALID
        return (ChangeOfNumber(title, quantity, metric.better, None, other, invalid=invalid, status=status),)
    if one is None or other is None:
        is_lost = limit is not None and other is None and not new.has_values_of(metric)
        status = Status.NOT_MEASURED if is_lost else None
        return (ChangeOfNumber(title, quantity, metric.better, one, other, status=status),)
    invalid = next(filter(None, (_why_invalid(side, metric) for side in (old, new))), "")
    intervals = [_find_interval(side, metric, statistic, value) for side, value in ((old, one), (new, other))]
    is_exact = intervals[0] is None and intervals[1] is None
    share, low, high = (None, None, None) if one <= 0 else _find_change(one, other, *intervals)
    judged = None if limit is None else _judge(metric.better, limit, share, low, high, invalid)
    return (ChangeOfNumber(title, quantity, metric.better, one, other, share, low, high, is_exact, invalid, judged),)


def _why_invalid(side: StoredMeasurement, metric: Metric) -> str:
    return next((one.reason for one in side.objections if one.applies_to(metric.name, Status.FAIL)), "")


def _find_interval(
    side: StoredMeasurement, metric: Metric, statistic: Statistic | None, value: float
) -> Interval | None:
    evidence = side.find_evidence(metric)
    return None if evidence is None else find_interval(evidence, statistic, value, metric.better, Confidence())


def _find_change(
    old: float, new: float, old_interval: Interval | None, new_interval: Interval | None
) -> tuple[float, float | None, float | None]:
    """The change, and its bounds: the noises of both sides add up as squares, on the scale of logarithms."""
    change = new / old - 1
    if new <= 0:  # All of it is gone, whatever the noise was.
        return change, change, change
    ratio = math.log(new / old)
    down = _hypot(_reach(new, new_interval, up=False), _reach(old, old_interval, up=True))
    up = _hypot(_reach(new, new_interval, up=True), _reach(old, old_interval, up=False))
    low = None if down is None else math.expm1(ratio - down)
    high = None if up is None else math.expm1(ratio + up)
    return change, low, high


def _reach(value: float, interval: Interval | None, *, up: bool) -> float | None:
    """How far an interval reaches from its value; None where it is not bounded."""
    if interval is None:
        return 0.0
    bound = interval.high if up else interval.low
    return None if bound is None or bound <= 0 else abs(math.log(bound / value))


def _hypot(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else math.hypot(one, other)


def _judge(
    better: Better, limit: float, share: float | None, low: float | None, high: float | None, invalid: str
) -> Status:
    if share is None:
        return Status.NOT_MEASURED
    if invalid:
        return Status.INVALID
    if better == "lower":
        if high is not None and high <= limit:
            return Status.PASS
        return Status.FAIL if low is not None and low > limit else Status.INCONCLUSIVE
    if low is not None and low >= -limit:
        return Status.PASS
    return Status.FAIL if high is not None and high < -limit else Status.INCONCLUSIVE
