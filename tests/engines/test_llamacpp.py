from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.bundled_model import fetch_bundled_model
from pytest_llmperf.engines.vocabulary.file_tokenizer import FileTokenizer
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.pages.definition import parse_definition
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import read
from pytest_llmperf.telemetry.pages.observation import PageObservation
from pytest_llmperf.telemetry.sampler.client import Sampler
from pytest_llmperf.telemetry.watched_page import WatchedPage
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.workloads.workload import workload
from tests.engines.cancels import check_cancel
from tests.engines.conftest import chat, loaded
from tests.engines.good_answers import (
    ask_about_an_image,
    ask_as_an_app,
    ask_everything,
    ask_for_a_response,
    ask_for_messages,
    list_doubts,
)
from tests.engines.next_tokens import compare_with_itself
from tests.helpers.adapters import write_gguf_adapter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_llmperf.engines.api.engine import Engine

pytestmark = pytest.mark.usefixtures("llamacpp_installed")
MIB = 1 << 20


@pytest.fixture(scope="module")
def engine(llamacpp_installed: None) -> Iterator[Engine]:
    """The bundled model."""
    from pytest_llmperf.engines.registry import create

    engine = create(EngineSpec("llamacpp"))
    engine.start(lambda _: None)
    yield engine
    engine.stop()


@pytest.mark.parametrize("way", ["generate", "chat"])
def test_what_does_not_fit_into_a_slot_is_refused_and_what_does_is_whole(engine: Engine, way: str) -> None:
    with LLMClient(engine.endpoint, engine.dialect) as client:
        with pytest.raises(
            ValueError, match=r"512 tokens that each of 4 slots has: .*llamacpp:ctx_size=3072 .*parallel"
        ):
            getattr(client, way)("word " * 400, max_tokens=300)
        answer = getattr(client, way)("word " * 400, max_tokens=60, ignore_eos=True)
    assert answer.timing.output_tokens == answer.timing.asked_tokens == 60


def test_it_answers_and_counts_its_tokens(engine: Engine) -> None:
    answer = chat(engine, temperature=0, **engine.dialect.prefix_settings(False))
    assert "ocean" in answer["choices"][0]["message"]["content"].lower()
    assert answer["usage"]["completion_tokens"] == 8
    assert answer["model"] == engine.model == "SmolLM2-135M-Instruct-Q4_1"


def test_it_notices_that_a_request_was_cancelled(engine: Engine) -> None:
    check_cancel(engine, max_tokens=480)


def test_a_repeated_prompt_is_not_taken_from_a_cache(engine: Engine) -> None:
    answers = [chat(engine, temperature=0, **engine.dialect.prefix_settings(False)) for _ in range(2)]
    assert [answer["timings"]["cache_n"] for answer in answers] == [0, 0]


def test_its_page_of_metrics_is_read(engine: Engine) -> None:
    series = "llamacpp:tokens_predicted_total"
    table = {"series": series, "kind": "counter", "unit": "tokens", "better": "higher"}
    page = f"{engine.endpoint.root}/metrics"
    seen = PageObservation(page, [parse_definition("throughput.generated", table)], no_looks)
    chat(engine)
    seen.end()
    found = seen.read(Window(0, 1))["throughput.generated"]
    assert (found.reading.value, found.fault) == (8, "")


def no_looks(url: str, series: Sequence[str], hz: float) -> WatchedPage:
    """A page that a sampler would look at, if it had been started."""
    return WatchedPage(Sampler(), url, series, hz)


def test_an_app_finds_its_prompt_in_the_cache_until_that_is_emptied(engine: Engine) -> None:
    def count_cached(number: int) -> int:
        cached: int = chat(engine, seed=number)["timings"]["cache_n"]
        return cached

    engine.deployment.empty_prompt_cache()
    cold, warm = count_cached(1), count_cached(2)
    engine.deployment.empty_prompt_cache()
    assert (cold, count_cached(3)) == (0, 0)
    assert warm > 20


def test_the_vocabulary_of_its_file_splits_texts_as_it_does(engine: Engine) -> None:
    tokenizer = FileTokenizer(fetch_bundled_model(lambda _: None))
    try:
        for text in ("Hello world, this is 12345", "a tést — ok\n\n  <|im_start|>user", "", "  x\t= {'y': 1}\n" * 20):
            assert engine.dialect.list_tokens is not None
            assert tokenizer.list_tokens(text) == engine.dialect.list_tokens(engine.endpoint, text)
        assert tokenizer._process is not None
        small = psutil.Process(tokenizer._process.pid)
        assert small.memory_info().rss < 92 * MIB
    finally:
        tokenizer.close()
    assert not small.is_running()


def test_it_states_its_weights_and_its_kv_cache(engine: Engine) -> None:
    memory = engine.memory()
    assert memory.weights is not None
    assert memory.weights == pytest.approx(92.1 * MIB, rel=1e-3)
    assert memory.kv_reserved == 45 * MIB
    assert memory.resident is not None
    assert memory.resident > memory.weights + memory.kv_reserved


def test_a_larger_context_reserves_more_for_it(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(EngineSpec("llamacpp", args={"ctx_size": "4096", "parallel": "2"}))
    assert engine.memory().kv_reserved == 90 * MIB


def test_with_a_pooling_it_embeds_beside_its_chats(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(EngineSpec("llamacpp", args={"pooling": "mean", "parallel": "2"}))
    with LLMClient(engine.endpoint, engine.dialect) as client:
        found = client.embed(["The river is wide.", "The stream is broad.", "A loan has interest."])
    assert (found.timing.inputs, found.timing.prompt_tokens) == (3, 15)
    river, stream, loan = found.vectors
    own = ask_as_an_app(engine, "/embedding", {"content": ["the ocean", "a"]}).timing
    assert (own.error, own.inputs) == (None, 2)
    near, far = (sum(a * b for a, b in zip(river, other, strict=True)) for other in (stream, loan))
    assert near > far
    assert chat(engine)["usage"]["completion_tokens"] == 8


def test_it_knows_its_version_and_where_it_computes(engine: Engine) -> None:
    import xllamacpp

    assert engine.version == xllamacpp.__version__
    assert [device.kind for device in engine.devices] == ["cpu"]
    assert engine.startup_time is not None


def test_another_engine_attaches_to_it_and_leaves_it_running(
    engine: Engine, started: Callable[[EngineSpec], Engine]
) -> None:
    attached = started(EngineSpec("llamacpp", url=engine.base_url))
    assert (attached.model, attached.pids) == (engine.model, engine.pids)
    attached.stop()
    assert engine.read_status().reason == ""


def test_adapters_are_named_and_change_the_answers(started: Callable[[EngineSpec], Engine], tmp_path: Path) -> None:
    files = [write_gguf_adapter(tmp_path / f"{name}.gguf", seed=seed) for seed, name in enumerate(("one", "two"))]
    engine = started(EngineSpec("llamacpp", args={"lora": ", ".join(map(str, files))}))
    assert engine.insight.list_adapters() == {"#0": "one", "#1": "two"}
    asked = {name: engine.dialect.adapter_fields(engine.endpoint, name) for name in ("", "one", "two")}  # type: ignore[misc]
    with LLMClient(engine.endpoint, engine.dialect) as client:
        answers = [client.generate("The ocean", max_tokens=12, **fields) for fields in asked.values()]
        plain = client.generate("The ocean", max_tokens=12)
        mix = workload(prompt_tokens=8, output_tokens=4, requests=8, seed=2, adapters={"one": 1, "two": 1})
        result = client.run(mix, concurrency=2)
        with pytest.raises(ValueError, match="adapters has 'three', and llamacpp has one, two: start it with lora="):
            client.run(workload(prompt_tokens=8, requests=2, adapters={"one": 1, "three": 1}))
    assert len({answer.text for answer in answers}) == 3
    assert answers[0].text == plain.text
    assert [answer.timing.adapter for answer in (*answers, plain)] == ["", "#0", "#1", ""]
    assert {request.adapter for request in result.requests} == {"one", "two"}


def test_an_answer_says_how_many_tokens_were_drafted_for_it(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(EngineSpec("llamacpp", args={"ngram_draft": "6"}))
    with LLMClient(engine.endpoint, engine.dialect) as client:
        drafted = client.generate("a b c d e f g " * 4 + "a b c", max_tokens=40).timing
    assert drafted.drafted_tokens
    assert drafted.accepted_tokens
    assert drafted.count_fault == ""
    rate = read("throughput.acceptance_rate", Measurement(Window(0, 1), requests=(drafted,)))
    assert rate.value == drafted.accepted_tokens / drafted.drafted_tokens


def test_stopping_leaves_no_process(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(EngineSpec("llamacpp"))
    (pid,) = engine.pids
    session = os.getsid(pid)
    engine.stop()
    assert not psutil.pid_exists(pid)
    assert not psutil.pid_exists(session)


def test_a_file_that_is_no_model_is_one_line_and_the_log_says_why(
    tmp_path: Path, started: Callable[[EngineSpec], Engine]
) -> None:
    path = tmp_path / "garbage.gguf"
    path.write_bytes(b"GGUF" + b"garbage" * 1000)
    with pytest.raises(EngineError) as caught:
        started(EngineSpec("llamacpp", model=str(path)))
    assert str(caught.value).startswith(f"llamacpp: llama.cpp cannot serve {path}: ")
    assert "\n" not in str(caught.value)
    assert str(path) in caught.value.log_tail
    assert "Traceback" not in caught.value.log_tail


def test_a_file_that_vanished_before_a_restart_is_one_line_and_the_log_says_which(
    tmp_path: Path, started: Callable[[EngineSpec], Engine]
) -> None:
    from pytest_llmperf.engines.bundled_model import fetch_bundled_model

    path = tmp_path / "copy.gguf"
    path.symlink_to(fetch_bundled_model(lambda _: None))
    engine = started(EngineSpec("llamacpp", model=str(path)))
    path.unlink()
    with pytest.raises(EngineError, match=r"^llamacpp: llama\.cpp cannot serve .*copy\.gguf: .*$") as caught:
        engine.restart()
    assert str(path) in caught.value.log_tail
    assert engine.pids == ()


def test_prompts_of_a_load_have_the_tokens_asked_for_and_answers_their_full_length(engine: Engine) -> None:
    result = loaded(engine, workload(prompt_tokens="20-60", output_tokens=6, requests=10, seed=1), concurrency=8)
    assert result.load.prompt_asked == result.load.prompt_came
    assert result.load.full_answers == 10
    assert all(not r.cached_tokens for r in result.requests)


def test_no_good_answer_is_refused_and_no_count_doubted(engine: Engine) -> None:
    assert list_doubts(ask_everything(engine)) == {}


@pytest.mark.parametrize("stream", [True, False])
def test_a_response_counts(engine: Engine, *, stream: bool) -> None:
    assert list_doubts({"response": ask_for_a_response(engine, stream=stream, max_output_tokens=16)}) == {}


def test_messages_and_its_own_completions_count_as_an_app_sends_them(engine: Engine) -> None:
    answers = ask_for_messages(engine)
    for stream in (True, False):
        for path in ("/completion", "/completions"):
            asked = {"prompt": "The ocean is", "n_predict": 8, "n_probs": 2}
            answers[f"{path}, stream={stream}"] = ask_as_an_app(engine, path, asked, stream=stream)
    assert list_doubts(answers) == {}
    assert all(answer.timing.output_tokens for answer in answers.values())
    refused = ask_as_an_app(engine, "/infill", {"input_prefix": "a", "input_suffix": "b"}).timing.error
    assert (refused or "").startswith("HTTP 501: Infill is not supported by this model")
    assert all("image input is not supported" in (error or "") for error in ask_about_an_image(engine))


def test_documents_are_ranked(started: Callable[[EngineSpec], Engine]) -> None:
    engine = started(EngineSpec("llamacpp", args={"pooling": "rank"}))
    with LLMClient(engine.endpoint, engine.dialect) as client:
        found = client.rerank("sea", ["ocean water", "a mountain"])
    assert all(isinstance(score, float) for score in found.scores)
    assert (found.timing.inputs, found.timing.error) == (2, None)


def test_next_tokens_repeat_exactly(engine: Engine) -> None:
    found = compare_with_itself(engine)
    assert (found.agreement, found.mean_divergence, found.is_identical, found.matched_by) == (1, 0, True, "ids")
