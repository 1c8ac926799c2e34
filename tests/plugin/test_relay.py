"""llm_client.base_url: what an app asks there, with its own client and in its own process, is the test's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

APP = """
import json, sys, urllib.request

url, streamed, path = sys.argv[1], sys.argv[2] == "streamed", sys.argv[3]
body = {"prompt": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "stream": streamed}
if streamed:
    body["stream_options"] = {"include_usage": True}
headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-app-0123456789"}
with urllib.request.urlopen(urllib.request.Request(url + path, json.dumps(body).encode(), headers)) as answer:
    print(len(answer.read()))
"""
CALLS = """
import subprocess, sys

def ask(url, streamed="streamed", path="/chat/completions"):
    done = subprocess.run([sys.executable, "app.py", url, streamed, path], capture_output=True, text=True, timeout=60)
    return done.stdout if done.returncode == 0 else done.stderr
"""


@pytest.fixture(autouse=True)
def _app(pytester: pytest.Pytester) -> None:
    (pytester.path / "app.py").write_text(APP, encoding="utf-8")


def test_calls_of_another_process_are_measured_and_judged(runs: Runs) -> None:
    result = runs(
        CALLS
        + """
@pytest.mark.latency_budget(ttft_max="1 ms")
@pytest.mark.throughput_budget(output="0.0001 tok/s")
def test_app(llm_client, llm_perf):
    assert int(ask(llm_client.base_url))
    assert int(ask(llm_client.base_url, "whole"))
    assert int(ask(llm_client.base_url, "streamed", "/completions"))
    requests = llm_perf.measurement.requests
    assert [len(r.chunks) for r in requests] == [4, 0, 4]
    assert {r.output_tokens for r in requests} == {4}
""",
        ttft="300 ms",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*throughput.output * PASS", "requests * 3 sent, 0 failed, 2 streamed; tokens: 12 output*"]
    )
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: latency.ttft_max * > 1 ms *"])


def test_calls_of_llm_client_go_past_the_relay_and_count_once(runs: Runs) -> None:
    result = runs(
        CALLS
        + """
def test_both(llm_client, llm_engine, llm_perf):
    assert llm_client.base_url != llm_engine.base_url
    llm_client.generate("x", max_tokens=3)
    ask(llm_client.base_url)
    llm_client.run(["x"] * 2, max_tokens=3)
    assert sorted(r.output_tokens for r in llm_perf.measurement.requests) == [3, 3, 3, 4]
"""
    )
    result.assert_outcomes(passed=1)


def test_calls_that_ask_no_model_for_tokens_pass_unmeasured(runs: Runs) -> None:
    result = runs(
        """
        import urllib.request

        def test_lists_models(llm_client, llm_perf):
            with urllib.request.urlopen(llm_client.base_url + "/models") as answer:
                assert b"simulated" in answer.read()
            assert llm_perf.measurement.requests == ()
        """
    )
    result.assert_outcomes(passed=1)


def test_a_failed_call_of_the_app_makes_the_measurement_invalid(runs: Runs) -> None:
    result = runs(
        CALLS
        + """
@pytest.mark.throughput_budget(requests="0.0001 req/s")
def test_app(llm_client):
    assert "HTTP Error 503" in ask(llm_client.base_url)
""",
        "--llmperf-strict",
        error_every="1",
        error_status="503",
    )
    result.stdout.fnmatch_lines(
        ["FAILED *INVALID: 1 of 1 requests failed, the first with: HTTP 503: simulated failure*"]
    )


def test_an_app_that_hangs_up_ends_the_request_and_fails_it(runs: Runs) -> None:
    result = runs(
        """
        import http.client, json, time
        from urllib.parse import urlsplit

        @pytest.mark.latency_budget(e2e_max="1 min")
        def test_app(llm_client):
            connection = http.client.HTTPConnection(urlsplit(llm_client.base_url).netloc)
            body = {"prompt": "x", "max_tokens": 100000, "stream": True}
            connection.request("POST", "/v1/completions", json.dumps(body))
            answer = connection.getresponse()
            answer.read(10)
            answer.close()
            connection.close()
            # The only slot is free again, or this would wait for ever.
            llm_client.generate("x", max_tokens=1)
        """,
        "--llmperf-strict",
        slots="1",
    )
    result.stdout.fnmatch_lines(
        ["FAILED *INVALID: 1 of 2 requests failed, the first with: the app closed the connection *"]
    )


def test_a_call_still_on_its_way_at_the_end_belongs_to_its_test(runs: Runs) -> None:
    result = runs(
        """
        import contextlib, http.client, json, threading, urllib.request

        def ask(url, tokens, begun=None):
            body = json.dumps({"prompt": "x", "max_tokens": tokens, "stream": True}).encode()
            with urllib.request.urlopen(urllib.request.Request(url + "/completions", body)) as answer:
                answer.read(1)
                if begun is not None:
                    begun.set()
                answer.read()

        def leave_behind(*arguments):
            with contextlib.suppress(OSError, http.client.HTTPException):  # the run may end before the answer
                ask(*arguments)

        @pytest.mark.throughput_budget(requests="0.0001 req/s")
        def test_leaves_one_behind(llm_client, llm_perf):
            begun = threading.Event()
            arguments = (llm_client.base_url, 100_000, begun)
            threading.Thread(target=leave_behind, args=arguments, daemon=True).start()
            assert begun.wait(60)
            ask(llm_client.base_url, 1)

        @pytest.mark.throughput_budget(requests="0.0001 req/s")
        def test_after_it(llm_client):
            ask(llm_client.base_url, 1)
        """,
        tpot="2 ms",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_leaves_one_behind * INVALID",
            "*test_after_it * PASS",
            "why: *it was still on its way when the test ended*",
            "note: a call of the app of test_it.py::test_leaves_one_behind was still running while this test ran *",
        ]
    )


def test_a_stream_whose_tokens_nobody_asked_to_count_says_how_to_ask(runs: Runs) -> None:
    result = runs(
        """
        import json, urllib.request

        @pytest.mark.throughput_budget(output="0.0001 tok/s")
        @pytest.mark.latency_budget(ttft_max="1 min")
        def test_app(llm_client):
            body = json.dumps({"prompt": "x", "max_tokens": 4, "stream": True}).encode()
            urllib.request.urlopen(urllib.request.Request(llm_client.base_url + "/completions", body)).read()
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS, 1 NOT MEASURED"])
    assert 'stream_options={"include_usage": true}' in result.stdout.str()


def test_warm_up_is_not_measured_and_not_outside_of_the_test(runs: Runs) -> None:
    result = runs(
        CALLS
        + """
@pytest.mark.throughput_budget(requests="0.0001 req/s")
def test_app(llm_client, llm_perf):
    ask(llm_client.base_url)

@pytest.fixture(autouse=True)
def _count(llm_perf):
    yield
    assert len(llm_perf.measurement.requests) == 2
""",
        "--llmperf-warmup=1",
        "--llmperf-rounds=2",
    )
    result.assert_outcomes(passed=1)
    assert "belong to no test" not in result.stdout.str()


def test_without_measuring_there_is_no_relay(runs: Runs) -> None:
    result = runs(
        """
        def test_app(llm_client, llm_base_url, llm_engine):
            assert llm_client.base_url == llm_base_url == llm_engine.base_url
        """,
        "--llmperf-disable",
    )
    result.assert_outcomes(passed=1)
