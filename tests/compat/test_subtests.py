"""Subtests (pytest 9): the budget belongs to the whole test, and is published once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytestmark = pytest.mark.skipif(pytest.version_tuple < (9,), reason="subtests came with pytest 9")

SOURCE = """
@pytest.mark.memory_budget(peak="{peak}")
def test_parts(llm_client, subtests):
    for number in range(3):
        with subtests.test(number=number):
            llm_client.generate("x", max_tokens=2)
            assert number != {fails}
"""


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["no worker", "one worker"])
@pytest.mark.parametrize(
    ("peak", "fails", "verdict"), [("1 MiB", None, "FAIL"), ("2 GiB", None, "PASS"), ("2 GiB", 1, "PASS")]
)
def test_one_result_for_all_subtests(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...], peak: str, fails: int | None, verdict: str
) -> None:
    if options:
        pytest.importorskip("xdist")
    result = runs(SOURCE.format(peak=peak, fails=fails), "--llmperf-report=out.json", *options)
    broken = verdict == "FAIL" or fails is not None
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if broken else pytest.ExitCode.OK)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert test["verdicts"][0]["status"] == verdict
    assert test["outcome"] == ("failed" if broken else "passed")
    assert test["measurement"]["requests"]["total"] == 3
    result.stdout.fnmatch_lines([f"budgets: 1 {verdict}"])
    assert result.stdout.str().count("- llmperf -") == (1 if verdict == "FAIL" else 0)
