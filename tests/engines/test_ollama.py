"""A real Ollama, with the bundled model: what the double is believed to say is held against it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.attached.slots import count_busy_slots
from pytest_llmperf.engines.bundled_model import fetch_bundled_model
from pytest_llmperf.engines.lifecycle.http import find_free_port, get_http_status
from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.counters import Counts
from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
from pytest_llmperf.engines.ollama.engine import OllamaEngine
from pytest_llmperf.engines.ollama.models import derive_model, ensure_model
from pytest_llmperf.engines.ollama.options import NUM_CTX
from pytest_llmperf.engines.ollama.runner import list_runners
from pytest_llmperf.engines.registry import create
from pytest_llmperf.engines.vocabulary.file_tokenizer import FileTokenizer
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports.report_file import read_report
from pytest_llmperf.telemetry.sources.drivers import has_gpu
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from pytest_llmperf.traffic.workloads.workload import workload
from tests.engines.conftest import chat
from tests.engines.next_tokens import compare_with_itself
from tests.helpers.forwarder import WAYS, forwarder
from tests.helpers.strangers import asking
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.engines.api.observation import Observed
    from pytest_llmperf.measurement.request import RequestTiming
    from tests.conftest import Runs

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


def test_each_of_several_slots_forgets_its_prompt(spec: EngineSpec) -> None:
    engine = create(EngineSpec("ollama", args={**spec.args, "num_parallel": "2"}, binary=spec.binary))
    engine.start(lambda _: None)
    assert isinstance(engine, OllamaEngine)
    prompt = "The quick brown fox jumps over the lazy dog. " * 12

    def count_cached(asking: LLMClient) -> float:
        before = Counts.of(deployment(engine).look())
        asking.run([prompt, prompt], concurrency=2, max_tokens=2, share_prefix=True)
        after = Counts.of(deployment(engine).look())
        assert before is not None
        assert after is not None
        return after.since(before).cached

    try:
        with LLMClient(engine.endpoint, engine.dialect) as asking:
            assert count_cached(asking) <= 2
            assert count_cached(asking) > 200
            engine.deployment.empty_prompt_cache()
            assert count_cached(asking) <= 2
    finally:
        engine.stop()


LOADS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "open loop": ({}, {"rate": "20/s", "warmup": 1}),
    "open loop for a time": ({"requests": None}, {"rate": "20/s", "arrival": "constant", "duration": "300 ms"}),
    "closed loop": ({}, {"concurrency": 2}),
    "whole answers": ({}, {"concurrency": 2, "stream": False}),
    "groups": ({"shared_prefix": "50 %"}, {"concurrency": 2}),
}


@pytest.mark.parametrize("name", LOADS)
def test_a_load_has_prompts_of_the_length_asked_for_and_the_health_of_its_sender(
    engine: OllamaEngine, client: LLMClient, timings: list[RequestTiming], name: str
) -> None:
    mix, schedule = LOADS[name]
    load = workload(**{"prompt_tokens": 24, "output_tokens": 4, "requests": 4, **mix})
    seen = observed(engine, timings, lambda: client.run(load, **schedule))
    assert timings
    assert [(timing.error, timing.prompt_tokens) for timing in timings] == [(None, 24)] * len(timings)
    assert all(timing.server and timing.server.prompt for timing in timings)
    assert seen.faults == ()


def test_a_chat_of_several_turns_holds_what_was_answered(engine: OllamaEngine, client: LLMClient) -> None:
    result = client.run(workload(prompt_tokens=8, output_tokens="4-6", requests=3, turns=3))
    first, second, third = (request.prompt_tokens or 0 for request in result.requests)
    assert first + 8 < second < third - 8
    assert result.load.health is not None


def test_its_file_splits_texts_as_its_runner_does(engine: OllamaEngine) -> None:
    tokenizer = FileTokenizer(fetch_bundled_model(lambda _: None))
    try:
        for text in ("Hello world, this is 12345", "a tést — ok\n\n  <|im_start|>user"):
            assert tokenizer.list_tokens(text) == deployment(engine)._ask_runner(text)
    finally:
        tokenizer.close()


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


# ----------------------------------------------------------------------------------------- options that apps cannot say


def order(api: OllamaAPI, method: str, path: str, **body: str) -> None:
    """An order that tests have no need of otherwise: to copy a model, to delete one."""
    request = urllib.request.Request(f"{api.root}{path}", json.dumps(body).encode(), method=method)
    urllib.request.urlopen(request, timeout=PATIENCE_S).close()


def derived(engine: OllamaEngine) -> bool:
    """Whether its requests give another name than the one that was asked for."""
    return engine.model != engine.info.model


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"num_ctx": "1024"}, (1024, None)),
        ({"num_thread": "1"}, (2048, "1")),
        ({"num_ctx": "1024", "num_thread": "1", "num_batch": "256"}, (1024, "1")),
    ],
)
def test_an_app_gets_the_options_of_the_load_and_reloads_nothing(
    engine: OllamaEngine, spec: EngineSpec, arguments: dict[str, str], expected: tuple[int, str | None]
) -> None:
    other = create(EngineSpec("ollama", args={**spec.args, **arguments}, binary=spec.binary))
    assert isinstance(other, OllamaEngine)
    other.start(lambda _: None)
    try:
        before = deployment(other).look()
        assert before is not None
        assert before.runner is not None
        assert (before.context, before.runner.argument("-t", "--threads")) == expected
        chat(other, model=other.model)
        ask(other, options={"num_predict": 2})
        now = deployment(other).look()
        assert now is not None
        assert now.runner == before.runner
        names = list(deployment(other)._api.models())
        assert other.model in names
    finally:
        other.stop()
    if derived(other) and other.base_url == engine.base_url:
        assert other.model not in deployment(engine)._api.models()


def test_a_model_with_a_context_of_its_own_keeps_it_for_apps(engine: OllamaEngine, spec: EngineSpec) -> None:
    api = deployment(engine)._api
    derive_model(api, engine.info.model, "with-context:1k", {NUM_CTX: 1024})
    arguments = {key: value for key, value in spec.args.items() if key != NUM_CTX}
    other = create(EngineSpec("ollama", "with-context:1k", args=arguments, binary=spec.binary))
    assert isinstance(other, OllamaEngine)
    other.start(lambda _: None)
    try:
        assert not derived(other)
        before = deployment(other).look()
        assert before is not None
        assert before.context == 1024
        chat(other, model=other.model)
        now = deployment(other).look()
        assert now is not None
        assert now.runner == before.runner
    finally:
        other.stop()
        order(api, "DELETE", "/api/delete", model="with-context:1k")


# ------------------------------------------------------------------------------------ several models, and names of them


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The bundled model, and a file that is another one only by the name that it calls itself."""
    bundled = fetch_bundled_model(lambda _: None)
    content = bundled.read_bytes()
    name = b"general.name"
    at = content.index(name) + len(name) + 4 + 8
    other = tmp_path_factory.mktemp("files") / "other.gguf"
    other.write_bytes(content[:at] + b"X" + content[at + 1 :])
    return [str(bundled), str(other)]


def test_two_names_of_one_file_are_one_model(engine: OllamaEngine, spec: EngineSpec) -> None:
    api = deployment(engine)._api
    order(api, "POST", "/api/copy", source=engine.info.model, destination="alias:1")
    if engine.read_status().state is not EngineState.READY:
        engine.wake()
    before = deployment(engine).look()
    other = create(EngineSpec("ollama", "alias:1", args=spec.args, binary=spec.binary))
    assert isinstance(other, OllamaEngine)
    other.start(lambda _: None)
    try:
        now = deployment(other).look()
        assert before is not None
        assert now is not None
        assert now.runner == before.runner
        assert deployment(engine).shares_model
    finally:
        other.stop()
        order(api, "DELETE", "/api/delete", model="alias:1")
    after = deployment(engine).look()
    assert after is not None
    assert after.runner == before.runner


def test_models_that_take_turns_are_loaded_again_and_counted(
    runs: Runs, ollama_installed: str, tmp_path: Path, two_files: list[str]
) -> None:
    suite = f"""
MODELS = {two_files!r}
ARGS = {{"models_dir": {str(tmp_path)!r}, "max_loaded_models": 1, "num_ctx": 2048}}

@pytest.fixture(scope="module")
def engines(llm_engine_factory):
    return [llm_engine_factory("ollama", model=model, args=ARGS) for model in MODELS]

@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.latency_budget(e2e_max="300 s")
def test_in_turn(engines, llm_client_factory):
    clients = [llm_client_factory(engine) for engine in engines]
    for client in clients * 2:
        assert client.chat("Hello", max_tokens=4).text

def test_unloaded_by_itself(llm_engine_factory, llm_client_factory):
    engine = llm_engine_factory("ollama", model=MODELS[0], args={{**ARGS, "keep_alive": "1s"}})
    llm_client_factory(engine).chat("Hello", max_tokens=4)
    engine.wait_until_unloaded(60)
    assert engine.state.value == "unloaded"
"""
    report = tmp_path / "report.json"
    result = runs.plain(
        suite, "--llmperf-strict", f"--llmperf-engine-bin=ollama:{ollama_installed}", f"--llmperf-report={report}"
    )
    result.assert_outcomes(passed=2)
    in_turn = read_report(report)["tests"][0]["measurement"]["parts"]
    assert [part["engine_stats"]["model_loads"] for part in in_turn] == [2, 2]


def test_the_example_with_two_engines_passes_with_one_model_twice(ollama_installed: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "pytest", "examples/dev_and_prod", "-p", "no:cacheprovider", "--llmperf-no-strict"]
    options = ["--llm-engine=ollama", f"--llmperf-engine-bin=ollama:{ollama_installed}"]
    options += [f"--llmperf-engine-arg=ollama:models_dir={tmp_path}", f"--llmperf-report={tmp_path / 'report.json'}"]
    environ = os.environ | {"CHECKER": "ollama"}
    run = subprocess.run(
        [*command, *options], cwd=root, env=environ, capture_output=True, text=True, timeout=20 * PATIENCE_S
    )
    assert run.returncode == 0, run.stdout
    tests = read_report(tmp_path / "report.json")["tests"]
    reasons = [verdict["reason"] for test in tests for verdict in test["verdicts"] if verdict["status"] != "PASS"]
    assert [reason for reason in reasons if "others use the server" in str(reason)] == []


def test_the_examples_with_loads_run_whole(ollama_installed: str, tmp_path: Path) -> None:
    table = ["examples/decision_table", "--comparison-scale=0.001", "-k", "not quality"]
    command = [sys.executable, "-m", "pytest", *table, "examples/load", "-p", "no:cacheprovider", "--llmperf-no-strict"]
    options = ["--llm-engine=ollama", f"--llmperf-engine-bin=ollama:{ollama_installed}"]
    options += [f"--llmperf-engine-arg=ollama:models_dir={tmp_path}", f"--llmperf-report={tmp_path / 'report.json'}"]
    # Threads that wait for one another are slow where they have to share cores.
    options.append("--llmperf-engine-arg=ollama:num_thread=1")
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [*command, *options], cwd=root, env=os.environ, capture_output=True, text=True, timeout=60 * PATIENCE_S
    )
    assert run.returncode == 0, run.stdout
    tests = [test for test in read_report(tmp_path / "report.json")["tests"] if test["measurement"].get("loads")]
    assert len(tests) == 8
    for load in (load for test in tests for load in test["measurement"]["loads"]):
        came, asked = load["prompt_tokens"]["came"], load["prompt_tokens"]["asked"]
        assert (came["count"], came["max"]) == (asked["count"], asked["max"])
        assert load["client"]["connections"] >= 1


def test_each_model_has_the_memory_of_its_own_runner(
    engine: OllamaEngine, spec: EngineSpec, two_files: list[str]
) -> None:
    if engine.read_status().state is not EngineState.READY:
        engine.wake()
    other = create(EngineSpec("ollama", two_files[1], args={**spec.args, NUM_CTX: "8192"}, binary=spec.binary))
    assert isinstance(other, OllamaEngine)
    other.start(lambda _: None)
    try:
        assert other.pids == engine.pids
        (server,) = engine.pids
        for each in (engine, other):
            loaded = deployment(each).look()
            assert loaded is not None
            assert loaded.runner is not None
            held = sum(psutil.Process(pid).memory_info().rss for pid in (server, loaded.runner.pid))
            assert each.memory().resident == pytest.approx(held, abs=16 * MIB)
        assert len(list_runners(engine.pids)) == 2
        (named,) = deployment(engine).list_beside()
        assert "other" in named
    finally:
        other.stop()
    assert deployment(engine).list_beside() == ()


def test_on_a_host_without_a_gpu_nothing_lies_on_one(engine: OllamaEngine) -> None:
    if has_gpu():
        pytest.skip("this host may have a GPU")
    assert engine.insight.readings()["memory.offload"].value == 0
    assert [device.kind for device in engine.insight.devices] == ["cpu"]


# ------------------------------------------------------------------------------------------- a server that runs already


@pytest.fixture
def owner(ollama_installed: str, tmp_path: Path) -> Iterator[OllamaAPI]:
    """A server that somebody else has started, with the bundled model. It holds one model at a time."""
    host = f"127.0.0.1:{find_free_port()}"
    folder = tmp_path / "owner"
    folder.mkdir()
    environ = {**os.environ, "OLLAMA_HOST": host, "OLLAMA_MODELS": str(folder / "models"), "HOME": str(folder)}
    environ["OLLAMA_MAX_LOADED_MODELS"] = "1"
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([ollama_installed, "serve"], env=environ, stdout=log, stderr=log)
    api = OllamaAPI(f"http://{host}")
    try:
        until(lambda: server.poll() is not None or get_http_status(f"{api.root}/api/version") == 200)
        ensure_model(api, None, pull=False, progress=lambda _: None, note_new=lambda _: None)
        yield api
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def attached(owner: OllamaAPI, **arguments: object) -> list[str]:
    given = [f"--llmperf-engine-arg=ollama:{key}={value}" for key, value in arguments.items()]
    return [f"--llm-engine=ollama:{next(iter(owner.models()))}", f"--llmperf-url={owner.root}", *given]


def minutes_left(entry: dict[str, Any]) -> float:
    return (datetime.fromisoformat(str(entry["expires_at"])) - datetime.now(UTC)).total_seconds() / 60


NATIVE = """
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_native(llm_client, llm_engine):
    assert llm_client.chat("Hello", max_tokens=4).text
    assert llm_client.generate("Hello", max_tokens=4).text
"""
APP = """
import json, urllib.request

@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_app(llm_client):
    data = {"model": llm_client.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    request = urllib.request.Request(f"{llm_client.base_url}/chat/completions", json.dumps(data).encode())
    urllib.request.urlopen(request, timeout=120).close()
"""


def test_what_runs_there_is_used_as_it_runs_and_stays_for_as_long_as_it_was_to(owner: OllamaAPI, runs: Runs) -> None:
    owner.start_model(next(iter(owner.models())), {NUM_CTX: 1024, "num_thread": 1}, "10m", 300)
    (before,), models = owner.list_loaded(), owner.models()
    pid = _runner_pid(owner)
    runs.plain(NATIVE, *attached(owner), "--llmperf-strict").assert_outcomes(passed=1)
    (after,) = owner.list_loaded()
    assert (after["name"], after["context_length"], _runner_pid(owner)) == (before["name"], 1024, pid)
    assert 5 < minutes_left(after) <= 10.1
    # With the same options asked for, an app finds the same runner.
    runs.plain(APP, *attached(owner, num_ctx=1024, num_thread=1), "--llmperf-strict").assert_outcomes(passed=1)
    assert _runner_pid(owner) == pid
    assert owner.models() == models
    refused = runs.plain(NATIVE, *attached(owner, num_ctx=2048))
    refused.stdout.fnmatch_lines(["*with num_ctx=1024, and num_ctx=2048 would load it again for all its users*"])
    assert _runner_pid(owner) == pid


def test_an_app_without_settings_is_answered_by_what_its_owner_holds(owner: OllamaAPI, runs: Runs) -> None:
    owner.start_model(next(iter(owner.models())), {NUM_CTX: 8192, "num_thread": 1}, "-1m", 300)
    (before,), models, pid = owner.list_loaded(), owner.models(), _runner_pid(owner)
    runs.plain(APP, *attached(owner), "--llmperf-strict").assert_outcomes(passed=1)
    (after,) = owner.list_loaded()
    assert (after["name"], after["context_length"], _runner_pid(owner)) == (before["name"], 8192, pid)
    assert minutes_left(after) > 60 * 24 * 365
    assert owner.models() == models


def test_what_a_run_has_changed_is_given_back(owner: OllamaAPI, runs: Runs) -> None:
    name = next(iter(owner.models()))
    owner.start_model(name, {NUM_CTX: 8192, "num_thread": 1}, "-1m", 300)
    result = runs.plain(APP.replace("llm_client.model", repr(name)), *attached(owner))
    result.stdout.fnmatch_lines(
        ["budgets: 1 INVALID", f"llmperf: ollama: {name} is loaded at * again as it was found*"]
    )
    (after,) = owner.list_loaded()
    assert (after["name"], after["context_length"]) == (name, 8192)
    assert minutes_left(after) > 60 * 24 * 365


def test_a_model_that_had_to_go_is_loaded_again(owner: OllamaAPI, runs: Runs, two_files: list[str]) -> None:
    options = attached(owner)
    other = ensure_model(owner, two_files[1], pull=False, progress=lambda _: None, note_new=lambda _: None)
    owner.start_model(other, {NUM_CTX: 2048}, "-1m", 300)
    runs.plain(NATIVE, *options).assert_outcomes(passed=1)
    (after,) = owner.list_loaded()
    assert (after["name"], after["context_length"]) == (other, 2048)
    assert minutes_left(after) > 60 * 24 * 365


@pytest.mark.parametrize("arguments", [{}, {"num_ctx": 1024, "num_thread": 1}])
def test_what_was_loaded_there_for_tests_is_gone_after_them(
    owner: OllamaAPI, runs: Runs, arguments: dict[str, int]
) -> None:
    before = owner.models()
    runs.plain(NATIVE + APP, *attached(owner, **arguments), "--llmperf-strict").assert_outcomes(passed=2)
    assert owner.list_loaded() == []
    assert owner.models() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_leaves_nothing_there(
    owner: OllamaAPI, runs: Runs, pytester: pytest.Pytester, number: signal.Signals
) -> None:
    before = owner.models()
    runs.write(f"import time\n{NATIVE}    open('reached', 'w').close()\n    time.sleep(600)\n")
    command = [sys.executable, "-m", "pytest", *attached(owner, num_ctx=1024)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        until((pytester.path / "reached").exists, 5 * PATIENCE_S)
        run.send_signal(number)
        run.wait(PATIENCE_S)
    until(lambda: owner.models() == before and owner.list_loaded() == [])


HELD = """
@pytest.mark.memory_budget(peak="4 GiB")
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_held(llm_client):
    for _ in range(3):
        assert llm_client.generate("Once upon a time", max_tokens=64).text
"""


@pytest.mark.parametrize("way", WAYS)
def test_what_forwards_to_it_is_not_taken_for_it(owner: OllamaAPI, runs: Runs, way: str) -> None:
    model = next(iter(owner.models()))
    with forwarder(int(owner.root.rpartition(":")[2]), way) as port:
        result = runs.plain(HELD, f"--llm-engine=ollama:{model}", f"--llmperf-url=http://127.0.0.1:{port}")
    result.stdout.fnmatch_lines(["*memory.peak NOT MEASURED: no process below process *, which listens at *"])


def test_the_load_of_others_on_it_is_noticed(owner: OllamaAPI, runs: Runs) -> None:
    model = next(iter(owner.models()))
    owner.start_model(model, {}, "10m", 300)
    (runner,) = list_runners(find_listening_pids(owner.root))
    assert count_busy_slots(runner.slots_url) == 0
    runs.plain(HELD, *attached(owner), "--llmperf-strict").assert_outcomes(passed=1)
    body = {"model": model, "prompt": "Once upon a time", "stream": False, "options": {"num_predict": 64}}
    with asking(f"{owner.root}/api/generate", body, number=2):
        result = runs.plain(HELD, *attached(owner), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*INVALID: *others used the server: * requests waited up to * ms for a slot *"])


def _runner_pid(owner: OllamaAPI) -> int:
    (runner,) = list_runners(find_listening_pids(owner.root))
    return runner.pid


def test_next_tokens_repeat_exactly(engine: OllamaEngine) -> None:
    found = compare_with_itself(engine)
    assert (found.agreement, found.mean_divergence, found.is_identical, found.matched_by) == (1, 0, True, "ids")
