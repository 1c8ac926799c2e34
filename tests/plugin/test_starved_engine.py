"""An engine that others keep from its core: seen in every report, and no reason to doubt a PASS or a broken limit."""

from __future__ import annotations

import os
import re

import pytest

from pytest_llmperf.reports.report_file import read_report

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="reads the waiting of threads")

TESTS = """
    import os, subprocess, sys
    import pytest

    @pytest.fixture
    def crowd(llm_engine):
        # The engine and two others who always want it share one core.
        core = min(os.sched_getaffinity(0))
        for pid in llm_engine.pids:
            for thread in os.listdir(f"/proc/{pid}/task"):
                os.sched_setaffinity(int(thread), {core})
        busy = "import os; os.sched_setaffinity(0, {%d})\\nwhile True: pass" % core
        others = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
        yield
        for other in others:
            other.kill()
            other.wait()

    @pytest.mark.latency_budget(e2e_p50="60 s", ttft_p50="1 us")
    def test_crowded(crowd, llm_client):
        for number in range(12):
            llm_client.generate(f"{number} things", max_tokens=20)
"""


def test_waiting_is_in_every_report_also_of_a_pass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    options = ["--llmperf-report=r.json", "--llmperf-report=r.md", "--junitxml=r.xml", "-p", "no:randomly"]
    result = pytester.runpytest_subprocess("--llm-engine=simulated", *options)
    shown = " ".join(result.stdout.str().split())
    assert re.search(r"system the engine ran for \S+ \S+ and waited \S+ \S+ for a core .* FAILED ", shown)
    (test,) = read_report(pytester.path / "r.json")["tests"]
    assert {v["name"]: v["status"] for v in test["verdicts"]} == {
        "latency.e2e_p50": "PASS",
        "latency.ttft_p50": "FAIL",
    }
    host = test["measurement"]["host"]
    assert host["threads"]["waited_s"] > 0
    assert 0 < host["threads"]["share_waited"] < 1
    assert host["other_cores"] > 0
    assert "the engine ran for" in (pytester.path / "r.md").read_text(encoding="utf-8")
    assert 'name="llmperf.host.waited"' in (pytester.path / "r.xml").read_text(encoding="utf-8")
