"""A real Ollama, with the bundled model: what the double is believed to say is held against it."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
from pytest_llmperf.engines.ollama.engine import OllamaEngine
from pytest_llmperf.engines.registry import create
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from tests.engines.conftest import chat
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.engines.api.observation import Observed
    from pytest_llmperf.measurement.request import RequestTiming

pytestmark = [pytest.mark.usefixtures("ollama_installed"), pytest.mark.xdist_group("ollama")]
MIB = 1 << 20


@pytest.fixture(scope="module")
def spec(ollama_installed: str, tmp_path_factory: pytest.TempPathFactory) -> EngineSpec:
    models = str(tmp_path_factory.mktemp("models"))
    return EngineSpec("ollama", args={"models_dir": models, "num_ctx": "2048"}, binary=ollama_installed)


@pytest.fixture(scope="module")
def engine(spec: EngineSpec) -> Iterator[OllamaEngine]:
    engine = create(spec)
    assert isinstance(engine, OllamaEngine)
    engine.start(lambda _: None)
    yield engine
    engine.stop()


def deployment(engine: OllamaEngine) -> OllamaDeployment:
    assert isinstance(engine.deployment, OllamaDeployment)
    return engine.deployment


@pytest.fixture
def timings() -> list[RequestTiming]:
    return []


@pytest.fixture
def client(engine: OllamaEngine, timings: list[RequestTiming]) -> Iterator[LLMClient]:
    with LLMClient(engine.endpoint, engine.dialect, listener=ClientListener(timings.append)) as client:
        yield client


def observed(engine: OllamaEngine, timings: list[RequestTiming], what: Callable[[], object]) -> Observed:
    if engine.read_status().state is not EngineState.READY:
        engine.wake()
    observation = engine.insight.observe()
    start_ns = time.monotonic_ns()
    what()
    return observation.end(timings, Window(start_ns, time.monotonic_ns()))


def ask(engine: OllamaEngine, **body: object) -> None:
    content = {"model": engine.model, "prompt": "Hello", "stream": False, **body}
    url = f"{engine.base_url.removesuffix('/v1')}/api/generate"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(content).encode()), timeout=300).close()


def test_it_states_its_weights_and_its_kv_cache(engine: OllamaEngine) -> None:
    memory = engine.memory()
    assert memory.weights == pytest.approx(92.1 * MIB, rel=1e-3)
    assert memory.kv_reserved == 45 * MIB
    loaded = deployment(engine).look()
    assert loaded is not None
    assert loaded.context == 2048
    # What it says of itself is weights, KV cache, and buffers of some MiB.
    assert 0 < loaded.entry["size"] - memory.weights - memory.kv_reserved < 64 * MIB


def test_its_runner_is_seen_with_its_counters(engine: OllamaEngine) -> None:
    loaded = deployment(engine).look()
    assert loaded is not None
    assert loaded.runner is not None
    assert loaded.runner.slots == 1
    assert deployment(engine).template_tokens is not None


def test_a_test_on_it_has_all_its_numbers_and_no_fault(
    engine: OllamaEngine, client: LLMClient, timings: list[RequestTiming]
) -> None:
    def two() -> None:
        client.chat("Write one sentence about the ocean.", max_tokens=16)
        client.generate("Once upon a time", max_tokens=16)

    seen = observed(engine, timings, two)
    assert seen.faults == ()
    assert [timing.error for timing in timings] == [None, None]
    assert all(timing.server and timing.server.decode for timing in timings)
    assert seen.readings["memory.kv_cache"].value
    assert 0 < seen.stats["decode_median_rate"] < 100_000


def test_the_same_prompt_again_is_computed_afresh(
    engine: OllamaEngine, client: LLMClient, timings: list[RequestTiming]
) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. " * 12
    assert observed(engine, timings, lambda: client.run([prompt] * 3, max_tokens=2, chat=True)).faults == ()


def test_prompts_from_its_cache_are_noticed(
    engine: OllamaEngine, client: LLMClient, timings: list[RequestTiming]
) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. " * 12
    seen = observed(engine, timings, lambda: client.run([prompt] * 3, max_tokens=2, llmperf_nonce=""))
    assert any("prompt tokens came from the runner's cache" in fault for fault in seen.faults)


def test_an_app_behind_the_openai_api_has_nothing_loaded_anew(
    engine: OllamaEngine, timings: list[RequestTiming]
) -> None:
    assert observed(engine, timings, lambda: chat(engine, model=engine.model)).faults == ()


def test_a_request_with_another_context_has_it_loaded_anew_and_is_noticed(
    engine: OllamaEngine, timings: list[RequestTiming]
) -> None:
    seen = observed(engine, timings, lambda: ask(engine, options={"num_ctx": 512, "num_predict": 2}))
    assert "context 2048 → 512" in seen.faults[0]


def test_what_it_does_to_a_request_without_a_word_is_noticed(
    engine: OllamaEngine, timings: list[RequestTiming]
) -> None:
    def app() -> None:
        ask(engine, prompt="word " * 3000, options={"num_ctx": 2048, "num_predict": 2, "ignore_eos": True})

    seen = observed(engine, timings, app)
    assert "the server cut 1 prompt to fit into the context" in seen.faults
    assert "the server ignored options that it does not know: ignore_eos" in seen.faults


def test_a_prompt_that_is_too_long_is_refused(engine: OllamaEngine, client: LLMClient) -> None:
    with pytest.raises(RequestFailed, match="exceeds the available context size"):
        client.chat("word " * 3000, max_tokens=2)


def test_unloading_gives_the_memory_back_and_the_next_request_takes_it_again(
    engine: OllamaEngine, client: LLMClient
) -> None:
    full = engine.memory().resident
    engine.unload()
    idle = engine.memory().resident
    assert full is not None
    assert idle is not None
    assert full - idle > 20 * MIB
    assert engine.state is EngineState.UNLOADED
    client.chat("Hello", max_tokens=2)
    assert deployment(engine).look() is not None


def test_a_context_larger_than_the_models_is_refused(spec: EngineSpec) -> None:
    engine = create(EngineSpec("ollama", args={**spec.args, "num_ctx": "16384"}, binary=spec.binary))
    with pytest.raises(EngineError, match=r"num_ctx=16384 is more than .*: its context is 8192 tokens"):
        engine.start(lambda _: None)


def test_a_runner_that_was_killed_is_a_reason_to_start_again(engine: OllamaEngine) -> None:
    if engine.read_status().state is not EngineState.READY:
        engine.wake()
    loaded = deployment(engine).look()
    assert loaded is not None
    assert loaded.runner is not None
    os.kill(loaded.runner.pid, 9)
    runner = loaded.runner
    until(lambda: not runner.alive)
    assert engine.read_status().reason == f"the runner of {engine.model} (pid {loaded.runner.pid}) has ended"
    engine.revive(lambda _: None)
    assert engine.read_status().reason == ""


def test_stopping_leaves_no_process(spec: EngineSpec) -> None:
    engine = create(EngineSpec("ollama", args={**spec.args, "num_parallel": "2"}, binary=spec.binary))
    engine.start(lambda _: None)
    tree = [process.pid for pid in engine.pids for process in psutil.Process(pid).children(recursive=True)]
    assert tree
    engine.stop()
    assert not any(map(psutil.pid_exists, [*tree, *engine.pids]))
