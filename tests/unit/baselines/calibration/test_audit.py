"""The audit of a suite's budgets, from the reports of several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.calibration.audit import audit_budgets
from pytest_llmperf.baselines.calibration.audit_text import render_audit
from pytest_llmperf.baselines.calibration.history import MetricKey, collect_histories
from pytest_llmperf.budgets.verdict import Status
from tests.helpers.simulated_sessions import NODEID, make_entry, make_report, measure_session
from tests.helpers.streams import limits, measured, stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.baselines.calibration.audit import AuditedBudget
    from pytest_llmperf.budgets.limit import Limit

LIMITS = (
    *limits("latency", ttft_p50="201 ms", tpot_p50="20 ms"),
    *limits("throughput", output="20 tok/s"),
    *limits("memory", peak="1100 MiB"),
)
FAILED = measured(stream(error="HTTP 500: boom"))


def run_often(count: int, asked: Sequence[Limit] = LIMITS) -> list[dict[str, Any]]:
    return [make_report(make_entry(measure_session(seed), asked)) for seed in range(count)]


RUNS = run_often(10)


def find_budget(name: str, runs: Sequence[dict[str, Any]] = RUNS) -> AuditedBudget:
    return next(budget for budget in audit_budgets(runs).budgets if budget.history.key.name == name)


def test_a_limit_at_the_level_of_the_build_fails_good_builds() -> None:
    budget = find_budget("latency.ttft_p50")
    assert budget.does is not None
    assert budget.does.fails > 0.05
    assert budget.does.fails_good_builds
    assert budget.fitting is not None
    assert not budget.fitting.does.fails_good_builds
    assert budget.series is not None
    assert budget.series.noise_between == pytest.approx(0.03, abs=0.015)
    assert 0.005 < budget.series.noise_within < 0.03
    assert sum(budget.history.statuses.values()) == 10


def test_a_limit_four_times_as_high_has_room() -> None:
    does = find_budget("latency.tpot_p50").does
    assert does is not None
    assert does.has_room
    assert does.fails == pytest.approx(0, abs=1e-6)
    assert does.finds is not None
    assert does.finds > 2


def test_memory_is_exact() -> None:
    budget = find_budget("memory.peak")
    assert budget.series is not None
    assert budget.series.noise_within == 0
    assert budget.fitting is not None
    assert budget.fitting.text == "1.007 GiB"


def test_the_text_names_the_budgets_that_need_a_look() -> None:
    lines = render_audit(audit_budgets(RUNS), 100)
    text = "\n".join(lines)
    assert lines[0] == NODEID
    assert max(map(len, lines)) <= 100
    failing, roomy = (
        lines.index(next(x for x in lines if x.startswith(start))) for start in ("these would", "these have")
    )
    assert lines[failing + 1].startswith(f"  {NODEID} latency.ttft_p50 ≤ 201 ms: in ")
    assert lines[roomy + 1].startswith(f"  {NODEID} latency.tpot_p50 ≤ 20 ms: ")
    assert "could not be audited" not in text
    assert "--llmperf-session-noise=" in text
    assert "tell noise only roughly" not in text


def test_a_narrow_terminal_gets_all_of_it() -> None:
    lines = render_audit(audit_budgets(RUNS), 60)
    assert max(map(len, lines)) <= 60
    wide, narrow = (" ".join(" ".join(render_audit(audit_budgets(RUNS), width)).split()) for width in (100, 60))
    assert sorted(wide.replace(" ", "")) == sorted(narrow.replace(" ", ""))


def test_few_runs_and_runs_without_a_valid_value_are_said() -> None:
    runs = [*run_often(2), *(make_report(make_entry(FAILED, LIMITS)) for _ in range(2))]
    audit = audit_budgets(runs)
    assert all(budget.does is None for budget in audit.budgets)
    lines = " ".join(" ".join(render_audit(audit, 100)).split())
    assert "these could not be audited:" in lines
    assert "2 of 4 runs measured it, and it takes 3: 1 of 1 requests failed" in lines
    assert "4 runs" not in " ".join(render_audit(audit_budgets(run_often(3)), 100))
    assert "3 runs tell noise only roughly" in " ".join(render_audit(audit_budgets(run_often(3)), 200))


def test_runs_without_budgets_point_to_suggestions() -> None:
    assert render_audit(audit_budgets(run_often(3, ())), 100) == [
        "the runs had no budget; pytest-llmperf suggest proposes some from what they measured"
    ]


def test_limits_against_the_baseline_are_audited_too() -> None:
    asked = [*limits("latency", ttft_p50="+2 %"), *limits("latency", tpot_p50="+60 %")]
    tight, wide = audit_budgets(run_often(10, asked)).budgets
    assert tight.does is not None
    assert wide.does is not None
    assert tight.does.inconclusive > 0.5
    assert wide.does.inconclusive < 0.01
    assert wide.fitting is not None
    assert wide.fitting.text.startswith("+")
    assert wide.history.statuses == {Status.NO_BASELINE: 10}


def test_numbers_without_a_limit_are_collected_too() -> None:
    histories = collect_histories(RUNS)
    assert len(histories[MetricKey(NODEID, "", "latency.e2e_p50")].sessions) == 10
    assert histories[MetricKey(NODEID, "", "latency.e2e_p50")].limits == {}
