"""The report for a web page: reports/markdown/report.py."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.markdown.report import MOST_CHARACTERS, STEP_SUMMARY_BYTES, append, render
from tests.helpers.report_samples import BROKEN, GIB, PASSING, UNMEASURED, result

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.once

SESSION = {"pytest": "9.2.0", "options": ["not", "named"]}


def title(*verdicts_of_tests: Status, outcome: str = "passed", **run: object) -> str:
    verdicts = tuple(replace(BROKEN, status=status) for status in verdicts_of_tests)
    results = [result(verdicts=verdicts, outcome=outcome)] if verdicts else []
    return render(results, {"findings": run.pop("findings", ()), "run": run}).splitlines()[0].removeprefix("## ")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (title(Status.PASS, Status.FAIL, outcome="failed"), "❌ 1 of 2 budgets broken"),
        (title(Status.PASS, Status.NOT_MEASURED), "⚠️ 1 of 2 budgets held, 1 without a PASS"),
        (title(Status.PASS), "✅ the budget held"),
        (title(), "Nothing was measured"),
        (
            title(Status.NOT_MEASURED, outcome="failed", failing=["FAIL", "NOT MEASURED"]),
            "❌ 1 budget without a verdict",
        ),
        (title(Status.PASS, failures=[["t.py::b", "call", "wrong"]]), "❌ 1 test failed without a budget"),
        (title(Status.PASS, failures=[["t.py::b", "teardown", "wrong"]]), "❌ 1 error in setup or teardown"),
        (title(exit_status=2, failures=[["t.py", "collect", "wrong"]]), "❌ 1 error while collecting"),
        (title(Status.PASS, exit_status=1, findings=["error: llmperf.toml: no test matches"]), "❌ 1 error of the run"),
    ],
)
def test_the_headline_is_what_decided_the_run(told: str, expected: str) -> None:
    assert told == f"LLM performance: {expected}"


@pytest.mark.parametrize("parametrised", [True, False])
def test_it_fits_into_a_comment_however_many_tests_there_are(parametrised: bool) -> None:
    noun = "test_answer[{}-{}]" if parametrised else "test_{}_{}"
    results = [result(f"tests/test_chat.py::{noun.format(at, 'long' * 20)}") for at in range(1000)]
    text = render(results, {**SESSION, "findings": ["warning: " + "x" * 900] * 20, "reports": ["out.json"]})
    assert 30_000 < len(text) <= MOST_CHARACTERS
    assert "_+9" in text
    assert "more failed tests; see out.json_" in text
    assert text.count("<details>") == text.count("</details>") > 3
    assert text.count("```") % 2 == 0
    assert text.endswith("\n\npytest 9.2.0\n")


@pytest.mark.parametrize("char", ["x", "<", "|", "`", "語"])
def test_it_fits_whatever_the_texts_and_names_are_long(char: str) -> None:
    failures = [[f"t.py::{number}", "call", char * 20_000] for number in range(5)]
    session = {
        "findings": [char * 20_000] * 9,
        "baselines": [char * 20_000] * 9,
        "reports": [f"{char * 200}.html"] * 200,
        "run": {"exit_status": 1, "failures": failures},
    }
    results = [
        result(f"t.py::test_{at}[{char * 2_000}]", (replace(UNMEASURED, reason=char * 20_000),)) for at in range(9)
    ]
    assert len(render(results, session)) <= MOST_CHARACTERS


def test_a_long_message_hides_no_other_failure() -> None:
    failures = [["t.py::a", "call", "x" * 9_000], ["t.py::b", "call", "assert 1 == 2"]]
    text = render([], {"run": {"exit_status": 1, "failures": failures}})
    assert "`t.py::a`: xxx" in text
    assert "`t.py::b`: assert 1 == 2" in text


def test_cases_are_one_row_of_the_table() -> None:
    results = [result(f"t.py::a[{case}]", (replace(BROKEN, measured=17.3 * GIB + case),)) for case in range(3)]
    rows = [line for line in render(results, {}).splitlines() if line.startswith("| ❌")]
    assert len(rows) == 1
    assert rows[0].startswith("| ❌ 3 FAIL | `t.py::a (3 cases)` the worst `[2]` | `memory.peak` |")


def test_why_a_passing_test_has_no_verdict_is_told() -> None:
    text = render([result("t.py::a", (UNMEASURED,), outcome="passed")], {})
    assert "- latency.ttft\\_p95 NOT MEASURED: p95 needs 130 requests, the test gave 12 (t.py::a)" in text


def test_the_counts_are_named() -> None:
    assert "Budgets: 1 PASS, 1 FAIL, 1 NOT MEASURED" in render([result()], {})


def test_the_table_has_the_worst_first_with_an_icon_and_the_word() -> None:
    rows = [line for line in render([result()], {}).splitlines() if line.startswith("| ")]
    assert rows[2] == "| ❌ FAIL | `tests/test_chat.py::test_answer` | `memory.peak` | 17.3 GiB | ≤ 16 GiB | -8.1 % |"
    assert [row.split(" | ")[0] for row in rows[2:]] == ["| ❌ FAIL", "| ⚠️ NOT MEASURED", "| ✅ PASS"]


def test_what_the_run_was_compared_with_stands_below_the_table() -> None:
    line = "against main: test_chat.py::test_a[x]: latency.ttft_p50 +3 % (6 runs)"
    text = render([result()], {"baselines": ["baseline main: 6 runs", line]})
    assert "\n- baseline main: 6 runs\n- against main: test\\_chat.py::test\\_a\\[x\\]: " in text


def test_pipes_and_backticks_in_a_test_id_do_not_break_the_table() -> None:
    rows = [line for line in render([result("t.py::t[a|b`c]", (PASSING,))], {}).splitlines() if "PASS |" in line]
    assert rows == ["| ✅ PASS | `` t.py::t[a\\|b`c] `` | `throughput.output` | 66.7 tok/s | ≥ 50 tok/s | +25.0 % |"]


def test_markup_in_a_test_id_does_not_become_markup_of_the_page() -> None:
    text = render([result("t.py::t[</summary>\n<b>]", (BROKEN,))], {})
    assert "<summary>❌ <code>t.py::t[&lt;/summary&gt; &lt;b&gt;]</code></summary>" in text


def test_each_failed_test_has_its_evidence_folded_away() -> None:
    held = result("t.py::held", (PASSING,), outcome="passed")
    strict = result("t.py::strict", (UNMEASURED,), outcome="failed")
    text = render([result(), held, strict], {})
    assert text.count("<details>") == text.count("</details>") == 2
    assert "<code>t.py::held</code>" not in text
    assert "```text\nbudget " in text


def test_a_fence_is_longer_than_the_backticks_inside_it() -> None:
    reason = replace(UNMEASURED, reason="said ```` oops")
    text = render([result(verdicts=(reason,))], {})
    assert text.count("\n`````") == 2


def test_the_engine_and_plain_facts_of_the_session_are_named() -> None:
    text = render([result(), result("t.py::b")], SESSION)
    assert text.count("\n- Engine: vllm 0.11.0, Qwen/Qwen3-0.6B, on AMD EPYC 7B13, started in 42.1 s\n") == 1
    assert text.endswith("\n\npytest 9.2.0\n")


def test_a_step_summary_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n", encoding="utf-8")
    append(path, "## é\n")
    append(path, "after\n")
    assert path.read_text(encoding="utf-8") == "before\n## é\nafter\n"


def test_a_step_summary_that_is_too_long_is_cut_before_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("x" * (STEP_SUMMARY_BYTES - 20_000), encoding="utf-8")
    text = render([result(f"t.py::t{i}", (BROKEN,)) for i in range(30)], {})
    append(path, text)
    written = path.read_text(encoding="utf-8").lstrip("x")
    assert path.stat().st_size <= STEP_SUMMARY_BYTES
    assert 0 < written.count("<details>") == written.count("</details>") < 30
    assert written.endswith("_The rest was cut: GitHub shows at most 1 MiB of a step summary._\n")


def test_a_table_that_is_too_long_is_cut_between_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    text = "| row é |\n" * (STEP_SUMMARY_BYTES // 8)
    append(path, text)
    assert STEP_SUMMARY_BYTES - 200 < path.stat().st_size <= STEP_SUMMARY_BYTES
    table, cut = path.read_text(encoding="utf-8").split("\n\n", 1)
    assert set(table.splitlines()) == {"| row é |"}
    assert "cut" in cut


def test_a_full_step_summary_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("x" * STEP_SUMMARY_BYTES, encoding="utf-8")
    append(path, "more\n")
    assert path.stat().st_size == STEP_SUMMARY_BYTES
