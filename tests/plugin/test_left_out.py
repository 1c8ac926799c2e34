"""llm_perf.leave_out: the warm-up of a load tool is measured and not judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import Runs


def test_the_first_calls_of_an_app_are_not_judged(runs: Runs) -> None:
    result = runs(
        """
import json, urllib.request

@pytest.fixture
def ask(llm_client):
    def ask(words, tokens=2):
        body = {"prompt": "a " * words, "max_tokens": tokens}
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(llm_client.base_url + "/completions", data, headers)).read()
    return ask

@pytest.mark.throughput_budget(output="0.0001 tok/s")
@pytest.mark.latency_budget(e2e_max="1 min")
def test_two_of_five(ask, llm_perf):
    ask(1, tokens=50)
    llm_perf.leave_out(warmup=1, cooldown=1)
    for _ in range(4):
        ask(1)
    measured = llm_perf.measurement
    assert [r.phase for r in measured.requests] == ["steady", "warmup", "steady", "steady", "cooldown"]
    assert llm_perf.read("latency.e2e_max").samples == 3
    assert measured.loads[0].steady.start_ns == measured.requests[2].sent_ns

@pytest.mark.throughput_budget(output="0.0001 tok/s")
def test_nothing_is_left(ask, llm_perf):
    llm_perf.leave_out(warmup=9)
    ask(1)

def test_not_a_time(llm_perf):
    with pytest.raises(ValueError, match="^warmup='5' is neither a number of requests nor a time"):
        llm_perf.leave_out(warmup="5")

@pytest.fixture
def early(llm_perf):
    with pytest.raises(ValueError, match="^leave_out is for the test itself"):
        llm_perf.leave_out(warmup=1)

def test_in_a_fixture(early):
    pass
""",
        "--llmperf-strict",
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        ["*throughput.output * INVALID*", "load * 1 calls of the app; a warm-up of 9 requests left out*"]
    )
    result.stdout.fnmatch_lines(["*all 1 calls of the app fell into a warm-up of 9 requests: leave out less*"])
