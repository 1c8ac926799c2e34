"""A real vLLM on the CPU, with a tiny model and so small a KV cache that it overflows."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.registry import create
from pytest_llmperf.measurement.chunks import find_edges
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import read
from pytest_llmperf.plugin.engine_options.specs import write_argument
from pytest_llmperf.telemetry.sampler.client import Sampler
from pytest_llmperf.telemetry.watched_page import WatchedPage
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.client.request import RequestFailed
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.workloads.workload import workload
from tests.engines.cancels import check_cancel
from tests.engines.conftest import chat, loaded
from tests.engines.good_answers import (
    TOOL_CALL,
    ask_about_an_image,
    ask_everything,
    ask_for_a_response,
    ask_for_messages,
    list_doubts,
)
from tests.engines.next_tokens import compare_with_itself
from tests.engines.vllm_here import PYTHON, SMALL_POOL, SMOLLM2, TINY, shared_files
from tests.helpers.adapters import write_peft_adapter
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from typing import Self

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.observation import Observed
    from pytest_llmperf.measurement.request import RequestTiming

pytestmark = pytest.mark.usefixtures("vllm_installed")
MIB = 1 << 20
DRAFTS = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}
PROMPT = "The budget of a test says how much memory an engine may take while the test runs, and how long it may take. "


def spec(**args: str) -> EngineSpec:
    return EngineSpec("vllm", model=str(TINY), binary=str(PYTHON), args={**SMALL_POOL, **args})


@pytest.fixture(scope="module")
def sampler() -> Iterator[Sampler]:
    sampler = Sampler()
    sampler.start()
    yield sampler
    sampler.stop()


@pytest.fixture(scope="module")
def engines(
    vllm_installed: None, sampler: Sampler, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Engine]]:
    """All that the tests need, by name, started side by side: most of a start keeps one core busy.

    Each but ``tiny`` is for the one test that ends it. Those come first, so that nothing else runs beside the others.
    """
    folder = tmp_path_factory.mktemp("adapters")
    adapters = {name: write_peft_adapter(folder / name, seed=seed) for seed, name in enumerate(("lora-a", "lora-b"))}
    specs = {
        "tiny": spec(),
        # It drafts before it crashes, and has adapters.
        "one that crashes": spec(
            speculative_config=json.dumps(DRAFTS),
            enable_lora="true",
            lora_modules=write_argument({name: str(adapters[name]) for name in adapters}),
        ),
        "two workers": spec(tensor_parallel_size="2"),
        # A model that answers in words, as the tiny one does not.
        "words": EngineSpec("vllm", model=str(SMOLLM2), binary=str(PYTHON), args={**SMALL_POOL, "kv_cache": "64 MiB"}),
    }
    made = {name: create(one) for name, one in specs.items()}
    made["tiny"].insight.watch_page = partial(WatchedPage, sampler)
    with ExitStack() as stack:
        for engine in made.values():
            stack.callback(engine.stop)
        with ThreadPoolExecutor(len(made)) as pool:
            for start in [pool.submit(engine.start, print) for engine in made.values()]:
                start.result(10 * PATIENCE_S)
        yield made


@pytest.fixture(scope="module")
def engine(engines: dict[str, Engine]) -> Engine:
    return engines["tiny"]


@pytest.fixture
def seen() -> list[RequestTiming]:
    return []


@pytest.fixture
def client(engine: Engine, seen: list[RequestTiming]) -> Iterator[LLMClient]:
    with client_of(engine, seen) as client:
        yield client


@contextmanager
def client_of(engine: Engine, seen: list[RequestTiming]) -> Iterator[LLMClient]:
    with LLMClient(engine.endpoint, engine.dialect, listener=ClientListener(seen.append)) as client:
        yield client


class Watched:
    """What was seen of an engine inside a ``with`` block; ``result`` once it is over."""

    result: Observed

    def __init__(self, engine: Engine, seen: list[RequestTiming]) -> None:
        self._observation = engine.insight.observe()
        self._seen = seen
        self._start_ns = time.monotonic_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.result = self._observation.end(self._seen, Window(self._start_ns, time.monotonic_ns()))


def test_drafts_and_prompts_from_the_cache_are_metrics(engines: dict[str, Engine], seen: list[RequestTiming]) -> None:
    engine = engines["one that crashes"]
    with client_of(engine, seen) as client, Watched(engine, seen) as watched:
        for _ in range(2):
            client.generate(PROMPT * 2, max_tokens=100, ignore_eos=True, share_prefix=True)
    stats, readings = watched.result.stats, watched.result.readings
    assert watched.result.faults == ()
    # Tokens that were drafted are tokens of the answer like all others.
    assert stats["generation_tokens"] == 200
    rate, length = (readings[f"throughput.acceptance_{key}"].value for key in ("rate", "length"))
    assert rate == stats["accepted_tokens"] / stats["draft_tokens"]
    assert length == 1 + stats["accepted_tokens"] / stats["drafts"]
    places = [stats[f"accepted_at_{place}_share"] for place in (1, 2, 3)]
    assert sum(places) == pytest.approx(stats["accepted_tokens"] / stats["drafts"])
    hit_rate = readings["throughput.prefix_hit_rate"].value
    assert hit_rate == stats["prefix_cache_hits"] / stats["prefix_cache_queries"] > 0
    measurement = Measurement(Window(0, time.monotonic_ns()), requests=tuple(seen), engine_readings=readings)
    assert read("throughput.prefix_hit_rate", measurement).value == pytest.approx(hit_rate, rel=0.1)


def test_a_mix_of_adapters_is_told_apart(engines: dict[str, Engine], seen: list[RequestTiming]) -> None:
    engine = engines["one that crashes"]
    mix = workload(prompt_tokens=16, output_tokens=8, requests=16, seed=1, adapters={"lora-a": 2, "lora-b": 1, "": 1})
    with client_of(engine, seen) as client:
        result = client.run(mix, concurrency=4)
        texts = {client.generate(PROMPT, max_tokens=8, model=name).text for name in (engine.model, "lora-a", "lora-b")}
        with pytest.raises(RequestFailed, match="lora-c"):
            client.generate(PROMPT, model="lora-c")
    assert {request.adapter for request in result.requests} == {"lora-a", "lora-b", ""}
    # The model that answered is the adapter that was asked for.
    assert all(request.model == (request.adapter or engine.model) for request in result.requests)
    assert len(texts) == 3
    assert engine.insight.list_adapters() == {"lora-a": "lora-a", "lora-b": "lora-b"}


def test_a_core_whose_worker_was_killed_leaves_its_cause_and_its_log(engines: dict[str, Engine]) -> None:
    engine = engines["one that crashes"]
    family = psutil.Process(engine.pids[0]).children(recursive=True)
    next(process for process in family if "Worker" in " ".join(process.cmdline())).kill()
    until(lambda: engine.read_status().reason)
    assert "Worker proc VllmWorker-0 died unexpectedly" in engine.read_status().reason
    assert "Worker proc VllmWorker-0 died unexpectedly" in engine.deployment.log_tail()
    path = engine.deployment.keep_log()
    engine.stop()
    assert "Worker proc VllmWorker-0 died unexpectedly" in Path(path).read_text(encoding="utf-8")


def test_two_workers_are_the_engines_and_stopping_them_in_mid_stream_leaves_nothing(
    engines: dict[str, Engine], seen: list[RequestTiming]
) -> None:
    engine = engines["two workers"]
    try:
        (pid,) = engine.pids
        family = psutil.Process(pid).children(recursive=True)
        workers = [p for p in family if "Worker_TP" in " ".join(p.cmdline())]
        assert len(workers) == 2
        assert engine.memory().kv_reserved == 2 * 8 * MIB
        with client_of(engine, seen) as client, Watched(engine, seen) as watched:
            assert client.generate(PROMPT, max_tokens=20, ignore_eos=True).timing.output_tokens == 20
        assert watched.result.faults == ()
        assert watched.result.stats["generation_tokens"] == 20
        pids = [pid, os.getsid(pid), *(p.pid for p in family)]
        files = {Path(psutil.Process(pid).environ()["TMPDIR"]), *shared_files(pids)}
        assert len(files) > 1
        stream = open_endless_stream(engine)
    finally:
        engine.stop()
    stream.close()
    until(lambda: not any(map(psutil.pid_exists, pids)))
    assert not any(path.exists() for path in files)


def open_endless_stream(engine: Engine) -> HTTPResponse:
    """An answer that has begun, and is never read to its end."""
    asked = {"model": engine.model, "prompt": "x", "max_tokens": 2000, "stream": True, "ignore_eos": True}
    request = urllib.request.Request(
        f"{engine.base_url}/completions", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    stream: HTTPResponse = urllib.request.urlopen(request, timeout=PATIENCE_S)
    assert stream.readline().startswith(b"data: ")
    return stream


def test_no_good_answer_is_refused_and_no_count_doubted(engines: dict[str, Engine]) -> None:
    engine = engines["words"]
    # Tools need a parser, which this server was not started with.
    answers = {**ask_everything(engine, TOOL_CALL), **ask_for_messages(engine, TOOL_CALL)}
    for stream in (True, False):
        answers[f"response, stream={stream}"] = ask_for_a_response(engine, stream=stream, max_output_tokens=20)
    assert list_doubts(answers) == {}
    assert all("is not a multimodal model" in (error or "") for error in ask_about_an_image(engine))
    engine.stop()


def test_it_states_its_version_and_what_it_holds(engine: Engine) -> None:
    assert engine.version == "0.32.0"
    assert engine.model == "tiny-llama"
    assert [device.kind for device in engine.devices] == ["cpu"]
    memory = engine.memory()
    assert memory.kv_reserved == 8 * MIB
    assert memory.weights is not None
    assert memory.weights == pytest.approx((TINY / "model.safetensors").stat().st_size, rel=0.01)
    assert memory.resident is not None
    assert memory.resident > memory.weights + memory.kv_reserved


def test_all_its_processes_are_in_one_group(engine: Engine) -> None:
    (pid,) = engine.pids
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    assert len(family) >= 3
    assert {os.getpgid(process.pid) for process in family} == {pid}


@pytest.mark.parametrize("chatting", [False, True], ids=["completion", "chat"])
def test_every_token_of_a_stream_is_counted_by_both_sides(
    chatting: bool, engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    with Watched(engine, seen) as watched:
        answer = (client.chat if chatting else client.generate)(PROMPT, max_tokens=50, ignore_eos=True)
    assert answer.timing.output_tokens == 50
    assert sum(answer.timing.tokens_per_chunk or ()) == 50
    assert watched.result.faults == ()
    assert watched.result.stats["generation_tokens"] == 50
    assert watched.result.stats["prompt_tokens"] == answer.timing.prompt_tokens
    assert watched.result.stats["requests_finished"] == 1


def test_a_pool_that_overflows_preempts_requests_and_loses_no_token(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    with Watched(engine, seen) as watched:
        client.run([f"{n} {PROMPT}" for n in range(16)], concurrency=16, max_tokens=400, ignore_eos=True)
    stats, readings = watched.result.stats, watched.result.readings
    assert watched.result.faults == ()
    assert stats["generation_tokens"] == 16 * 400
    assert stats["preemptions"] >= 1
    assert stats["running_peak"] > 8
    assert stats["kv_usage_peak_share"] == 1
    assert readings["memory.kv_cache"].value == 127 * 65536
    assert stats["kv_headroom_bytes"] == 0


def came_by_turns(seen: list[RequestTiming]) -> bool:
    """Whether each answer had begun a while before the first of them ended."""
    edges = [find_edges(request.chunks) for request in seen]
    return max(first for first, _ in edges) + 50 * 10**6 < min(last for _, last in edges)


def test_requests_that_run_together_prove_their_blocks_whatever_the_looks_saw(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    # On a busy machine tokens may come at once, and prove too little, so that the peak is not measured.
    for attempt in range(10):
        seen.clear()
        with Watched(engine, seen) as watched:
            client.run([f"{n} {attempt} {PROMPT}" for n in range(8)], concurrency=8, max_tokens=200, ignore_eos=True)
        kv_cache = watched.result.readings["memory.kv_cache"]
        if came_by_turns(seen) and kv_cache.value is not None:
            break
    held = [-(-((r.prompt_tokens or 0) + (r.output_tokens or 0) - 1) // 32) for r in seen]
    assert watched.result.stats["running_peak"] == 8
    assert kv_cache.value is not None
    # All but the last blocks, which the slowest may have begun after the fastest had ended.
    assert sum(held) - 8 <= kv_cache.value / 65536 <= sum(held) + 8


def test_the_servers_own_clock_is_held_against_the_clients(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    with Watched(engine, seen) as watched:
        client.run([f"{n} {PROMPT}" for n in range(4)], concurrency=2, max_tokens=64, ignore_eos=True)
    clock = watched.result.server_clock
    assert clock is not None
    assert clock.reason == ""
    assert clock.server is not None
    assert clock.client is not None
    assert (clock.server.requests, clock.server.gaps, clock.client.gaps) == (4, 4 * 63, 4 * 63)
    assert clock.server.ttft is not None
    assert clock.client.ttft is not None
    assert clock.client.ttft > clock.server.ttft
    with Watched(engine, seen) as watched:
        client.generate(PROMPT, max_tokens=5, ignore_eos=True)
        chat(engine, ignore_eos=True)
    assert watched.result.server_clock is not None
    assert watched.result.server_clock.reason.startswith("the server counts ")


def test_waste_is_the_room_that_short_requests_leave_in_their_blocks(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    def waste(prompt: str, max_tokens: int, times: int) -> float:
        for _ in range(20):
            seen.clear()
            with Watched(engine, seen) as watched:
                for _ in range(times):
                    client.generate(prompt, max_tokens=max_tokens, ignore_eos=True)
            found = watched.result.readings["memory.kv_waste"]
            # A busy machine lets nobody look for long, or only at the beginning, when a block is much of all there is.
            if found.value is not None and found.samples is not None and found.samples >= 10:
                return found.value
            assert found.value is not None or found.reason.startswith("no look at the engine fell into")
        pytest.fail("nobody could look at the engine often enough")

    # 1200 tokens leave at most 31 slots of their last block empty, much of what they hold only at the beginning; 13
    # leave 19 and more of their only one.
    assert waste(PROMPT, 1200, times=2) < 0.3
    assert waste("a", 12, times=40) > 19 / 32


def test_a_prompt_is_computed_afresh_until_the_test_lets_it_share(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    for ask in (client.generate, client.chat):
        fresh = [ask(PROMPT * 2, max_tokens=1).timing for _ in range(2)]
        with Watched(engine, seen) as watched:
            shared = [ask(PROMPT * 2, max_tokens=1, share_prefix=True).timing for _ in range(2)]
        assert [timing.cached_tokens for timing in (*fresh, shared[0])] == [0, 0, 0]
        # Whole blocks of 32 tokens, less the one that its last token lies in.
        cached = ((shared[1].prompt_tokens or 0) - 1) // 32 * 32
        assert cached > 0
        assert shared[1].cached_tokens == watched.result.stats["prefix_cache_hits"] == cached


def test_shared_prompts_are_forgotten_when_the_cache_is_emptied(engine: Engine, client: LLMClient) -> None:
    def count_cached() -> int | None:
        return client.generate(PROMPT * 3, max_tokens=1, share_prefix=True).timing.cached_tokens

    engine.deployment.empty_prompt_cache()
    assert count_cached() == 0
    assert count_cached()
    engine.deployment.empty_prompt_cache()
    assert count_cached() == 0


def test_tokens_that_the_client_did_not_see_are_a_fault_only_beside_its_own(
    engine: Engine, client: LLMClient, seen: list[RequestTiming]
) -> None:
    with Watched(engine, seen) as watched:
        chat(engine, ignore_eos=True)
    assert watched.result.faults == ()
    assert watched.result.stats["generation_tokens"] == 8
    with Watched(engine, seen) as watched:
        client.generate(PROMPT, max_tokens=5, ignore_eos=True)
        chat(engine, ignore_eos=True)
    assert watched.result.faults == (
        "the server generated 13 tokens, the client saw 5; others use the server, or calls went past llm_client",
    )


def test_it_notices_that_a_request_was_cancelled(engine: Engine) -> None:
    check_cancel(engine, max_tokens=1500)


def test_a_poll_asks_for_a_hundredth_of_the_metrics(engine: Engine) -> None:
    from pytest_llmperf.engines.vllm.metrics import build_metrics_url, build_polled_url

    urls = [build(engine.base_url) for build in (build_metrics_url, build_polled_url)]
    sizes = [len(urllib.request.urlopen(url, timeout=PATIENCE_S).read()) for url in urls]
    assert sizes[1] < sizes[0] / 20


def test_another_engine_attaches_to_it_and_sees_it_from_the_inside(engine: Engine, seen: list[RequestTiming]) -> None:
    attached = create(EngineSpec("vllm", url=engine.base_url))
    attached.start(print)
    assert (attached.version, attached.model, attached.pids) == (engine.version, engine.model, engine.pids)
    assert attached.insight.readings()["memory.kv_reserved"].value == 8 * MIB
    with Watched(attached, seen) as watched, client_of(attached, seen) as client:
        client.generate(PROMPT, max_tokens=7, ignore_eos=True)
    attached.stop()
    assert watched.result.stats["generation_tokens"] == 7
    assert engine.read_status().reason == ""


def test_an_argument_that_vllm_does_not_know_is_refused_in_its_own_words(vllm_installed: None) -> None:
    with pytest.raises(EngineError) as caught:
        create(spec(no_such_option="1")).start(print)
    assert str(caught.value) == "vllm: unrecognized arguments: --no-such-option=1"


def test_prompts_of_a_load_have_the_tokens_asked_for_and_only_a_group_shares_them(engine: Engine) -> None:
    for name, shared in {"apart": 0, "shared": 256}.items():
        asked = workload(prompt_tokens="300-400", output_tokens=6, requests=6, seed=1, shared_prefix=shared)
        result = loaded(engine, asked, rate="20/s")
        assert result.load.prompt_asked == result.load.prompt_came
        assert result.load.full_answers == 6
        assert any(r.cached_tokens for r in result.requests) == (name == "shared")


def test_next_tokens_repeat_exactly(engine: Engine) -> None:
    found = compare_with_itself(engine)
    assert (found.agreement, found.mean_divergence, found.is_identical, found.matched_by) == (1, 0, True, "ids")
