"""[metrics] of llmperf.toml: readings of a server's Prometheus page, with budgets like any other metric."""

from __future__ import annotations

from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.metrics.table import set_page_metrics
from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import HostileServer, good_stream, whole
from tests.helpers.metrics_server import serving

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import Reply

FILE = """
[metrics.throughput.cache_hits]
series = 'cached_tokens_total{model="tiny"}'
per = "prompt_tokens_total"
kind = "counter"
unit = "1"
better = "higher"

[metrics.latency.queue]
series = "queue_length"
kind = "gauge"
take = "max"
unit = "requests"
better = "lower"

[metrics.latency.wait]
series = "wait_seconds"
kind = "histogram"
take = "p50"
unit = "s"
better = "lower"

[metrics.latency.nowhere]
series = "nowhere"
kind = "gauge"
take = "max"
unit = "s"
better = "lower"

[[budget]]
tests = "*test_in_the_file"
throughput.cache_hits = "40 %"
"""
SUITE = """
import urllib.request
from urllib.parse import urlsplit

ask = lambda client: client.generate("Hello", max_tokens=4)

def tell(engine, word):
    parts = urlsplit(engine.base_url)
    urllib.request.urlopen(f"http://{parts.netloc}/tell/{word}", timeout=60).close()

def test_in_the_file(llm_client):
    ask(llm_client)

@pytest.mark.throughput_budget(cache_hits="60 %")
@pytest.mark.latency_budget(queue="3 requests")
def test_broken(llm_client):
    ask(llm_client)

@pytest.mark.latency_budget(wait="4 s")
def test_inside_its_bucket(llm_client, llm_perf):
    for _ in range(11):
        ask(llm_client)
    assert llm_perf.read("throughput.cache_hits").value == 0.5

@pytest.mark.latency_budget(wait="3 s")
def test_within_the_bucket(llm_client):
    for _ in range(11):
        ask(llm_client)

@pytest.mark.latency_budget(wait="4 s")
def test_too_few(llm_client):
    ask(llm_client)

@pytest.mark.latency_budget(nowhere="1 s", queue="3 requests")
def test_lacks_a_name(llm_client):
    ask(llm_client)

@pytest.mark.throughput_budget(cache_hits="1 %")
def test_set_back(llm_client, llm_engine):
    ask(llm_client)
    tell(llm_engine, "reset")

@pytest.mark.latency_budget(queue="3 requests")
def test_started_afresh(llm_client, llm_engine):
    ask(llm_client)
    tell(llm_engine, "restart")

@pytest.mark.latency_budget(queue="3 requests")
def test_gone(llm_client, llm_engine):
    ask(llm_client)
    tell(llm_engine, "gone")
"""


class Server:
    """What the page of the server says: half of each prompt comes from a cache, and each request waits 3 s."""

    def __init__(self, hostile: HostileServer) -> None:
        self._hostile = hostile
        self._before = 0
        self._started = 100
        self._is_there = True
        hostile.pages["/metrics"] = self._write
        for word in ("reset", "restart", "gone"):
            hostile.pages[f"/tell/{word}"] = partial(self._hear, word)

    def _hear(self, word: str) -> Reply:
        self._before = len(self._hostile.asked) + 1 if word == "reset" else self._before
        self._started += word == "restart"
        self._is_there = word != "gone"
        return whole({})

    def _write(self) -> Reply:
        asked = len(self._hostile.asked) - self._before
        if not self._is_there:
            return whole(b"no page\n", content_type="text/plain", status=404)
        buckets = [f'wait_seconds_bucket{{le="{le}"}} {n}' for le, n in (("2", 0), ("4", asked), ("+Inf", asked))]
        rows = [
            f"process_start_time_seconds {self._started}",
            f'cached_tokens_total{{model="tiny"}} {100 + asked * 2}',
            'cached_tokens_total{model="other"} 7',
            f"prompt_tokens_total {200 + asked * 4}",
            "queue_length 2",
            *buckets,
            f"wait_seconds_count {asked}",
            f"wait_seconds_sum {asked * 3}",
        ]
        return whole("\n".join([*rows, ""]).encode(), content_type="text/plain")


def test_a_page_of_a_server_is_read_and_judged(runs: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(FILE, encoding="utf-8")
    hostile = HostileServer(lambda _: good_stream())
    Server(hostile)
    with hostile.running():
        # Without --llmperf-metrics the page is that of the server.
        result = runs.plain(SUITE, *hostile.options, "--llmperf-strict", "--llmperf-report=out.json")
    result.assert_outcomes(passed=3, failed=6)
    report = read_report(pytester.path / "out.json")
    found = {
        (test["nodeid"].partition("::test_")[2], v["name"].partition(".")[2]): v
        for test in report["tests"]
        for v in test["verdicts"]
    }
    # On a slow host a look falls into these short tests; else their ends prove nothing of the maximum.
    for place in (("broken", "queue"), ("lacks_a_name", "queue")):
        assert found[place].pop("status") in ("INCONCLUSIVE", "PASS")
    assert {place: one["status"] for place, one in found.items() if "status" in one} == {
        ("in_the_file", "cache_hits"): "PASS",
        ("broken", "cache_hits"): "FAIL",
        ("inside_its_bucket", "wait"): "PASS",
        ("within_the_bucket", "wait"): "INCONCLUSIVE",
        ("too_few", "wait"): "NOT MEASURED",
        ("lacks_a_name", "nowhere"): "NOT MEASURED",
        ("set_back", "cache_hits"): "INVALID",
        ("started_afresh", "queue"): "INVALID",
        ("gone", "queue"): "NOT MEASURED",
    }
    assert found["set_back", "cache_hits"]["reason"].endswith("was set back during the test")
    assert "its process start time changed" in found["started_afresh", "queue"]["reason"]
    assert found["too_few", "wait"]["reason"] == "p50 needs 11 values, and wait_seconds had 1 during the test"
    assert found["lacks_a_name", "nowhere"]["reason"] == "the page has no nowhere"
    assert "the answer is 404" in found["gone", "queue"]["reason"]
    assert found["within_the_bucket", "wait"]["interval"]["low"] == 2
    assert report["metrics"]["latency.queue"] == {
        "unit": "requests", "better": "lower", "formula": "max of queue_length",
    }  # fmt: skip


QUEUE = FILE.partition("[[budget]]")[0]
ONE = """
@pytest.mark.latency_budget(queue="3 requests")
def test_queue(llm_client):
    llm_client.generate("Hello", max_tokens=2)
"""


def test_each_engine_has_its_own_pages(runs: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(QUEUE, encoding="utf-8")
    with serving(lambda: "queue_length 2\n") as short, serving(lambda: "queue_length 9\n") as long:
        options = ["--llm-engine=a=simulated", "--llm-engine=b=simulated"]
        options += [f"--llmperf-metrics=a:{short.url}/metrics", f"--llmperf-metrics={long.url}/metrics"]
        result = runs.plain(ONE, *options)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*test_queue?b? - BudgetExceeded: latency.queue 9.00 requests *> 3 requests*"])


@pytest.mark.parametrize(
    ("file", "option", "message"),
    [
        (
            "",
            "http://x/metrics",
            "--llmperf-metrics=http://x/metrics has no effect: llmperf.toml has no *",
        ),
        (QUEUE, "b:http://x/metrics", "--llmperf-metrics=b:http://x/metrics has no effect: it is for no engine of *"),
        (QUEUE, "x/metrics", "--llmperf-metrics: x/metrics is not the URL of a metrics page: write http://*"),
        (
            "[metrics.speed.x]",
            "http://x/m",
            "llmperf.toml: [[]metrics.speed.x[]]: unknown group 'speed'; *",
        ),
        (QUEUE.replace("latency.queue", "memory.peak"), "http://x/m", "*there is a metric 'memory.peak' already*"),
        (
            QUEUE.replace('"gauge"', '"meter"'),
            "http://x/m",
            "llmperf.toml: [[]metrics.latency.queue[]]: kind='meter' *",
        ),
    ],
)
def test_what_would_have_no_effect_is_refused(file: str, option: str, message: str, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(file, encoding="utf-8")
    try:
        with pytest.raises(pytest.UsageError) as caught:
            pytester.parseconfigure("--llm-engine=simulated", f"--llmperf-metrics={option}")
    finally:
        set_page_metrics(())  # what is refused is not unconfigured either
    assert fnmatchcase(str(caught.value), f"llmperf: {message}"), str(caught.value)
