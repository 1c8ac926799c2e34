"""llm_client.run of a workload: one line, judged over its steady part, honest about itself."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.waiting import until
from tests.plugin.test_signals import assert_gone

if TYPE_CHECKING:
    from tests.conftest import Runs

WORKLOADS = "from pytest_llmperf import RequestFailed, workload\n"


def test_an_open_loop_in_one_line_is_measured_and_judged(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        WORKLOADS
        + """
@pytest.mark.latency_budget(ttft_p50="10 s", itl_p50="10 s")
@pytest.mark.throughput_budget(output="0.0001 tok/s", goodput="0.0001 req/s")
@pytest.mark.memory_budget(peak="4 GiB")
def test_load(llm_client, llm_perf):
    result = llm_client.run(workload(prompt_tokens="10-20", output_tokens=4, requests=40), rate="200/s", warmup=5)
    assert len(result.answered) == 40
    assert {r.prompt_tokens for r in result.requests} <= set(range(10, 21))
    assert [r.phase for r in result.requests] == ["warmup"] * 5 + ["steady"] * 35
    assert len(llm_perf.measurement.requests) == 40
    assert llm_perf.read("latency.ttft_p50").value > 0
""",
        "--llmperf-report=out.json",
        slots="64",
    )
    result.assert_outcomes(passed=1)
    (test,) = read_report(pytester.path / "out.json")["tests"]
    (load,) = test["measurement"]["loads"]
    assert load["asked"].startswith(
        "40 prompts of 10 to 20 tokens, answers of 4, seed 0; open loop, Poisson, 200 req/s"
    )
    assert load["output_tokens"]["came"] == {"min": 4, "mean": 4, "max": 4, "count": 40}
    assert load["client"]["schedule_lag_s"]["p50"] >= 0
    assert test["measurement"]["readings"]["throughput.output"]["how"].count("over the steady part of") == 1


def test_a_closed_loop_a_chat_and_shared_prefixes_are_asked_for_by_a_word_each(runs: Runs) -> None:
    result = runs(
        WORKLOADS
        + """
@pytest.mark.parametrize("more", [{}, {"turns": 2}, {"shared_prefix": "50 %", "groups": 2}, {"chat": True}], ids=str)
def test_load(llm_client, more):
    result = llm_client.run(workload(prompt_tokens=12, output_tokens=2, requests=8, **more), concurrency=4)
    assert len(result.answered) == 8
    assert result.load.full_answers == 8
    assert any(r.shared_prefix for r in result.requests) == ("turns" in more or "groups" in more)
"""
    )
    result.assert_outcomes(passed=4)


def test_requests_that_fail_fail_the_test_unless_it_tolerates_them(runs: Runs) -> None:
    result = runs(
        WORKLOADS
        + """
REQUESTS = workload(prompt_tokens=5, output_tokens=2, requests=40)

def test_none_is_tolerated(llm_client):
    llm_client.run(REQUESTS, concurrency=4)

@pytest.mark.throughput_budget(requests="0.0001 req/s")
def test_some_are(llm_client):
    assert len(llm_client.run(REQUESTS, concurrency=4, max_error_rate="20 %").failed) == 4

def test_too_many_end_the_load(llm_client):
    with pytest.raises(RequestFailed):
        llm_client.run(REQUESTS, concurrency=1, max_error_rate="5 %")
""",
        error_every="10",
    )
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *test_none_is_tolerated - *RequestFailed: 4 of 40 requests failed, the first with: HTTP 500*"]
    )


def test_the_table_says_what_was_asked_what_came_and_how_the_client_fared(runs: Runs) -> None:
    result = runs(
        WORKLOADS
        + """
@pytest.mark.throughput_budget(output="1000000 tok/s")
def test_load(llm_client):
    llm_client.run(workload(prompt_tokens=5, output_tokens=9, requests=12), rate="100/s", simulate={"output_tokens": 3})
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "load * 12 prompts of 5 tokens, answers of 9, seed 0; open loop, Poisson, 100 req/s",
            "tokens * prompt: asked 5; came 5",
            "*output: asked 9; came 3; 0 of 12 answers as long as asked",
            "client * of a core; sent late by *",
        ]
    )


def test_a_client_that_lagged_makes_invalid_what_it_may_have_decided(runs: Runs) -> None:
    result = runs(
        WORKLOADS
        + """
from pytest_llmperf.budgets import client_lag

@pytest.fixture(autouse=True)
def strict_about_the_client(monkeypatch):
    monkeypatch.setattr(client_lag, "MOST_OF_A_CORE", 0.0)

@pytest.mark.latency_budget(tpot_p50="1 us")
def test_of_a_time_between_tokens_nothing_is_known(llm_client):
    llm_client.run(workload(prompt_tokens=5, output_tokens=2, requests=20), rate="100/s")

@pytest.mark.latency_budget(ttft_p50="1 us")
def test_what_is_broken_without_the_lag_too(llm_client):
    llm_client.run(workload(prompt_tokens=5, output_tokens=2, requests=20), rate="100/s")
""",
        ttft="50 ms",
        tpot="20 ms",
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*latency.tpot_p50 * INVALID", "*the client took * of its core*"])
    result.stdout.fnmatch_lines(["FAILED *test_what_is_broken*latency.ttft_p50 * > 1 us *"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('llm_client.run(["a"], rate="5/s")', "rate is for a workload: run(workload(prompts), rate=...)"),
        ('llm_client.run(LOAD, rate="5/s", concurrency=2)', "not both"),
        ("llm_client.run(LOAD, max_tokens=5)", "output_tokens="),
        ('llm_client.run(LOAD, rate="1/min", duration="1 us")', "no request falls into the duration"),
        ("llm_client.run(LOAD, concurrency=0)", "concurrency=0"),
        ("llm_client.run(LOAD, n=2)", "cannot be measured"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(runs: Runs, call: str, message: str) -> None:
    result = runs(
        WORKLOADS
        + f"""
LOAD = workload(prompt_tokens=5, requests=3)

def test_load(llm_client, llm_perf):
    with pytest.raises(ValueError) as error:
        {call}
    assert {message!r} in str(error.value)
    assert not llm_perf.measurement.requests
"""
    )
    result.assert_outcomes(passed=1)


def test_a_client_that_dies_is_one_line_and_the_measurement_says_so(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs(
        WORKLOADS
        + """
import os, threading
from tests.helpers.waiting import until
from tests.plugin.test_load import is_sending, load_clients

@pytest.mark.latency_budget(ttft_p50="10 s")
def test_load(llm_client):
    def kill():
        until(lambda: is_sending(os.getpid()))
        load_clients(os.getpid())[0].kill()
    threading.Thread(target=kill).start()
    llm_client.run(workload(prompt_tokens=5, output_tokens=5, requests=3), simulate={"ttft": "30 s"})
""",
        "--llmperf-report=out.json",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["FAILED *LoadClientDied: the load client died (killed by SIGKILL)*"])
    (test,) = read_report(pytester.path / "out.json")["tests"]
    assert test["measurement"]["faults"][0].startswith("the load client died (killed by SIGKILL)")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_of_a_load_outlives_pytest(runs: Runs, number: signal.Signals) -> None:
    runs.write(
        WORKLOADS
        + """
def test_load(llm_client):
    llm_client.run(workload(prompt_tokens=5, output_tokens=2, requests=500), simulate={"ttft": "50 ms"})
"""
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        started = _wait_for_a_load(run)
        run.send_signal(number)
        output, _ = run.communicate(timeout=60)
    assert_gone(started)
    if number is signal.SIGINT:
        assert "llmperf: load interrupted: " in output
        assert " requests sent, " in output
        assert "INTERNALERROR" not in output


def load_clients(of: int) -> list[psutil.Process]:
    """The processes below this one that send a load; one that has just begun or ended is none."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += [child] if "traffic.load.main" in " ".join(child.cmdline()) else []
    return found


def is_sending(of: int) -> bool:
    """Whether a load client below this process has a connection to its server."""
    with contextlib.suppress(psutil.Error):
        return any(
            each.status == psutil.CONN_ESTABLISHED for c in load_clients(of) for each in c.net_connections("tcp")
        )
    return False


def _wait_for_a_load(run: subprocess.Popen[str]) -> list[int]:
    """The processes below pytest, once a load is under way."""
    until(lambda: is_sending(run.pid))
    return [child.pid for child in psutil.Process(run.pid).children(recursive=True)]
