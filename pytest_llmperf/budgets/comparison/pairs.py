"""Judges the limits of a test on a new engine against an old one, by pairs of turns as they come."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.client_lag import is_saturated, take_off_lag, why_client_lags
from pytest_llmperf.budgets.comparison.changes import (
    FEWEST_PAIRS,
    LOOKS,
    MOST_PAIRS,
    Change,
    average,
    estimate_change,
    find_errors,
)
from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.limit import is_comparison, select
from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines
from pytest_llmperf.budgets.validity import why_invalid, why_objectives_invalid
from pytest_llmperf.budgets.verdict import Status, Verdict, make_verdict
from pytest_llmperf.measurement.units import as_written, format_change, format_value
from pytest_llmperf.metrics.metric import DistributionMetric, Objective, ObjectiveMetric, SampleSource
from pytest_llmperf.metrics.missing import why_raised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement

TOLERANCE = 0.1
"""How much worse the new engine may be where no relative limit says otherwise."""

_PAIRS_OF_NOTHING = 5
"""So many turns of the new engine in a row give nothing of what should be high by chance in less than 1 % of tests."""

_LEFT_OUT_SHARE = 8
"""One pair of so many, and always one, may be without a value: with more, who knows what the others are worth."""


@dataclass(frozen=True)
class SideValue:
    """The value of a limited metric on one side of a pair, in its base unit.

    Attributes:
        value: None if there is none; then ``invalid`` or ``missing`` says why.
        requests: how many requests gave values of a distribution; None for other metrics.
        is_exact: whether the value has no noise of its own.
        invalid: why it may not be compared, in one sentence.
        missing: why it was not measured, in one sentence.
        diluted: what was added to the values of both engines alike, so that a change looks smaller than it is, in one
            sentence; empty if nothing was.
        undiluted: the value without that; None if it is not known.
    """

    value: float | None
    requests: int | None = None
    is_exact: bool = False
    invalid: str = ""
    missing: str = ""
    diluted: str = ""
    undiluted: float | None = None

    @property
    def core(self) -> float | None:
        """The value without what may have been added to it; None if that is not known, or is not above 0."""
        core = self.undiluted if self.diluted else self.value
        return core if core is not None and 0 < core < math.inf else None


@dataclass(frozen=True)
class Pair:
    """One pair: the value of the new engine and that of the old one."""

    new: SideValue
    old: SideValue

    @property
    def reason(self) -> str:
        """Why there is no ratio, in one sentence; empty if there is one."""
        new, old = self.new.value, self.old.value
        found = [side.invalid or side.missing for side in (self.new, self.old)]
        if new is not None and old is not None and min(new, old) <= 0 and new != old:
            found.append("a ratio needs values above 0")
        return next(filter(None, found), "")

    @property
    def values(self) -> tuple[float, float] | None:
        """Both values, of which there is a ratio; None if there is none. The ratio of two zeros is 1."""
        new, old = self.new.value, self.old.value
        return None if new is None or old is None or self.reason else (new, old)


def read_turn(limit: Limit, rounds: Sequence[Measurement], limits: Sequence[Limit]) -> SideValue:
    """The value of a limited metric in the rounds of one turn of an engine: their geometric mean.

    A percentile is the plain one of the round: how many requests it needs is asked of all rounds together. What slows
    the host at random is not asked for, since the pairs show it as noise; ``limits`` are all limits of the test.
    """
    found = [_read_round(limit, measurement, limits) for measurement in rounds]
    without = next((one for one in found if one.value is None), None)
    if without is not None:
        return without
    values = [one.value for one in found if one.value is not None]
    requests = None if found[0].requests is None else sum(one.requests or 0 for one in found)
    diluted = next((one.diluted for one in found if one.diluted), "")
    cores = [core for one in found if (core := one.core) is not None]
    undiluted = average(cores) if diluted and len(cores) == len(found) else None
    return SideValue(average(values), requests, all(one.is_exact for one in found), "", "", diluted, undiluted)


def _read_round(limit: Limit, measurement: Measurement, limits: Sequence[Limit]) -> SideValue:
    metric = limit.definition
    measurement = metric.select(measurement)
    objectives = [
        Objective(one.definition, one.value)
        for one in select(limits, measurement.engine)
        if isinstance(one.definition, DistributionMetric) and not one.relative
    ]
    if metric.known_before_test:
        return SideValue(None, missing="it is known from one start of each engine, and measured anew by no round")
    try:
        if reason := _why_incomparable(limit, measurement, objectives):
            return SideValue(None, invalid=reason)
        reading = metric.read(measurement, limit.statistic, objectives)
        value, requests, is_exact = reading.value, None, False
        if isinstance(metric, DistributionMetric) and limit.statistic is not None:
            found = metric.distribution(measurement)
            requests = found.contributors
            value = limit.statistic.of(found) if reading.needs_more and found.count else value
        elif value is not None:
            is_recorded = metric.source is SampleSource.RECORDED  # the test knows how exact it is, and does not say
            is_exact = metric.find_evidence(measurement, objectives) is None and not is_recorded
    except Exception as error:  # a metric may be another package's, and the other limits are still to be judged
        return SideValue(None, invalid=why_raised(error))
    if value is None:
        return SideValue(None, missing=reading.reason)
    if not math.isfinite(value):
        return SideValue(None, invalid=f"the measured value is {value}")
    late = why_client_lags(metric, limit.statistic, measurement) if metric.source is SampleSource.REQUESTS else ""
    is_known = bool(late) and not (is_saturated(measurement) and not metric.worse_with_lag)
    core = take_off_lag(value, metric, limit.statistic, measurement) if is_known else None
    return SideValue(value, requests, is_exact, "", "", late, core)


def _why_incomparable(limit: Limit, measurement: Measurement, objectives: Sequence[Objective]) -> str:
    """Why a round says nothing of the metric, or says it of more than its engine; empty if it may be compared."""
    metric = limit.definition
    reasons = [why_invalid(metric, measurement), *measurement.disturbances]
    if isinstance(metric, ObjectiveMetric):
        reasons.append(why_objectives_invalid(objectives, measurement))
    reasons.append(why_stamps_are_not_the_engines(metric, limit.statistic, measurement))
    return next(filter(None, reasons), "")


class PairedLimit:
    """One limit of a test, judged as pairs come. What a look has decided stays decided.

    ``tolerance`` is the change that the limit allows, as a share: positive for a metric that is better when it is
    lower, negative for the others. ``text`` is how it is written. ``new`` and ``old`` are the labels of the engines.
    """

    def __init__(self, limit: Limit, new: str, old: str) -> None:
        self.limit = limit
        self._names = new, old
        self.tolerance, self.text = find_tolerance(limit)
        self.pairs: list[Pair] = []
        self._decided: Verdict | None = None

    def add(self, pair: Pair) -> None:
        """Adds a pair, and judges what there is if it is time for a look."""
        self.pairs.append(pair)
        if self._decided is None and len(self.pairs) >= FEWEST_PAIRS:
            verdict = self._judge(is_last=len(self.pairs) >= MOST_PAIRS)
            if verdict.status is not Status.INCONCLUSIVE:
                self._decided = verdict

    @property
    def is_open(self) -> bool:
        """Whether more pairs may decide it."""
        return self._decided is None and len(self.pairs) < MOST_PAIRS

    def judge(self) -> Verdict:
        """The verdict so far, also for a test that ended before it was decided."""
        return self._decided or self._judge(is_last=True)

    def describe_so_far(self) -> str:
        """``latency.tpot_p50 +4.1 %``: the change of the pairs so far, without its error; empty before two."""
        found = [values for pair in self.pairs if (values := pair.values) is not None]
        if len(found) < 2:
            return ""
        return f"{self.limit.name} {format_change(estimate_change(found, *find_errors(len(found))).share)}"

    def to_wire(self) -> list[dict[str, Any]]:
        """The pairs as plain data: both values, or why one is missing."""
        return [_pair_to_wire(pair) for pair in self.pairs]

    def _judge(self, *, is_last: bool) -> Verdict:
        if self._is_gone and not self._holds(-1.0):
            return self._judge_nothing(is_last=is_last)
        without = [pair for pair in self.pairs if pair.values is None]
        if len(without) > self._tolerated or (without and len(without) == len(self.pairs)):
            return self._describe_missing(without)
        found = [values for pair in self.pairs if (values := pair.values) is not None]
        if is_last and len(found) < FEWEST_PAIRS:
            return self._make(
                Status.NOT_MEASURED, reason=f"{FEWEST_PAIRS} pairs are needed, the test gave {len(found)}"
            )
        if len(found) not in LOOKS and not is_last:
            return self._make(Status.INCONCLUSIVE)
        if reason := self._why_too_few_requests():
            return self._make(Status.NOT_MEASURED if is_last else Status.INCONCLUSIVE, reason=reason)
        return self._compare(found, is_last=is_last)

    @property
    def _is_gone(self) -> bool:
        """Whether the new engine gives nothing at all of what should be high, and the old one something each time."""
        sides = [(pair.new.value, pair.old.value) for pair in self.pairs]
        is_nothing = all(new == 0 and old is not None and old > 0 for new, old in sides)
        return bool(sides) and is_nothing and self.limit.definition.better == "higher"

    def _judge_nothing(self, *, is_last: bool) -> Verdict:
        count = len(self.pairs)
        if count >= _PAIRS_OF_NOTHING:
            old = average([pair.old.value for pair in self.pairs if pair.old.value is not None])
            return self._make(Status.FAIL, Change(0.0, old, -1.0, -1.0, -1.0, count))
        reason = f"the new engine gave 0 in {count} pairs, which takes {_PAIRS_OF_NOTHING} to tell"
        return self._make(Status.NOT_MEASURED if is_last else Status.INCONCLUSIVE, reason=reason)

    def _compare(self, found: Sequence[tuple[float, float]], *, is_last: bool) -> Verdict:
        change, best, worst = self._estimate(found)
        diluted = self._why_diluted()
        if self._holds(worst) and not diluted:
            return self._make(Status.PASS, change)
        if not self._holds(best):
            return self._make(Status.FAIL, change)
        if self._holds(worst):
            return self._make(Status.INVALID if is_last else Status.INCONCLUSIVE, change, diluted)
        reason = f"too close to {self.text} to tell with {len(found)} pairs"
        return self._make(Status.INCONCLUSIVE, change, reason)

    def _estimate(self, found: Sequence[tuple[float, float]]) -> tuple[Change, float, float]:
        """The change, and what it is at best and at worst."""
        fail, hold = find_errors(len(found))
        is_exact = all(pair.new.is_exact and pair.old.is_exact for pair in self.pairs if pair.values)
        if self.limit.definition.better == "lower":
            change = estimate_change(found, fail, hold, exact=is_exact)
            return change, change.low, change.high
        change = estimate_change(found, hold, fail, exact=is_exact)
        return change, change.high, change.low

    @property
    def _tolerated(self) -> int:
        """The number of pairs with which something may be wrong."""
        return max(1, len(self.pairs) // _LEFT_OUT_SHARE)

    def _why_diluted(self) -> str:
        """Why a change within the limit may be beyond it, in one sentence; empty if it is within it all the same."""
        counted = [pair for pair in self.pairs if pair.values is not None]
        found = [text for pair in counted if (text := pair.new.diluted or pair.old.diluted)]
        if len(found) <= self._tolerated:
            return ""
        cores = [(new, old) for pair in counted if (new := pair.new.core) and (old := pair.old.core)]
        if len(cores) == len(counted) and self._holds(self._estimate(cores)[2]):
            return ""
        return f"in {len(found)} of {len(self.pairs)} pairs a change may be larger than it looks, the first: {found[0]}"

    def _holds(self, share: float) -> bool:
        # A ratio of two numbers that were written with a point may differ from the limit in the last bit.
        share = round(share, 12)
        return share <= self.tolerance if self.limit.definition.better == "lower" else share >= self.tolerance

    def _why_too_few_requests(self) -> str:
        statistic = self.limit.statistic
        counts = [(pair.new.requests, pair.old.requests) for pair in self.pairs if pair.values is not None]
        given = min(sum(new or 0 for new, _ in counts), sum(old or 0 for _, old in counts))
        if statistic is None or given >= statistic.minimum:
            return ""
        return f"{statistic.suffix} needs {statistic.minimum} requests, {len(counts)} pairs gave {given}"

    def _describe_missing(self, without: Sequence[Pair]) -> Verdict:
        """Too many pairs have no value: INVALID if something is wrong, NOT MEASURED if there is nothing to be had."""
        is_invalid = any(side.invalid for pair in without for side in (pair.new, pair.old))
        counted = f"{len(without)} of {len(self.pairs)} pairs have no value, the first: {without[0].reason}"
        return self._make(Status.INVALID if is_invalid else Status.NOT_MEASURED, reason=counted)

    def _make(self, status: Status, change: Change | None = None, reason: str = "") -> Verdict:
        verdict = _start_verdict(status, self.limit, reason)
        if change is None:
            return verdict
        low, high = (change.old * (1 + share) for share in (change.low, change.high))
        return replace(
            verdict,
            limit=change.old * (1 + self.tolerance),
            measured=change.new,
            interval=Interval(low, high, change.pairs, float(change.pairs), "pair"),
            how=self._describe(change),
            baseline=change.old,
        )

    def _describe(self, change: Change) -> str:
        """``new 12.9 ms, old 12.4 ms, +4.1 % (+2.8 to +5.5), 6 pairs``; those that were left out are named."""
        quantity = as_written(self.limit.quantity, self.limit.text)
        first, second = self._names
        new, old = (format_value(value, quantity) for value in (change.new, change.old))
        pairs = f"{change.pairs} pairs"
        without = [pair for pair in self.pairs if pair.values is None]
        if without and change.pairs < len(self.pairs):
            pairs += f", {len(without)} left out: {without[0].reason}"
        low, high = (format_change(share).removesuffix(" %") for share in (change.low, change.high))
        return f"{first} {new}, {second} {old}, {format_change(change.share)} ({low} to {high}), {pairs}"


def find_tolerance(limit: Limit) -> tuple[float, str]:
    """The change that a limit allows, and how it is written: its own if it is relative, else 10 % for the worse."""
    if limit.relative:
        return limit.value, limit.text
    share = TOLERANCE if limit.definition.better == "lower" else -TOLERANCE
    return share, f"{share:+.0%}".replace("%", " %")


def choose_limits(limits: Sequence[Limit], engine: EngineInfo | None) -> list[Limit]:
    """The limits of a test that apply to this engine, one on each metric: a relative one, if there is one.

    Next tokens are a comparison of two engines already, which pairs of turns would only repeat.
    """
    chosen: dict[str, Limit] = {}
    for limit in sorted(select(limits, engine), key=lambda limit: not limit.relative):
        if not is_comparison(limit):
            chosen.setdefault(limit.name, limit)
    return [chosen[name] for name in dict.fromkeys(limit.name for limit in limits) if name in chosen]


def _pair_to_wire(pair: Pair) -> dict[str, Any]:
    new, old = (None if side.value is None else float(side.value) for side in (pair.new, pair.old))
    return {"new": new, "old": old, "reason": str(pair.reason)}


def refuse_pairs(limits: Sequence[Limit], engine: EngineInfo | None, reason: str) -> list[Verdict]:
    """The verdict on each limit of a test that cannot be compared, for one reason."""
    return [_start_verdict(Status.NOT_MEASURED, limit, reason) for limit in choose_limits(limits, engine)]


def _start_verdict(status: Status, limit: Limit, reason: str) -> Verdict:
    """The verdict on the tolerance of a limit, which is one against the other engine even if it has a unit."""
    verdict = make_verdict(status, limit, reason)
    return replace(verdict, limit=None, limit_text=find_tolerance(limit)[1], relative=True)
