"""A request is registered when it begins: one that has not ended with its test makes what depends on it INVALID."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle import attached_deployment
from pytest_llmperf.engines.lifecycle.http import http_get
from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import whole

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

UNENDED = "it was still on its way when the test ended"
SLOW = """
    import asyncio, contextlib, threading, time

    BUDGETS = [
        pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min"),
        pytest.mark.throughput_budget(output="0.0001 tok/s", requests="0.0001 req/s", goodput="0.0001 req/s"),
        pytest.mark.memory_budget(peak="10 GiB"),
    ]
    pytestmark = BUDGETS
    SLOW = {"tpot": "20 ms"}

    def start(ask, *arguments, until=0.1, **settings):
        '''Asks in a thread, and returns when the request is on its way.'''
        begun = threading.Event()

        def work():
            begun.set()
            with contextlib.suppress(Exception):  # the run may end before the answer
                ask(*arguments, **settings)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert begun.wait(60)
        time.sleep(until)
        return thread
"""
WAYS = {
    "generate": 'start(llm_client.generate, "x", max_tokens=60, simulate=SLOW)',
    "chat": 'start(llm_client.chat, "x", max_tokens=60, simulate=SLOW, stream=False)',
    "a list": 'start(llm_client.run, ["x"] * 3, max_tokens=30, simulate=SLOW)',
    "another client": 'start(llm_client_factory(llm_engine).generate, "x", max_tokens=60, simulate=SLOW)',
}


@pytest.mark.parametrize("way", WAYS)
def test_a_request_in_a_thread_that_outlives_its_test(runs: Runs, way: str) -> None:
    result = runs(
        SLOW
        + f"""
    def test_leaves_it(llm_client, llm_client_factory, llm_engine):
        {WAYS[way]}
        llm_client.generate("y", max_tokens=3)
""",
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*INVALID: * of * requests failed, the first with: {UNENDED}*", "budgets: 6 INVALID"])


def test_a_load_in_a_thread_that_outlives_its_test(runs: Runs) -> None:
    result = runs(
        SLOW
        + """
    from pytest_llmperf import workload

    def test_leaves_it(llm_client):
        start(llm_client.run, workload(["x"] * 2, output_tokens=100), simulate=SLOW, until=0.5)
        llm_client.generate("y", max_tokens=3)

    def test_after_it(llm_client):
        llm_client.generate("y", max_tokens=3)
""",
    )
    result.stdout.fnmatch_lines(
        [
            "why: *the load was still running when the test ended*",
            "note: a load of test_it.py::test_leaves_it was still running while this test ran (*::test_after_it)",
            "budgets: 6 PASS, 6 INVALID",
        ]
    )


def test_a_task_that_the_end_of_its_event_loop_cuts_off(runs: Runs) -> None:
    result = runs(
        SLOW
        + """
    def test_cuts_it_off(llm_client):
        async def ask():
            task = asyncio.create_task(llm_client.agenerate("x", max_tokens=60, simulate=SLOW))
            await llm_client.achat("y", max_tokens=3)
        asyncio.run(ask())
""",
        "--llmperf-strict",
    )
    result.stdout.fnmatch_lines(["*INVALID: 1 of 2 requests failed, the first with: cancelled*", "budgets: 6 INVALID"])


def test_a_task_whose_event_loop_outlives_the_test(runs: Runs) -> None:
    result = runs(
        SLOW
        + """
    @pytest.fixture(scope="module")
    def loop():
        with asyncio.Runner() as runner:
            yield runner

    def test_leaves_it(loop, llm_client):
        async def ask():
            asyncio.get_running_loop().left = asyncio.create_task(
                llm_client.achat("x", max_tokens=30, simulate=SLOW)
            )
            await llm_client.agenerate("y", max_tokens=3)
        loop.run(ask())

    def test_ends_it(loop, llm_client, llm_perf):
        async def ask():
            await llm_client.agenerate("y", max_tokens=3)
            await asyncio.get_running_loop().left
        loop.run(ask())
        assert [r.output_tokens for r in llm_perf.measurement.requests] == [3]
""",
        "--llmperf-report=out.json",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        [
            f"why: *1 of 2 requests failed, the first with: {UNENDED}*",
            "note: a request of test_it.py::test_leaves_it was still running while this test ran (*::test_ends_it)",
            "budgets: 6 PASS, 6 INVALID",
        ]
    )


def test_an_earlier_test_makes_a_limit_that_does_not_hold_invalid(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        SLOW
        + """
    def test_leaves_it(llm_client):
        start(llm_client.generate, "x", max_tokens=100, simulate=SLOW)

    @pytest.mark.latency_budget(ttft_max="1 us")
    @pytest.mark.memory_budget(growth="10 GiB", retained="10 GiB")
    def test_after_it(llm_client):
        llm_client.generate("y", max_tokens=3)
""",
        "--llmperf-report=out.json",
    )
    beside = "a request of test_it.py::test_leaves_it was still running while this test ran"
    report = read_report(pytester.path / "out.json")
    after = report["tests"][1]
    assert after["measurement"]["disturbances"] == [beside]
    assert after["measurement"]["requests"]["total"] == 1
    reasons = {verdict["name"]: verdict["reason"] for verdict in after["verdicts"] if verdict["status"] == "INVALID"}
    # None of the requests met the limit of ttft, so goodput is 0.
    disturbed = ["latency.ttft_max", "throughput.goodput", "memory.growth", "memory.retained"]
    assert reasons == dict.fromkeys(disturbed, beside)
    result.stdout.fnmatch_lines(["budgets: 4 PASS, 10 INVALID"])


@pytest.mark.parametrize("options", [("--llmperf-warmup=1",), ("--llmperf-warmup=1", "--llmperf-rounds=2")])
def test_a_request_of_the_warm_up_is_not_the_tests(runs: Runs, options: tuple[str, ...]) -> None:
    result = runs(
        SLOW
        + """
    ROUNDS = []

    def test_asks(llm_client, llm_perf):
        ROUNDS.append(llm_client)
        if len(ROUNDS) == 1:
            start(llm_client.generate, "x", max_tokens=60, simulate=SLOW)
        llm_client.generate("y", max_tokens=3)
        assert all(r.output_tokens == 3 for r in llm_perf.measurement.requests)
""",
        *options,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["note: a request that began before the measurement was still running while this test ran *", "budgets: 6 PASS"]
    )


def test_a_request_of_one_round_that_ends_in_the_next_counts(runs: Runs) -> None:
    result = runs(
        SLOW
        + """
    THREADS = []

    def test_asks(llm_client):
        if not THREADS:
            THREADS.append(start(llm_client.generate, "x", max_tokens=10, simulate=SLOW))
        else:
            THREADS[0].join()
        llm_client.generate("y", max_tokens=3)
""",
        "--llmperf-rounds=2",
        "--llmperf-strict",
    )
    result.stdout.fnmatch_lines(["budgets: 6 PASS"])
    result.stdout.no_fnmatch_line("note: *still running*")


def test_a_request_of_the_attempt_before(runs: Runs) -> None:
    pytest.importorskip("pytest_rerunfailures")
    result = runs.in_subprocess(
        SLOW
        + """
    ATTEMPTS = []

    def test_asks(llm_client, llm_perf):
        ATTEMPTS.append(llm_client)
        llm_client.generate("y", max_tokens=3)
        if len(ATTEMPTS) == 1:
            start(llm_client.generate, "x", max_tokens=100, simulate={"tpot": "500 ms"})
            assert False
        assert len(llm_perf.measurement.requests) == 1
""",
        "-p",
        "rerunfailures",
        "--reruns=1",
        "--llmperf-strict",
    )
    result.stdout.fnmatch_lines(
        ["note: a request of attempt 1 of this test was still running while this test ran *", "budgets: 6 PASS"]
    )


APP = """
    import json, urllib.request

    def call(url, tokens, path="/completions"):
        body = json.dumps({"prompt": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": tokens,
                           "stream": True, "stream_options": {"include_usage": True}, "simulate": SLOW}).encode()
        urllib.request.urlopen(urllib.request.Request(url + path, body)).read()
"""


def test_a_call_of_the_app_that_began_before_the_test(runs: Runs) -> None:
    result = runs(
        SLOW
        + APP
        + """
    @pytest.fixture
    def busy_app(llm_client):
        start(call, llm_client.base_url, 100)

    def test_beside_it(busy_app, llm_client):
        call(llm_client.base_url, 2)
"""
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            "note: a call of the app that began before the measurement was still running while this test ran *",
            "budgets: 6 PASS",
        ]
    )


def test_what_ended_between_two_tests_disturbs_none(runs: Runs) -> None:
    result = runs(
        SLOW
        + APP
        + """
    @pytest.fixture
    def left():
        threads = []
        yield threads
        for thread in threads:
            thread.join()

    def test_leaves_two(left, llm_client):
        left.append(start(llm_client.generate, "x", max_tokens=30, simulate=SLOW))
        left.append(start(call, llm_client.base_url, 30))

    def test_after_them(llm_client):
        llm_client.generate("y", max_tokens=3)
        call(llm_client.base_url, 2)
"""
    )
    result.stdout.fnmatch_lines(["budgets: 6 PASS, 6 INVALID"])
    result.stdout.no_fnmatch_line("note: *still running*")


def test_an_attached_server_is_asked_a_few_times_after_a_failed_request(
    runs: Runs, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def count(url: str, *, api_key: str = "") -> bytes:
        asked.append(url)
        return http_get(url, api_key=api_key)

    monkeypatch.setattr(attached_deployment, "http_get", count)
    hostile.answer = lambda _: whole({"error": {"message": "too busy"}}, status=503)
    result = runs.plain(
        """
    from pytest_llmperf import RequestFailed

    @pytest.mark.latency_budget(e2e_max="1 min")
    def test_asks(llm_client):
        with pytest.raises(RequestFailed):
            llm_client.generate("x")
""",
        *hostile.options,
    )
    result.stdout.fnmatch_lines(["budgets: 1 INVALID"])
    assert 1 <= len(asked) <= 10


def test_a_window_has_no_times_while_a_request_of_it_runs(runs: Runs) -> None:
    result = runs(
        SLOW
        + APP
        + """
    def test_reads_its_window(llm_client, llm_perf):
        with llm_perf.window("part") as part:
            url = llm_client.base_url
            llm_client.generate("y", max_tokens=3)
            threads = [start(llm_client.generate, "x", max_tokens=60, simulate=SLOW), start(call, url, 60)]
        early = part.read("latency.ttft_max")
        assert (early.value, early.reason) == (None, "2 requests of the window have not ended yet")
        assert part.read("memory.peak").value
        for thread in threads:
            thread.join()
        assert part.read("latency.ttft_max").value
        assert len(part.measurement.requests) == 3
"""
    )
    result.assert_outcomes(passed=1)
