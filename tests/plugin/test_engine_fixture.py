"""llm_engine: one running engine for the session, one run of the suite for each engine that was named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs

ASKS = """
def test_asks(llm_client):
    assert llm_client.generate("x", max_tokens=2).text

def test_asks_again(llm_client):
    assert llm_client.generate("x", max_tokens=2).text

def test_other():
    pass
"""


def test_without_an_engine_tests_are_skipped_with_the_reason_and_counted(runs: Runs) -> None:
    result = runs.plain(ASKS, "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["2 skipped because no engine was given: --llm-engine=NAME runs them"])
    result.stdout.fnmatch_lines(["SKIPPED * no engine: run pytest with --llm-engine=NAME *"])


def test_a_skip_of_the_project_with_the_same_words_is_not_counted(runs: Runs) -> None:
    result = runs.plain(
        """
        from pytest_llmperf.plugin.session import NO_ENGINE

        def test_skips_itself():
            pytest.skip(NO_ENGINE)

        def test_needs_an_engine(llm_client):
            pass
        """
    )
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["1 skipped because no engine was given: --llm-engine=NAME runs them"])


def test_one_engine_is_started_once_and_leaves_the_test_ids_alone(runs: Runs) -> None:
    result = runs(ASKS, "-v")
    result.assert_outcomes(passed=3)
    assert str(result.stdout).count("ready after") == 1
    result.stdout.fnmatch_lines(["test_it.py::test_asks_again PASSED*"])


def test_several_engines_run_the_suite_once_each_and_are_compared(runs: Runs) -> None:
    result = runs.plain(ASKS, "--llm-engine=simulated:small", "--llm-engine=simulated:large", *runs.arguments(), "-v")
    result.assert_outcomes(passed=5)
    assert str(result.stdout).count("ready after") == 2
    result.stdout.fnmatch_lines_random(
        [
            "test_it.py::test_asks[[]simulated:small] *",
            "test_it.py::test_asks[[]simulated:large] *",
            "test_it.py::test_other PASSED*",
            "2 tests on 2 engines, each value beside its multiple of that of simulated:small:",
            "simulated:large: simulated 1 large",
            "  latency.startup * ×*",
            "test_it.py::test_asks",
            "  throughput.output * tok/s *",
        ]
    )


def test_the_engine_tells_what_it_is(runs: Runs) -> None:
    result = runs(
        """
        def test_engine(llm_engine):
            import os

            assert (llm_engine.name, llm_engine.model) == ("simulated", "tiny")
            assert llm_engine.base_url.endswith("/v1")
            assert llm_engine.startup_time > 0
            assert llm_engine.memory().resident > 20 * 2**20
            assert [device.kind for device in llm_engine.devices] == ["cpu"]
            [pid] = llm_engine.pids
            os.kill(pid, 0)

        def test_restart_is_followed_by_every_client(llm_engine, llm_client, llm_client_factory, llm_perf):
            import json
            import urllib.request

            from pytest_llmperf import workload

            def ask(url):
                body = json.dumps({"model": "tiny", "prompt": "x", "max_tokens": 2}).encode()
                request = urllib.request.Request(f"{url}/completions", body, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=30) as response:
                    return json.load(response)["usage"]["completion_tokens"]

            other, url = llm_client_factory(llm_engine), llm_client.base_url
            pids, address = llm_engine.pids, llm_engine.base_url
            assert llm_client.generate("x", max_tokens=2).usage["completion_tokens"] == ask(url) == 2
            llm_engine.restart()
            assert llm_engine.pids != pids
            assert llm_engine.base_url != address
            for client in (llm_client, other):
                assert client.generate("x", max_tokens=2).usage["completion_tokens"] == 2
                assert len(client.run(["x"], max_tokens=2)) == 1
                load = client.run(workload(prompt_tokens=3, output_tokens=2, requests=2), concurrency=1)
                assert len(load.requests) == 2
            assert ask(url) == 2
            assert len(llm_perf.measurement.requests) == 11
        """,
        model="tiny",
        memory="20 MiB",
    )
    result.assert_outcomes(passed=2)


def test_memory_is_still_measured_after_a_restart(runs: Runs) -> None:
    result = runs(
        """
        def test_restarts(llm_engine):
            llm_engine.restart()

        @pytest.mark.memory_budget(peak="2 GiB")
        def test_after_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*memory.peak * PASS"])
