"""The end of the run: reports/terminal/summary.py."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.engine_info import EngineInfo
from pytest_llmperf.reports.result import TestResult, count_statuses
from pytest_llmperf.reports.terminal.reasons import list_reasons
from pytest_llmperf.reports.terminal.summary import ROWS, render_summary, warn_of_session_noise
from pytest_llmperf.reports.text import measure_width
from tests.helpers.report_samples import BROKEN, ENGINE, GIB, PASSING, UNMEASURED, measurement, result
from tests.helpers.suite_results import run_on
from tests.helpers.verdicts import verdict

OLLAMA = EngineInfo("ollama", "0.12.3", "qwen3:0.6b", ENGINE.devices, 3.2)


def holding(peak_gib: float) -> Verdict:
    return replace(BROKEN, status=Status.PASS, measured=peak_gib * GIB)


def test_every_status_is_counted() -> None:
    found = count_statuses([result(), result(verdicts=(PASSING,))])
    assert found == {
        Status.PASS: 2,
        Status.FAIL: 1,
        Status.INCONCLUSIVE: 0,
        Status.NOT_MEASURED: 1,
        Status.INVALID: 0,
        Status.NO_BUDGET: 0,
        Status.NO_BASELINE: 0,
    }


def test_the_last_line_counts_what_there_was() -> None:
    assert render_summary([result()], width=120)[-1] == "budgets: 1 PASS, 1 FAIL, 1 NOT MEASURED"


def test_the_tightest_budget_stands_on_top_of_those_that_pass() -> None:
    results = [result(f"t.py::t{gib}", (holding(gib),)) for gib in (3, 15, 9)]
    lines = render_summary(results, width=120)
    assert [line.split()[0] for line in lines[1:4]] == ["t.py::t15", "t.py::t9", "t.py::t3"]


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.PASS])
def test_what_did_not_pass_comes_before_every_pass(status: Status) -> None:
    without = replace(BROKEN, status=status, measured=None, reason="because")
    results = [result(f"t.py::t{i}", (holding(15.999),)) for i in range(ROWS + 4)]
    lines = render_summary([*results, result("t.py::other", (without,))], width=120)
    assert "t.py::other" in lines[1]
    assert status in lines[1]


def test_rows_are_capped_and_the_rest_is_counted() -> None:
    results = [result(f"t.py::t{i}", (holding(5),)) for i in range(ROWS + 7)]
    lines = render_summary(results, width=120, more="out.html")
    assert sum("t.py::t" in line for line in lines) == ROWS
    assert lines[-2:] == ["+7 more budgets (7 PASS); see out.html", f"budgets: {ROWS + 7} PASS"]


def test_in_a_narrow_terminal_the_test_stands_above_its_budgets() -> None:
    name = "tests/test_of_a_long_answer.py::test_with_a_long_name"
    lines = render_summary([result(name, (BROKEN, PASSING))], width=80)
    assert lines[1] == name
    assert [line.split()[0] for line in lines[2:4]] == ["memory.peak", "throughput.output"]
    assert sum("test_with_a_long_name" in line for line in lines) == 1


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_width(width: int, unicode: bool) -> None:
    other = result("tests/x.py::test_" + "b" * 90, measured=replace(measurement(), engine=OLLAMA))
    lines = render_summary([result(), other], width=width, unicode=unicode)
    assert max(map(measure_width, lines)) <= width
    assert "\n".join(lines).isascii() is not unicode


def test_what_all_engines_ran_stands_side_by_side_below_the_budgets() -> None:
    results = [run_on("old", PASSING), run_on("new", PASSING)]
    lines = render_summary(results, width=120, engines=("new", "old"))
    at = lines.index("budgets: 2 PASS")
    assert lines[at + 1 : at + 3] == ["", "1 test on 2 engines, each value beside its multiple of that of new:"]
    assert lines[-1] == "  throughput.output  66.7 tok/s  66.7 tok/s ×1.00"


def test_an_ab_run_has_its_own_lines_and_no_table_of_engines() -> None:
    judged = replace(PASSING, relative=True, baseline=60.0, how="new 66.7 tok/s, old 60 tok/s, +11 %, 6 pairs")
    paired = replace(result(verdicts=(judged,)), pairs={"new": "new", "old": "old"})
    lines = render_summary([paired], width=120)
    assert any(line.startswith("A/B throughput.output") for line in lines)
    assert not any("2 engines" in line for line in lines)


def test_the_warm_up_of_each_variant_is_told() -> None:
    engines = [replace(ENGINE, variant=label, warmup_seconds=0.5) for label in ("old", "new")]
    results = [result(f"t.py::{e.variant}", measured=replace(measurement(), engine=e)) for e in engines]
    assert "engine warm-up: old 500 ms, new 500 ms" in render_summary(results, width=120)


def test_without_budgets_there_is_nothing_to_say() -> None:
    assert render_summary([], width=80) == []
    assert render_summary([TestResult("t.py::t", (), {})], width=80) == []


def test_each_reason_for_a_missing_verdict_stands_below_the_table_once() -> None:
    missing = verdict(Status.NOT_MEASURED, "energy.total", "energy.total", 5.0, "5 J", reason="no counter is read here")
    lines = render_summary([result(f"t.py::{name}", (missing,)) for name in "ab"], width=120)
    assert lines[-2:] == [
        "why: energy.total NOT MEASURED: no counter is read here (t.py::a and 1 more)",
        "budgets: 2 NOT MEASURED",
    ]
    assert sum("no counter" in line for line in lines) == 1


# -------------------------------------------------------------------------------------------------- many tests, colours


def many(
    statuses: dict[str, Status], engine: str = "", function: str = "tests/test_chat.py::test_answer"
) -> list[TestResult]:
    """A case for each of these parameters; the peak of the nth is n GiB above that of the one before."""
    return [
        replace(
            result(f"{function}[{f'{engine}-' if engine else ''}{case}]", (replace(holding(3.0 + at), status=status),)),
            engine=engine,
            file="tests/test_chat.py",
            line=12,
        )
        for at, (case, status) in enumerate(statuses.items())
    ]


def test_cases_are_one_row_with_the_worst_of_them_and_the_count_of_each_verdict() -> None:
    results = many({"a": Status.PASS, "b": Status.FAIL, "c": Status.FAIL, "d": Status.PASS})
    header, row, *_, counts = render_summary(results, width=160)
    assert re.split("  +", header) == ["test", "budget", "measured", "limit", "margin", "verdict", "worst case"]
    title = "tests/test_chat.py:12 test_answer (4 cases)"
    assert re.split("  +", row) == [title, "memory.peak", "5.00 GiB", "≤ 16 GiB", "+68.8 %", "2 FAIL, 2 PASS", "[c]"]
    assert counts == "budgets: 2 PASS, 2 FAIL"


def test_cases_that_all_hold_name_none() -> None:
    header, row, _ = render_summary(many({"a": Status.PASS, "b": Status.PASS}), width=160)
    assert row.endswith("2 PASS")
    assert "worst" not in header


@pytest.mark.parametrize("width", [60, 70, 80, 100, 120, 160, 200])
@pytest.mark.parametrize("unicode", [True, False])
def test_an_engine_and_a_budget_are_whole_at_every_width(width: int, unicode: bool) -> None:
    label = "vllm-0.31-with-fp8-and-prefix-caching"
    results = many({"x" * 70: Status.FAIL, "y" * 70: Status.FAIL}, engine=label)
    part = replace(BROKEN, name="latency.ttft_answer_p95", metric="latency.ttft_answer", engine=label)
    lines = render_summary([*results, result("t.py::t", (part, UNMEASURED))], width=width, unicode=unicode)
    whole = "".join("".join(lines).split())
    assert max(map(measure_width, lines)) <= width
    assert f"(2cases,on{label})" in whole
    assert f"{label}:latency.ttft_answer_p95" in whole
    assert "".join(lines).isascii() or unicode


def test_a_test_of_each_engine_is_a_group_of_its_own() -> None:
    results = [*many({"a": Status.PASS, "b": Status.FAIL}, "new"), *many({"a": Status.PASS, "b": Status.PASS}, "old")]
    rows = [re.split("  +", line) for line in render_summary(results, width=160)[1:3]]
    assert [row[0].partition(" test_answer ")[2] for row in rows] == ["(2 cases, on new)", "(2 cases, on old)"]
    assert rows[0][-2:] == ["1 FAIL, 1 PASS", "[b]"]


def test_verdicts_are_painted_and_names_are_not() -> None:
    results = many({"PASS": Status.FAIL, "FAIL": Status.PASS}, function="tests/test_FAIL.py::test_PASS")
    for width in (160, 60):
        plain = render_summary(results, width=width)
        painted = render_summary(results, width=width, paint=lambda text, status: f"<{status.name[0]}>{text}</>")
        assert [re.sub("<.>|</>", "", line) for line in painted] == plain
        words = re.findall("<.>.*?</>", " ".join(painted))
        assert words == ["<F>1 FAIL</>", "<P>1 PASS</>", "<P>1 PASS</>", "<F>1 FAIL</>"]


def test_a_reason_is_told_once_for_all_budgets_and_cases() -> None:
    def failed(nodeid: str, failures: int) -> TestResult:
        reason = f"{failures} of 9 requests failed"
        names = ("latency.e2e_max", "latency.ttft_max")
        verdicts = (verdict(Status.INVALID, name, name[:-4], 1.0, "1 s", reason=reason) for name in names)
        return result(nodeid, tuple(verdicts))

    results = [failed(f"t.py::a[{case}]", count) for case, count in (("x", 2), ("y", 3), ("z", 3))]
    assert list_reasons(results) == [
        "latency.e2e_max, latency.ttft_max INVALID: 2 of 9 requests failed (t.py::a, 3 cases, the worst [x])"
    ]
    assert list_reasons([*results, result("t.py::b", (UNMEASURED,))], most=1)[1:] == ["+1 more reasons"]


def test_reasons_of_different_budgets_stay_apart_though_they_differ_in_numbers_only() -> None:
    verdicts = [
        verdict(Status.NOT_MEASURED, name, "latency.ttft", 1.0, "1 s", reason=f"{name[-3:]} needs {count} requests")
        for name, count in (("latency.ttft_p50", 11), ("latency.ttft_p95", 130))
    ]
    assert len(list_reasons([result("t.py::a", tuple(verdicts))])) == 2


# ------------------------------------------------------------------------------------------------------------ intervals


def judged(status: Status, low: float | None, high: float | None, unit: str = "request") -> Verdict:
    interval = Interval(low, high, 130 if unit else 0, 90.0, unit)
    return verdict(status, "latency.ttft_p95", "latency.ttft", 0.3, "300 ms", 0.281, interval=interval)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.268, 0.303, "281 ms (268 to 303)"),
        (0.268, 1.3, "281 ms (268 ms to 1.30 s)"),
        (0.268, None, "281 ms (at least 268 ms)"),
        (None, 0.303, "281 ms (at most 303 ms)"),
        (None, None, "281 ms (not bounded)"),
    ],
)
def test_an_interval_stands_behind_its_value(low: float | None, high: float | None, text: str) -> None:
    assert judged(Status.INCONCLUSIVE, low, high).measured_with_interval == text


def test_an_inconclusive_verdict_gives_its_reason() -> None:
    found = replace(judged(Status.INCONCLUSIVE, 0.26, 0.34), reason="too close to 300 ms to tell")
    lines = render_summary([result("t.py::a", verdicts=(found,))], width=200)
    assert "why: latency.ttft_p95 281 ms (260 to 340) INCONCLUSIVE: too close to 300 ms to tell (t.py::a)" in lines


@pytest.mark.parametrize(
    ("found", "is_named"),
    [
        (judged(Status.PASS, 0.26, 0.295), True),
        (judged(Status.FAIL, 0.31, 0.4), True),
        (judged(Status.PASS, 0.1, 0.2), False),
        (judged(Status.INCONCLUSIVE, 0.26, 0.34), False),
        (judged(Status.PASS, 0.26, 0.295, unit=""), False),
        (BROKEN, False),
    ],
)
def test_verdicts_that_another_session_may_change_are_counted(found: Verdict, is_named: bool) -> None:
    lines = warn_of_session_noise([result(verdicts=(found,))])
    assert bool(lines) == is_named
    if lines:
        assert lines[0].startswith("noise between sessions unknown: 1 verdict lies within 10 % of the limit")
