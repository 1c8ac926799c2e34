"""What a limit does with builds that are as good as those that were measured, and with worse ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.confidence.distributions import t_at_most
from pytest_llmperf.budgets.interval import PASS_ERROR_WITH_KNOWN_SESSIONS, Confidence

if TYPE_CHECKING:
    from pytest_llmperf.budgets.calibration.series import SessionSeries

MOST_WRONG_FAILS = 0.01
"""The share of sessions of a good build that a limit may fail."""

FOUND = 0.9
"""With which probability a limit finds what it is said to find, and a limit that fits passes a good build."""

_FAIL_ERROR = Confidence().error

FACTOR_OF_ROOM = 2.0
"""A limit has too much room if a build that is worse by this factor still passes."""


@dataclass(frozen=True)
class Characteristics:
    """How a limit judges the next session.

    Attributes:
        fails: the probability that a build as it was measured is judged FAIL.
        inconclusive: the same of INCONCLUSIVE.
        finds: the change for the worse that is judged FAIL with a probability of 90 %, as a share of the value: 0.2 for
            a latency that grows by 20 %, or a rate that falls by 20 %. None if no such change is found, or if the
            metric has been zero or below.
        has_room: whether a build that is twice as bad would mostly pass.
    """

    fails: float
    inconclusive: float
    finds: float | None
    has_room: bool

    @property
    def fails_good_builds(self) -> bool:
        """Whether it fails a good build too often."""
        return self.fails > MOST_WRONG_FAILS


@dataclass(frozen=True)
class _Rule:
    """Where a value must lie to be a FAIL, or a PASS: so far beyond its limit, or so far inside."""

    reach_of_fail: float
    reach_of_pass: float


def _find_rule(series: SessionSeries, *, relative: bool) -> _Rule:
    """A limit against a baseline is judged by how much sessions differ, which is what the store knows of them."""
    if not relative:
        return _Rule(series.reach_of_fail, series.reach_of_pass)
    return _Rule(series.quantile(1 - _FAIL_ERROR), series.quantile(1 - PASS_ERROR_WITH_KNOWN_SESSIONS))


def judge_limit(series: SessionSeries, limit: float, *, relative: bool = False) -> Characteristics:
    """How a limit would judge the next session of the build that was measured.

    The next session lies around the mean of the others as Student's t says. It is a FAIL where its value lies beyond
    the limit by more than the interval of the verdict reaches, and a PASS where it lies as far inside.

    Args:
        series: what was measured.
        limit: in the base unit of the metric, or as a share of the baseline.
        relative: whether it is such a share; the baseline is what the sessions of the series have measured.
    """
    place = series.place(series.find_value(series.middle) * (1 + limit) if relative else limit)
    rule = _find_rule(series, relative=relative)
    fails = 1 - _find_share_below(series, place + rule.reach_of_fail)
    passes = _find_share_below(series, place - rule.reach_of_pass)
    regression = _find_regression(series, place, rule)
    return Characteristics(fails, max(0.0, 1 - fails - passes), regression, _has_room(series, place, rule))


def _find_share_below(series: SessionSeries, place: float, shift: float = 0.0) -> float:
    """The probability that the next session, worse by ``shift``, lies below a place or at it."""
    off = place - series.middle - shift
    if math.isinf(off) or not series.spread:
        return float(off >= -1e-12)
    return t_at_most(off / series.spread, series.freedom)


def _find_regression(series: SessionSeries, place: float, rule: _Rule) -> float | None:
    shift = place + rule.reach_of_fail - series.middle + series.quantile(FOUND)
    return _to_share(series, max(0.0, shift))


def _to_share(series: SessionSeries, shift: float) -> float | None:
    """A change for the worse as a share of the value; None if it is infinite, or no share."""
    if not series.is_relative or math.isinf(shift) or shift > 700:
        return None
    return math.expm1(shift) if series.better == "lower" else -math.expm1(-shift)


def _has_room(series: SessionSeries, place: float, rule: _Rule) -> bool:
    if series.is_relative:
        shift = math.log(FACTOR_OF_ROOM)
    elif series.median > 0 and series.better == "lower":
        shift = series.median * (FACTOR_OF_ROOM - 1)
    else:
        return False
    return _find_share_below(series, place - rule.reach_of_pass, shift) > 0.5


def find_fitting_limit(series: SessionSeries, *, relative: bool = False) -> float | None:
    """The tightest limit that fails a good build in at most 1 % of sessions, and passes it in at least 90 %.

    In the base unit of the metric, or with ``relative`` as a share of the baseline: 0.1 for ``+10 %``, -0.1 for
    ``-10 %``. None where no limit can: the evidence of a session does not bound its value, or no share is known of it.
    """
    rule = _find_rule(series, relative=relative)
    from_fails = series.quantile(1 - MOST_WRONG_FAILS) - rule.reach_of_fail
    from_passes = series.quantile(FOUND) + rule.reach_of_pass
    shift = max(from_fails, from_passes, 0.0)
    if math.isinf(shift) or (relative and not series.is_relative):
        return None
    if relative:
        return math.expm1(shift if series.better == "lower" else -shift)
    return series.find_value(series.middle + shift)
