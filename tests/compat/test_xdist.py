"""pytest-xdist: tests are judged in workers, reports are written by the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

pytest.importorskip("xdist")

SOURCE = """
class Odd(float):
    '''A float that execnet refuses, as numpy's are.'''

class Name(str):
    pass

@pytest.mark.memory_budget(peak="2 GiB", kv_cache="1 GiB")
def test_inside(llm_client, llm_perf):
    llm_client.generate("x", max_tokens=4)
    llm_perf.record(Name("score"), Odd(0.5), Name("points"))
    with llm_perf.window(Name("part")):
        pass

@pytest.mark.memory_budget(peak="1 MiB", growth=Name("0 B"))
def test_beyond(llm_client):
    llm_client.generate("x", max_tokens=4)

def test_plain():
    pass
"""


@pytest.mark.parametrize(
    "options", [("-n0",), ("-n2",), ("-n2", "--dist=loadfile"), ("-n1", "--maxprocesses=1")], ids=" ".join
)
def test_budgets_judged_in_workers_reach_summary_json_and_junit(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json", "--junit-xml=out.xml", "--show-capture=no", *options)
    result.assert_outcomes(passed=2, failed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert result.stdout.str().count("budgets: ") == 1
    result.stdout.fnmatch_lines(["*- llmperf -*", "memory.peak * 1 MiB * FAIL", "memory * MiB over *"])
    result.stdout.fnmatch_lines(["*test_inside * memory.peak * PASS"])
    result.stdout.fnmatch_lines(["FAILED test_it.py::test_beyond - BudgetExceeded: memory.peak * > 1 MiB *"])
    tests = {test["nodeid"]: test for test in read_report(pytester.path / "out.json")["tests"]}
    assert set(tests) == {"test_it.py::test_inside", "test_it.py::test_beyond"}
    assert tests["test_it.py::test_inside"]["measurement"]["records"] == [
        {"name": "score", "value": 0.5, "unit": "points"}
    ]
    assert tests["test_it.py::test_beyond"]["outcome"] == "failed"
    assert "llmperf.memory.peak.verdict" in (pytester.path / "out.xml").read_text(encoding="utf-8")


def test_what_is_put_on_the_wire_can_be_dumped(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import execnet

        def pytest_runtest_logreport(report):
            if hasattr(report, "llmperf"):
                print("wire:", len(execnet.dumps([report.llmperf, report.user_properties])))
        """
    )
    result = runs(SOURCE, "-s")
    result.assert_outcomes(passed=2, failed=1)
    assert result.stdout.str().count("wire:") == 2


def test_skips_without_an_engine_are_counted_on_the_controller(runs: Runs) -> None:
    result = runs.plain(SOURCE, "-n1")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["2 skipped because no engine was given: *"])


def test_an_engine_that_cannot_start_is_reported_with_its_log(runs: Runs) -> None:
    result = runs(SOURCE, "-n1", crash_on_start="true")
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*- log of simulated, its last lines -*", "*crash_on_start*"])
    result.stdout.fnmatch_lines(["ERROR *EngineUnavailable: simulated ended with status 3 while starting"])


def test_all_workers_of_a_host_share_one_sampler(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        """
        import psutil

        @pytest.mark.memory_budget(peak="1 GiB")
        @pytest.mark.parametrize("number", [1, 2, 3, 4])
        def test_memory(llm_client, number):
            assert llm_client.generate("x", max_tokens=2).text
            children = psutil.Process().parent().children(recursive=True)
            running = [c for c in children if c.status() != psutil.STATUS_ZOMBIE]
            samplers = [c.pid for c in running if "pytest_llmperf.telemetry.sampler.main" in c.cmdline()]
            with open(f"samplers-{number}", "w") as file:
                print(*samplers, file=file)
        """,
        "-n2",
    )
    result.assert_outcomes(passed=4)
    seen = {path.read_text(encoding="utf-8") for path in pytester.path.glob("samplers-*")}
    assert len(seen) == 1
    assert len(seen.pop().split()) == 1


def test_a_worker_that_is_killed_leaves_no_engine_behind(runs: Runs, pytester: pytest.Pytester) -> None:
    from tests.plugin.test_signals import assert_gone, pids_in

    result = runs(
        """
        import os, signal
        from pytest_llmperf.plugin.session import SESSION

        def test_dies(llm_engine, request):
            with open("pids", "w") as file:
                print(*llm_engine.pids, file=file)
            assert request.config.stash[SESSION].sampler.pid is None
            os.kill(os.getpid(), signal.SIGKILL)

        def test_after_it(llm_client):
            assert llm_client.generate("x", max_tokens=2).text
        """,
        "-n1",
    )
    result.assert_outcomes(passed=1, failed=1)
    assert_gone(pids_in(pytester.path / "pids"))
