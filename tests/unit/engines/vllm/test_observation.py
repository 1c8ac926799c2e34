"""A vLLM server seen from the inside, on a page of metrics that a test changes."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.kv_cache.looks import KVPool
from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.engines.vllm import observation as vllm_observation
from pytest_llmperf.engines.vllm.observation import VLLMObservation
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.system.prometheus import MetricsPage, PageLook
from tests.helpers.captured import captured
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.streams import stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_llmperf.engines.api.deployment import Deployment
    from pytest_llmperf.engines.api.observation import Observed
    from pytest_llmperf.measurement.request import RequestTiming

POOL = KVPool(129, 32, 129 * 65536.0)


class Page:
    """The metrics of a real server; ``set`` changes the values of one metric."""

    def __init__(self) -> None:
        self.text = captured("vllm-metrics.prom")

    def set(self, name: str, value: float) -> None:
        self.text, count = re.subn(rf"^({name}(?:{{.*}})?) .*$", rf"\1 {value}", self.text, flags=re.MULTILINE)
        assert count


class Watch:
    """Stands for the sampler: reads the page that it was asked for when a test says so."""

    def __init__(self) -> None:
        self.taken: list[PageLook] = []
        self.failure = ""
        self.closed = 0
        self._url = ""
        self._series: tuple[str, ...] = ()

    def __call__(self, url: str, series: Sequence[str], hz: float, /) -> Watch:
        self._url, self._series = url, tuple(series)
        return self

    def take(self) -> None:
        page = MetricsPage(self._url)
        now = time.monotonic_ns()
        values = {sample.name: sample.value for sample in page.read(self._series)}
        page.close()
        self.taken.append(PageLook(now, 0, values, dict.fromkeys(values, 1)))

    def looks(self, start_ns: int, end_ns: int) -> list[PageLook]:
        return [look for look in self.taken if start_ns <= look.at_ns <= end_ns]

    def why_unread(self, start_ns: int, end_ns: int) -> str:
        return self.failure

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_observation, "_SETTLE_SECONDS", 0.1)


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def server(page: Page) -> Iterator[MetricsServer]:
    with serving(lambda: page.text) as server:
        yield server


@pytest.fixture
def engine(server: MetricsServer) -> Deployment:
    return AttachedDeployment(EngineSpec("vllm", model="tiny", url=server.url))


def window() -> Window:
    return Window(0, time.monotonic_ns())


def answered(tokens: int, **fields: Any) -> RequestTiming:
    return stream(100, 200, output_tokens=tokens, **fields)


def observe(engine: Deployment, page: Page, generated: int, *requests: RequestTiming) -> Observed:
    observation = VLLMObservation(engine, dict, POOL)
    page.set("vllm:generation_tokens_total", 6658 + generated)
    return observation.end(requests, window())


def test_counts_that_agree_are_no_fault(engine: Deployment, page: Page) -> None:
    observed = observe(engine, page, 64, answered(24), answered(40))
    assert observed.faults == ()
    assert observed.stats["generation_tokens"] == 64
    assert observed.stats["prompt_tokens"] == 0


def test_more_tokens_than_the_client_saw_are_a_fault(engine: Deployment, page: Page) -> None:
    assert observe(engine, page, 70, answered(64)).faults == (
        "the server generated 70 tokens, the client saw 64; others use the server, or calls went past llm_client",
    )


def test_fewer_tokens_than_the_client_saw_are_a_fault(engine: Deployment, page: Page) -> None:
    assert observe(engine, page, 60, answered(64)).faults == ("the server generated 60 tokens, the client saw 64",)


def test_tokens_of_calls_past_the_client_are_none_where_it_sent_nothing(engine: Deployment, page: Page) -> None:
    observed = observe(engine, page, 70)
    assert observed.faults == ()
    assert observed.stats["generation_tokens"] == 70


@pytest.mark.parametrize("broken", [answered(3, error="cut"), stream(100, 200)], ids=["failed", "uncounted"])
def test_where_an_answer_was_not_counted_there_is_nothing_to_compare(
    broken: RequestTiming, engine: Deployment, page: Page
) -> None:
    assert observe(engine, page, 70, answered(64), broken).faults == ()


def test_the_server_may_count_the_last_tokens_a_moment_late(
    engine: Deployment, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm_observation, "_SETTLE_SECONDS", 60)
    monkeypatch.setattr(time, "sleep", lambda _: page.set("vllm:generation_tokens_total", 6658 + 64))
    observation = VLLMObservation(engine, dict, None)
    assert observation.end([answered(64)], window()).faults == ()


def test_in_the_middle_of_a_test_counts_need_not_agree_yet(engine: Deployment, page: Page) -> None:
    observation = VLLMObservation(engine, dict, POOL)
    page.set("vllm:generation_tokens_total", 7000)
    assert observation.read([answered(64)], window()).faults == ()
    observation.close()


def test_a_server_that_was_started_afresh_is_a_fault(engine: Deployment, page: Page) -> None:
    observation = VLLMObservation(engine, dict, POOL)
    page.set("process_start_time_seconds", 5)
    (fault,) = observation.end([], window()).faults
    assert "started afresh" in fault


def test_a_server_that_is_gone_is_a_fault_and_no_error(page: Page) -> None:
    with serving(lambda: page.text) as server:
        engine = AttachedDeployment(EngineSpec("vllm", model="tiny", url=server.url))
        server.hangs_up = True
        observation = VLLMObservation(engine, dict, POOL)
    (fault,) = observation.end([answered(1)], window()).faults
    assert "no server listens" in fault
    (fault,) = VLLMObservation(engine, dict, POOL).end([], window()).faults
    assert fault.startswith("the server's counters could not be read: no server listens at http://")


def test_a_server_that_the_test_has_unloaded_is_no_fault(engine: Deployment, server: MetricsServer) -> None:
    observation = VLLMObservation(engine, dict, None)
    engine.state = EngineState.UNLOADED
    server.status = 503
    assert observation.end([], window()).faults == ()


def test_the_peak_of_the_kv_cache_is_the_fullest_of_all_looks(engine: Deployment, watch: Watch, page: Page) -> None:
    page.set("vllm:kv_cache_usage_perc", 0.5)
    page.set("vllm:num_requests_running", 4)
    page.set("vllm:num_requests_waiting", 2)
    observation = VLLMObservation(engine, dict, POOL, watch)
    watch.take()
    page.set("vllm:kv_cache_usage_perc", 0.25)
    observed = observation.end([], window())
    peak = observed.readings["memory.kv_cache"]
    assert peak.value == 64 * 65536
    assert peak.how.startswith("64 of 129 blocks of 32 tokens; ")
    assert observed.stats["kv_usage_peak_share"] == 0.5
    assert max(held for _, held in observed.kv_levels) == observed.readings["memory.kv_cache"].value
    assert (observed.stats["running_peak"], observed.stats["waiting_peak"]) == (4, 2)
    assert observed.stats["kv_headroom_bytes"] == 64 * 65536


def test_a_preemption_tells_that_the_pool_was_full_whatever_the_looks_saw(
    engine: Deployment, watch: Watch, page: Page
) -> None:
    page.set("vllm:kv_cache_usage_perc", 0.25)
    before = float(re.findall(r"^vllm:num_preemptions_total{.*} (.*)$", page.text, flags=re.MULTILINE)[0])
    observation = VLLMObservation(engine, dict, POOL, watch)
    watch.take()
    page.set("vllm:num_preemptions_total", before + 3)
    observed = observation.end([], window())
    assert observed.readings["memory.kv_cache"] == Reading(
        128 * 65536, "all 128 blocks of 32 tokens: it was full, 3 preemptions", samples=3
    )
    assert (observed.stats["kv_usage_peak_share"], observed.stats["kv_headroom_bytes"]) == (1, 0)


def test_a_server_that_cannot_be_looked_at_for_long_has_no_peak(engine: Deployment, watch: Watch, page: Page) -> None:
    page.set("vllm:kv_cache_usage_perc", 0.25)
    observation = VLLMObservation(engine, dict, POOL, watch)
    watch.take()
    now_ns = time.monotonic_ns()
    long = replace(answered(0, prompt_tokens=40), sent_ns=now_ns - 700_000_000, end_ns=now_ns)
    alone = observation.read([replace(long, output_tokens=1240)], window()).readings["memory.kv_cache"]
    assert alone == Reading(
        40 * 65536, "40 of 129 blocks of 32 tokens, by the requests' own counts: they came one after another", samples=1
    )
    together = replace(long, output_tokens=1240)
    observed = observation.read([together, together], window())
    assert re.fullmatch(
        r"no look at the engine for 0\.\d+ s, in which its requests may have held 80 blocks of 32 tokens: 32 are known",
        observed.readings["memory.kv_cache"].reason,
    )
    uncounted = replace(long, output_tokens=None)
    observed = observation.end([uncounted, uncounted], window())
    assert re.fullmatch(
        r"the server did not answer its polls for 0\.\d+ s while requests ran",
        observed.readings["memory.kv_cache"].reason,
    )


def test_requests_that_no_look_saw_have_no_peak(engine: Deployment, watch: Watch) -> None:
    observation = VLLMObservation(engine, dict, POOL, watch)
    watch.take()
    observed = observation.end([answered(0)], window())
    assert observed.readings["memory.kv_cache"].reason == "its requests were too short to be seen by 20 polls a second"


def test_without_the_size_of_a_block_there_is_no_peak_in_bytes(engine: Deployment) -> None:
    observed = VLLMObservation(engine, dict, KVPool(129, 32)).end([], window())
    assert observed.readings["memory.kv_cache"].reason == (
        "the server does not state how large its KV cache is; engine argument kv_cache sets it"
    )
    assert observed.stats["kv_blocks"] == 129


def test_why_the_looks_failed_is_why_there_is_no_peak(engine: Deployment, watch: Watch) -> None:
    observation = VLLMObservation(engine, dict, POOL, watch)
    watch.failure = "no server listens"
    observed = observation.end([answered(0)], window())
    assert observed.readings["memory.kv_cache"].reason == "no server listens"
    observation.close()
    assert watch.closed == 2


def test_without_somebody_who_looks_that_is_said(engine: Deployment) -> None:
    observed = VLLMObservation(engine, dict, POOL).end([answered(0)], window())
    assert observed.readings["memory.kv_cache"].reason == "the engine was not looked at"


def test_without_a_pool_nothing_is_polled(engine: Deployment, server: MetricsServer) -> None:
    observed = VLLMObservation(engine, dict, None).end([], window())
    assert observed.readings["memory.kv_waste"].reason == "the server does not state the size of its KV cache"
    assert not any("name[]" in path for path in server.paths)


def test_the_queue_time_is_a_mean_over_those_that_queued(engine: Deployment, page: Page) -> None:
    page.set("vllm:request_queue_time_seconds_sum", 1)
    observation = VLLMObservation(engine, dict, None)
    page.set("vllm:request_queue_time_seconds_sum", 3)
    page.set("vllm:request_queue_time_seconds_count", 57)
    stats = observation.end([], window()).stats
    assert stats["queue_mean_seconds"] == 0.5
    assert "queue_seconds" not in stats
