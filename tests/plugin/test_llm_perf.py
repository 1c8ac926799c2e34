"""llm_perf: windows, records and readings inside a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs


def test_a_window_measures_a_part_of_the_test(runs: Runs) -> None:
    result = runs(
        """
        def test_parts(llm_client, llm_perf):
            with llm_perf.window("one") as one:
                llm_client.generate("x", max_tokens=2)
            with llm_perf.window("two") as two:
                llm_client.run(["x"] * 3, max_tokens=2)
            assert len(one.measurement.requests) == 1
            assert two.read("latency.e2e_max").samples == 3
            assert one.read("memory.peak").value > 10 * 2**20
            assert one.seconds > 0
            assert llm_perf.read("latency.e2e_max").value >= two.read("latency.e2e_max").value
            assert llm_perf.read("latency.e2e_max").samples == 4
            unknown = llm_perf.read("energy.total")
            assert unknown.value is None
            assert unknown.reason
            assert type(unknown) is type(one.read("energy.total"))
        """,
        memory="10 MiB",
    )
    result.assert_outcomes(passed=1)


def test_what_cannot_be_read_is_said(runs: Runs) -> None:
    result = runs(
        """
        def test_unknown(llm_perf):
            llm_perf.read("memory.peek")

        def test_open(llm_perf):
            with llm_perf.window("one") as one:
                one.seconds
        """
    )
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["E *ValueError: there is no metric 'memory.peek'; *"])
    result.stdout.fnmatch_lines(["E *RuntimeError: the window 'one' is still open: *"])


def test_records_and_windows_reach_the_report(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_records(llm_client, llm_perf):
            with llm_perf.window("warm"):
                llm_client.generate("x", max_tokens=2)
            llm_perf.record("score", 0.75, "points")
        """,
        "--llmperf-report=out.json",
    )
    result.assert_outcomes(passed=1)
    [test] = read_report(pytester.path / "out.json")["tests"]
    assert test["measurement"]["records"] == [{"name": "score", "value": 0.75, "unit": "points"}]
    assert [window["name"] for window in test["measurement"]["windows"]] == ["warm"]


def test_after_the_test_the_whole_measurement_can_be_read_by_a_fixture(runs: Runs) -> None:
    result = runs(
        """
        @pytest.fixture
        def checked(llm_perf):
            yield
            assert llm_perf.measurement.window.seconds > 0
            assert len(llm_perf.measurement.requests) == 1

        def test_asks(checked, llm_client):
            llm_client.generate("x", max_tokens=2)
        """
    )
    result.assert_outcomes(passed=1)
