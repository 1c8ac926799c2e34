"""The audit: what each budget of a suite does with builds that are as good as the one that was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.calibration.history import MetricHistory, collect_histories, is_noisy
from pytest_llmperf.budgets.calibration.limits import Characteristics, find_fitting_limit, judge_limit
from pytest_llmperf.budgets.calibration.rounding import round_limit, round_share
from pytest_llmperf.budgets.calibration.series import FEWEST_SESSIONS, SessionSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True)
class FittingLimit:
    """The tightest limit that fails few good builds and passes most, as it is written, and what it does."""

    text: str
    does: Characteristics


@dataclass(frozen=True)
class AuditedBudget:
    """One budget.

    Attributes:
        history: what the runs measured of its metric.
        text: the limit as it was written.
        series: the measured values; None if fewer than three runs have a valid one.
        does: what the limit does; None without a series.
        fitting: which limit would fit; None where none can.
    """

    history: MetricHistory
    text: str
    series: SessionSeries | None = None
    does: Characteristics | None = None
    fitting: FittingLimit | None = None

    @property
    def why_none(self) -> str:
        """Why there is no series, in one sentence; empty if there is one."""
        if self.series is not None:
            return ""
        valid, runs = len(self.history.sessions), self.history.runs
        reason = next(iter(self.history.reasons), "")
        return f"{valid} of {runs} runs measured it, and it takes {FEWEST_SESSIONS}{': ' if reason else ''}{reason}"


@dataclass(frozen=True)
class Audit:
    """The audit of a suite.

    Attributes:
        budgets: each limit of each test.
        noisiest: the budget whose sessions differ most, beyond what each knows of itself; None if nothing has noise.
    """

    budgets: tuple[AuditedBudget, ...]
    noisiest: AuditedBudget | None = None


def audit_budgets(reports: Iterable[Mapping[str, Any]]) -> Audit:
    """Audits the budgets of several runs of one build, from their reports, oldest first."""
    budgets = tuple(
        _audit(history, text, value, relative=relative)
        for history in collect_histories(reports).values()
        for (text, relative), value in history.limits.items()
    )
    noisy = [budget for budget in budgets if budget.series is not None and is_noisy(budget.history)]
    return Audit(budgets, max(noisy, key=lambda one: one.series.noise_between if one.series else 0.0, default=None))


def _audit(history: MetricHistory, text: str, value: float | None, *, relative: bool) -> AuditedBudget:
    series = history.series
    if series is None or value is None:
        return AuditedBudget(history, text)
    does = judge_limit(series, value, relative=relative)
    return AuditedBudget(history, text, series, does, fit_limit(history, series, relative=relative))


def fit_limit(history: MetricHistory, series: SessionSeries, *, relative: bool = False) -> FittingLimit | None:
    """The limit that fits the values of a metric; None where none can."""
    found = find_fitting_limit(series, relative=relative)
    if found is None:
        return None
    text, value = round_share(found) if relative else round_limit(found, history.quantity, history.better)
    return FittingLimit(text, judge_limit(series, value, relative=relative))
