"""The relay lives as long as the session, whatever becomes of it or of the engine behind it."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.helpers.waiting import PATIENCE_S
from tests.plugin.test_signals import assert_gone, pids_in

if TYPE_CHECKING:
    from tests.conftest import Runs

HELPERS = """
import contextlib, json, os, psutil, time, urllib.request

def ask(url, **body):
    body = json.dumps({"prompt": "x", "max_tokens": 2, **body}).encode()
    return urllib.request.urlopen(urllib.request.Request(url + "/completions", body)).read()

def relay_pids():
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may end meanwhile
            if "pytest_llmperf.traffic.relay.main" in child.cmdline():
                found.append(child.pid)
    return found

def kill_relay():
    (pid,) = relay_pids()
    relay = psutil.Process(pid)
    relay.kill()
    while relay.is_running() and relay.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
"""


def test_one_that_dies_makes_its_test_invalid_and_is_replaced_at_the_same_address(runs: Runs) -> None:
    result = runs(
        HELPERS
        + """
urls = set()

@pytest.mark.latency_budget(e2e_max="1 min")
def test_loses_its_relay(llm_client):
    ask(llm_client.base_url)
    urls.add(llm_client.base_url)
    kill_relay()

@pytest.mark.latency_budget(e2e_max="1 min")
def test_after_it(llm_client):
    ask(llm_client.base_url)
    urls.add(llm_client.base_url)
    assert len(urls) == 1

@pytest.mark.latency_budget(e2e_max="1 min")
def test_asks_again_after_the_loss(llm_client):
    kill_relay()
    ask(llm_client.base_url)
""",
        "-Werror",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines_random(
        ["*test_loses_its_relay * INVALID", "*test_after_it * PASS", "*test_asks_again_after_the_loss * INVALID"]
    )
    result.stdout.fnmatch_lines(["why: *the relay died (killed by SIGKILL): the app's calls are lost*"])


def test_it_stays_in_front_of_an_engine_that_starts_again(runs: Runs) -> None:
    result = runs(
        HELPERS
        + """
@pytest.fixture(scope="session")
def app_url(llm_base_url):
    return llm_base_url

def test_crashes(app_url, llm_perf):
    with pytest.raises(Exception):
        ask(app_url, max_tokens=50)
    assert llm_perf.measurement.requests[0].error == "the server closed the connection without an answer"

def test_after_it(app_url, llm_client, llm_perf):
    ask(app_url)
    assert app_url == llm_client.base_url
    assert [r.error for r in llm_perf.measurement.requests] == [None]
""",
        crash_after="20",
    )
    result.assert_outcomes(passed=2)


def test_it_follows_an_engine_that_a_test_restarts(runs: Runs) -> None:
    result = runs(
        HELPERS
        + """
def test_restarts(llm_base_url, llm_engine, llm_perf):
    ask(llm_base_url)
    before = llm_engine.base_url
    llm_engine.restart()
    assert llm_engine.base_url != before
    ask(llm_base_url)
    assert [r.error for r in llm_perf.measurement.requests] == [None, None]
"""
    )
    result.assert_outcomes(passed=1)


def test_none_is_started_for_a_test_that_never_asks_for_the_address(runs: Runs) -> None:
    result = runs(
        HELPERS
        + """
def test_asks_itself(llm_client):
    llm_client.generate("x", max_tokens=1)
    assert relay_pids() == []
"""
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_it_ends_with_pytest(runs: Runs, pytester: pytest.Pytester, number: signal.Signals) -> None:
    runs.write(
        HELPERS
        + """
def test_hangs(llm_client, llm_engine):
    ask(llm_client.base_url)
    with open("pids.part", "w") as file:
        print(*relay_pids(), *llm_engine.pids, file=file)
    os.rename("pids.part", "pids")
    time.sleep(600)
"""
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--llm-engine=simulated"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        started = pids_in(pytester.path / "pids", run)
        assert len(started) == 2
        run.send_signal(number)
        output, _ = run.communicate(timeout=PATIENCE_S)
    assert_gone(started)
    assert "INTERNALERROR" not in output


def test_each_engine_has_one_of_its_own(runs: Runs) -> None:
    result = runs(
        HELPERS
        + """
urls = set()

def test_app(llm_client, llm_engine, llm_perf):
    assert json.loads(ask(llm_client.base_url))["model"] == llm_engine.model
    assert len(llm_perf.measurement.requests) == 1
    urls.add(llm_client.base_url)

def test_both(llm_engine):
    assert len(urls) == len(relay_pids())
""",
        "--llm-engine=simulated:other",
    )
    result.assert_outcomes(passed=4)


def test_each_worker_has_one_of_its_own(runs: Runs) -> None:
    pytest.importorskip("xdist")
    result = runs(
        HELPERS
        + """
@pytest.mark.parametrize("number", range(6))
def test_app(llm_client, llm_perf, number):
    for _ in range(number + 1):
        ask(llm_client.base_url)
    assert len(llm_perf.measurement.requests) == number + 1
    assert len(relay_pids()) == 1
""",
        "-n2",
    )
    result.assert_outcomes(passed=6)
