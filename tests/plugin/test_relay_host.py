"""--llmperf-relay-host: the address of llm_client.base_url is one that an app in a container reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.plugin.measuring import app_relays

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SUITE = """
import json, re, urllib.error, urllib.request
import pytest

def ask(url):
    body = json.dumps({"prompt": "x", "max_tokens": 4}).encode()
    request = urllib.request.Request(url + "/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)

@pytest.mark.latency_budget(e2e_max="1 min")
def test_it(llm_client, llm_perf):
    url = llm_client.base_url
    assert re.fullmatch(EXPECTED, url)
    assert ask(url)["usage"]["completion_tokens"] == 4
    assert len(llm_perf.measurement.requests) == 1
"""
TWO = ("--llm-engine=a=simulated", "--llm-engine=b=simulated")


def test_each_engine_is_asked_there(runs: Runs) -> None:
    suite = SUITE.replace("EXPECTED", "r'http://127.0.0.2:\\d+/v1'")
    runs.plain(suite, *TWO, "--llmperf-relay-host=127.0.0.2").assert_outcomes(passed=2)


def test_what_not_only_this_host_reaches_has_a_token(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    source = SUITE.replace("EXPECTED", "r'http://127.0.0.3:\\d+/[\\w-]{32}/v1'")
    source += """
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ask(re.sub("/[^/]+/v1", "/v1", url))
    assert len(llm_perf.measurement.requests) == 1
"""
    monkeypatch.setattr(app_relays, "is_loopback", lambda _: False)
    runs(source, "--llmperf-relay-host=127.0.0.3").assert_outcomes(passed=1)


def test_an_address_for_everybody_is_refused(runs: Runs) -> None:
    result = runs("def test_it(): pass", "--llmperf-relay-host=0.0.0.0")
    result.stderr.fnmatch_lines(["ERROR: llmperf: --llmperf-relay-host=0.0.0.0 would listen on every network *"])


def test_an_address_of_another_host_fails_the_test_that_asks_for_it(runs: Runs) -> None:
    result = runs(SUITE, "--llmperf-relay-host=192.0.2.1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RelayError: the relay cannot listen on 192.0.2.1 (--llmperf-relay-host): *"])
