"""Requests of processes that a test has started: an app's are measured, those of llm_client are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SOURCE = """
    import inspect, os, subprocess, sys, textwrap, urllib.request
    from pytest_llmperf import workload
    from tests.helpers.waiting import until

    pytestmark = [
        pytest.mark.latency_budget(ttft_max="1 min"),
        pytest.mark.throughput_budget(requests="0.0001 req/s"),
        pytest.mark.memory_budget(peak="10 GiB"),
        pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    ]
    CHILDREN = []

    def fork(work, wait=True):
        child = os.fork()
        if not child:
            try:
                work()
            finally:
                os._exit(0)
        CHILDREN.append(child)
        if wait:
            os.waitpid(child, 0)

    def call(url):
        body = b'{"prompt": "x", "max_tokens": 2, "stream": true, "stream_options": {"include_usage": true}}'
        urllib.request.urlopen(urllib.request.Request(url + "/completions", body)).read()

    def test_client_alone(llm_client):
        fork(lambda: llm_client.generate("x", max_tokens=2))

    def test_client_beside(llm_client):
        llm_client.chat("x", max_tokens=2)
        for _ in range(2):
            fork(lambda: llm_client.chat("x", max_tokens=2))

    def test_load(llm_client):
        fork(lambda: llm_client.run(workload(["x"], output_tokens=2), concurrency=1))

    def test_app(llm_client, llm_perf):
        url = llm_client.base_url
        fork(lambda: call(url))
        fork(lambda: call(llm_client.base_url))
        code = f"import sys, urllib.request\\n{inspect.getsource(call)}\\ncall(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, url], check=True, timeout=60)
        assert len(llm_perf.measurement.requests) == 3

    def test_leaves_a_process(llm_client):
        def ask():
            until(lambda: os.path.exists("beside"))
            llm_client.generate("x", max_tokens=2)

        llm_client.generate("x", max_tokens=2)
        fork(ask, wait=False)

    def test_beside_it(llm_client):
        open("beside", "x").close()
        os.waitpid(CHILDREN[-1], 0)
        llm_client.generate("x", max_tokens=2)
"""


def test_none_is_lost(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SOURCE, "--llmperf-report=out.json", "-p", "no:randomly")
    tests = read_report(pytester.path / "out.json")["tests"]
    counted, measured = ["INVALID", "INVALID", "PASS"], ["PASS", "PASS", "PASS"]
    assert {t["nodeid"].partition("::")[2]: sorted(v["status"] for v in t["verdicts"]) for t in tests} == {
        "test_client_alone": counted,
        "test_client_beside": counted,
        "test_load": counted,
        "test_app": measured,
        "test_leaves_a_process": measured,
        "test_beside_it": measured,
    }
    result.stdout.fnmatch_lines(
        [
            "why: *the test sent 1 call that is not read: llm_client in a forked process*",
            "note: a request of test_it.py::test_leaves_a_process was still running while this test ran (*",
        ]
    )
    result.stdout.fnmatch_lines(
        ["note: the test sent 2 calls that are not read: llm_client in a forked process (*beside)"]
    )
    assert "sent no request" not in result.stdout.str()
