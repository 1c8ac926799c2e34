"""A test of a stop button: a request that is cancelled on purpose is measured, any other surprise has its verdict."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SUITE = """
import asyncio, contextlib, json, time, urllib.request
from concurrent.futures import ThreadPoolExecutor
import pytest
from pytest_llmperf import RequestFailed

pytestmark = pytest.mark.latency_budget(cancel="1 min")
LONG = {"max_tokens": 5000}

def ask(url, read):
    body = {"prompt": "a story", "stream": True, **LONG}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url + "/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        read(answer)

def check(cancelled, number=1):
    # On a busy host the first token may take longer than the pause before the cancel.
    assert len(cancelled.requests) == number
    for request in cancelled.requests:
        assert request.noticed_after is not None or "before its first token" in request.reason

def test_a_call_in_a_thread(llm_client):
    with llm_client.expect_cancelled() as cancelled, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(llm_client.generate, "a story", **LONG) for _ in range(2)]
        time.sleep(0.3)
        llm_client.cancel()
        for answer in answers:
            with pytest.raises(RequestFailed, match="cancelled"):
                answer.result(60)
    check(cancelled, 2)

def test_a_task(llm_client):
    async def stop():
        async with llm_client.expect_cancelled() as cancelled:
            task = asyncio.create_task(llm_client.achat("a story", **LONG))
            await asyncio.sleep(0.2)
            task.cancel()
        check(cancelled)
    asyncio.run(stop())

def test_a_timeout_of_a_task(llm_client):
    async def stop():
        with llm_client.expect_cancelled() as cancelled, pytest.raises(TimeoutError):
            await asyncio.wait_for(llm_client.achat("a story", **LONG), 0.2)
        check(cancelled)
    asyncio.run(stop())

@pytest.mark.latency_budget(e2e_max="1 min", tpot_max="1 min", ttft_max="1 min")
@pytest.mark.throughput_budget(goodput="0.001 req/s", output="0.001 tok/s")
def test_an_app(llm_client, llm_perf):
    with llm_client.expect_cancelled() as cancelled:
        ask(llm_client.base_url, lambda answer: answer.read(600))
        llm_client.generate("short", max_tokens=4)
    (request,) = cancelled.requests
    assert request.ttft > 0 and request.chunks >= 1 and request.noticed_after > 0
    (whole,) = llm_perf.measurement.requests
    assert whole.output_tokens == 4 and whole.error is None

@pytest.mark.latency_budget(e2e_max="1 min")
def test_only_cancelled(llm_client):
    with llm_client.expect_cancelled():
        ask(llm_client.base_url, lambda answer: answer.read(300))

@pytest.mark.latency_budget(cancel="1 us")
def test_noticed_too_late(llm_client):
    with llm_client.expect_cancelled():
        ask(llm_client.base_url, lambda answer: answer.read(300))

def test_cancelled_and_not_expected(llm_client):
    ask(llm_client.base_url, lambda answer: answer.read(300))

def test_expected_and_answered(llm_client):
    with llm_client.expect_cancelled():
        llm_client.generate("short", max_tokens=4)

def test_expected_and_failed(llm_client):
    with llm_client.expect_cancelled(), contextlib.suppress(RequestFailed):
        llm_client.generate("short", max_tokens=4, simulate={"error": True})

def test_nothing_sent(llm_client):
    with llm_client.expect_cancelled():
        pass

def test_still_running(llm_client):
    with ThreadPoolExecutor(1) as pool:
        try:
            with llm_client.expect_cancelled(within="200 ms"):
                pool.submit(llm_client.generate, "a story", **LONG)
                time.sleep(0.1)
        finally:
            llm_client.cancel()

def test_a_loop_that_stands_still(llm_client):
    async def stop():
        with llm_client.expect_cancelled():
            task = asyncio.create_task(llm_client.achat("a story", **LONG))
            await asyncio.sleep(0.1)
            task.cancel()
    asyncio.run(stop())

def test_its_requests_are_asked_for_too_early(llm_client):
    with llm_client.expect_cancelled() as cancelled:
        cancelled.requests
"""
CALL = "llm_client.expect_cancelled()"
FAILED = {
    "test_noticed_too_late": "BudgetExceeded: latency.cancel * > 1 us *",
    "test_expected_and_answered": f"Failed: {CALL}: the request of the block was answered in full and not cancelled",
    "test_expected_and_failed": f"Failed: {CALL}: no request of the block was cancelled, and one failed: HTTP 500*",
    "test_nothing_sent": f"Failed: {CALL}: no request was sent to simulated inside of the block",
    "test_still_running": f"Failed: {CALL}: 1 request of the block was still running * s after its end",
    "test_a_loop_that_stands_still": f"Failed: {CALL}: 1 request of the block was still running * s after its end; the "
    "event loop stands still at the end of a with block: await the cancelled task inside of it, or write async with",
    "test_its_requests_are_asked_for_too_early": f"RuntimeError: {CALL}: its requests are known once the with block "
    "has ended",
}


def test_each_way_of_cancelling_and_each_surprise(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(SUITE, "-rf", "-vv", "--llmperf-report=r.json", tpot="5 ms", slots="8")
    result.assert_outcomes(passed=6, failed=len(FAILED))
    for line in FAILED.items():
        result.stdout.fnmatch_lines(["FAILED *::{} - {}".format(*line)])
    report = json.loads((pytester.path / "r.json").read_text(encoding="utf-8"))
    tests = {test["nodeid"].rpartition("::")[2]: test for test in report["tests"]}
    verdicts = {name: {v["name"]: v for v in test["verdicts"]} for name, test in tests.items()}
    for name in ("test_a_call_in_a_thread", "test_a_task", "test_a_timeout_of_a_task"):
        assert {v["status"] for v in verdicts[name].values()} <= {"PASS", "NOT MEASURED"}, name
    assert {v["status"] for v in verdicts["test_an_app"].values()} == {"PASS"}
    only = verdicts["test_only_cancelled"]
    assert (only["latency.cancel"]["status"], only["latency.e2e_max"]["status"]) == ("PASS", "NOT MEASURED")
    assert only["latency.e2e_max"]["reason"] == "its only request was cancelled, as it expected"
    unexpected = verdicts["test_cancelled_and_not_expected"]["latency.cancel"]
    assert unexpected["status"] == "INVALID"
    assert unexpected["reason"].endswith("it does so inside of a block: with llm_client.expect_cancelled()")
    for name in ("test_expected_and_answered", "test_nothing_sent", "test_still_running"):
        assert verdicts[name]["latency.cancel"]["status"] == "INVALID", name
    app = tests["test_an_app"]["measurement"]
    (cancelled,) = app["cancelled"]
    assert app["requests"]["total"] == 1
    assert cancelled["ttft_s"] > 0
    assert cancelled["noticed_after_s"] > 0
    assert cancelled["cancelled_after_s"] >= cancelled["ttft_s"]


IGNORING = """
import json, urllib.request
import pytest

@pytest.mark.latency_budget(cancel="1 ms")
def test_it(llm_client):
    body = {"prompt": "x", "stream": True, "max_tokens": 5000}
    request = urllib.request.Request(
        llm_client.base_url + "/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with llm_client.expect_cancelled(within="WITHIN") as cancelled:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read(300)
    assert (cancelled.requests[0].noticed_after or 0.3) >= 0.3
"""


def test_a_server_that_works_on_is_noticed(runs: Runs) -> None:
    result = runs(IGNORING.replace("WITHIN", "1 min"), notices_after="300 ms")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*latency.cancel * > 1 ms (margin *"])


def test_one_that_never_notices_is_not_measured(runs: Runs) -> None:
    result = runs(IGNORING.replace("WITHIN", "100 ms"), "--llmperf-strict", notices_after="1 min")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*latency.cancel NOT MEASURED: the engine still worked on 1 request * s after the cancel*"]
    )


def test_without_a_measurement_the_block_checks_nothing(runs: Runs) -> None:
    runs(SUITE, "--llmperf-disable", "-k", "test_nothing_sent or test_still_running or test_a_task").assert_outcomes(
        passed=2, skipped=1
    )
