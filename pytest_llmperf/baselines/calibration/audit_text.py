"""The audit of a suite's budgets, in words."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.calibration.history import is_noisy
from pytest_llmperf.measurement.units import as_written, format_change, format_value
from pytest_llmperf.reports.text import wrap

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.baselines.calibration.audit import Audit, AuditedBudget
    from pytest_llmperf.baselines.calibration.history import MetricHistory
    from pytest_llmperf.budgets.calibration.limits import Characteristics
    from pytest_llmperf.budgets.calibration.series import SessionSeries
    from pytest_llmperf.budgets.interval import Better

ENOUGH_RUNS = 8
"""With fewer runs the noise between sessions is known too roughly to tell 1 % of wrong FAILs from 5 %."""

_INDENT = "  "


def render_audit(audit: Audit, width: int) -> list[str]:
    """The lines of the audit: what was learned of each budget, and then the budgets that need a look."""
    lines: list[str] = []
    by_test: dict[str, list[AuditedBudget]] = defaultdict(list)
    for budget in audit.budgets:
        by_test[budget.history.key.nodeid].append(budget)
    for nodeid, budgets in by_test.items():
        lines.append(nodeid)
        for budget in budgets:
            lines += _indent(_describe_budget(budget), width)
    for title, found in _list_findings(audit):
        lines += wrap(title, width) if found else []
        for text in found:
            lines += _indent([text], width)
    if not audit.budgets:
        lines.append("the runs had no budget; pytest-llmperf suggest proposes some from what they measured")
    for text in _list_remarks(audit):
        lines += wrap(text, width)
    return [line for line in lines if line]


def _indent(texts: Sequence[str], width: int) -> list[str]:
    lines = []
    for number, text in enumerate(texts):
        indent = _INDENT * (1 if number == 0 else 2)
        first, *more = wrap(text, max(20, width - len(indent) - len(_INDENT)))
        lines += [indent + first, *(indent + _INDENT + line for line in more)]
    return lines


def name_limit(budget: AuditedBudget) -> str:
    """``latency.ttft_p95 ≤ 300 ms``."""
    key = budget.history.key
    sign = "≤" if budget.history.better == "lower" else "≥"
    return f"{key.engine + ': ' if key.engine else ''}{key.name} {sign} {budget.text}"


def _describe_budget(budget: AuditedBudget) -> list[str]:
    if budget.series is None or budget.does is None:
        return [f"{name_limit(budget)}: no audit: {budget.why_none}"]
    measured = format_value(budget.series.median, as_written(budget.history.quantity, budget.text))
    return [
        f"{name_limit(budget)}: {measured} in {len(budget.series.sessions)} runs, {describe_noise(budget)}",
        f"{describe_limit(budget.does, budget.history.better)}; {_describe_fitting(budget)}",
        *describe_doubts(budget.history),
    ]


def describe_noise(budget: AuditedBudget) -> str:
    """``noise 3.1 % within a run and 2.2 % between runs (0.9 to 4.5)``, or ``always the same``."""
    series, quantity = budget.series, budget.history.quantity
    if series is None:
        return ""
    if not series.total_noise:
        return "always the same"
    low, high = series.noise_between_bounds
    if not series.is_relative:
        return f"noise between runs {format_value(series.noise_between, quantity)}"
    if not high:
        return f"noise {format_percent(series.noise_within)} within a run and none beyond that between runs"
    between = f"{format_percent(series.noise_between)} between runs ({_number(low)} to {_number(high)})"
    if not is_noisy(budget.history):
        return f"noise {between}"
    return f"noise {format_percent(series.noise_within)} within a run and {between}"


def describe_doubts(history: MetricHistory) -> list[str]:
    """That some of the runs give a verdict on limits far away only, and why the first does; empty if none is so."""
    if not history.doubts:
        return []
    runs = f"{len(history.doubts)} of {len(history.sessions)} runs"
    return [f"{runs} decide only limits that are far away and make others INVALID, the first: {history.doubts[0]}"]


def describe_limit(does: Characteristics, better: Better) -> str:
    """``a good build is FAIL in 0.2 % and INCONCLUSIVE in 9 % of runs; finds +22 %``."""
    shares = f"FAIL in {format_percent(does.fails)} and INCONCLUSIVE in {format_percent(does.inconclusive)}"
    finds = "finds no change that is a share" if does.finds is None else f"finds {format_found(does.finds, better)}"
    return f"a good build is {shares} of runs; {finds}"


def format_found(share: float, better: Better) -> str:
    """``+22 %`` for a latency that a limit finds to have grown by so much, ``-22 %`` for a rate that has fallen."""
    return format_change(share if better == "lower" else -share)


def _describe_fitting(budget: AuditedBudget) -> str:
    if budget.fitting is None:
        return "no limit fits, as a run does not bound the value: more requests or rounds would"
    finds = budget.fitting.does.finds
    found = "" if finds is None else f" and find {format_found(finds, budget.history.better)}"
    return f"{budget.fitting.text} would fit{found}"


def format_percent(share: float) -> str:
    """``4.1 %``, ``31 %``, ``< 0.1 %``; ``0 %`` for nothing."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{_number(share)} %"


def _number(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f}" if percent >= 9.95 or percent == 0 else f"{percent:.1f}"


def _list_findings(audit: Audit) -> Iterator[tuple[str, list[str]]]:
    failing, roomy, unknown = [], [], []
    for budget in audit.budgets:
        if budget.does is None:
            unknown.append(f"{_locate(budget)}: {budget.why_none}")
        elif budget.does.fails_good_builds:
            failing.append(f"{_locate(budget)}: in {format_percent(budget.does.fails)}; {_describe_fitting(budget)}")
        elif budget.does.has_room:
            roomy.append(f"{_locate(budget)}: {_measured(budget)} was measured; {_describe_fitting(budget)}")
    yield "these would fail a good build in more than 1 % of runs:", failing
    yield "these have so much room that a build twice as bad would pass:", roomy
    yield "these could not be audited:", unknown


def _locate(budget: AuditedBudget) -> str:
    return f"{budget.history.key.nodeid} {name_limit(budget)}"


def _measured(budget: AuditedBudget) -> str:
    value = budget.series.median if budget.series else math.nan
    return format_value(value, as_written(budget.history.quantity, budget.text))


def _list_remarks(audit: Audit) -> Iterator[str]:
    if audit.noisiest is not None and audit.noisiest.series is not None:
        yield describe_session_noise(audit.noisiest, audit.noisiest.series)
    runs = max((len(budget.history.sessions) for budget in audit.budgets), default=ENOUGH_RUNS)
    if runs < ENOUGH_RUNS:
        yield f"{runs} runs tell noise only roughly, so limits need more room: --llmperf-calibrate=10 tells more"


def describe_session_noise(budget: AuditedBudget, series: SessionSeries) -> str:
    """What to give to ``--llmperf-session-noise``, and which budget says so."""
    low, high = series.noise_between_bounds
    share = math.ceil(1000 * series.noise_between) / 10
    if not share:
        return "sessions differ by no more than each knows of itself: --llmperf-session-noise is not needed"
    return (
        f"--llmperf-session-noise={share:g}% covers all of these budgets: {_locate(budget)} differs most between runs "
        f"({_number(low)} to {_number(high)} %)"
    )
