from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.vllm.offline.requests import InProcessTransport
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from tests.helpers.fake_vllm import FakeLLM, install

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming


@pytest.fixture(autouse=True)
def _vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


class Bench:
    """A client of a fake engine, and the timings it has recorded."""

    def __init__(self, slots: int = 8, **defaults: Any) -> None:
        self.llm = FakeLLM(slots, **defaults)
        self.engine = self.llm.llm_engine
        self.recorded: list[RequestTiming] = []
        transport = InProcessTransport(self.llm)
        dialect, listener = Dialect(transport=lambda _: transport), ClientListener(self.recorded.append)
        self.client = LLMClient(Endpoint("", "m"), dialect, listener=listener)


def test_an_answer_has_one_chunk_for_each_step_and_the_engines_own_stamps() -> None:
    bench = Bench()
    before = time.monotonic_ns()
    answer = bench.client.generate("a b c", max_tokens=4)
    timing = answer.timing
    assert (answer.text, answer.finish_reason) == (" 0 1 2 3", "length")
    assert (timing.prompt_tokens, timing.output_tokens, timing.cached_tokens) == (3, 4, 0)
    assert [chunk.tokens for chunk in timing.chunks] == [1, 1, 1, 1]
    metrics = answer.raw["metrics"]
    assert timing.chunks[0].at_ns == round(metrics["first_token_ts"] * 1e9)
    assert timing.chunks[-1].at_ns == round(metrics["last_token_ts"] * 1e9)
    stamps = [before, timing.sent_ns, *(chunk.at_ns for chunk in timing.chunks), timing.end_ns, time.monotonic_ns()]
    assert stamps == sorted(stamps)
    assert len(timing.itl or ()) == 3
    assert bench.recorded == [timing]


def test_an_answer_that_is_not_streamed_is_whole() -> None:
    answer = Bench().client.generate("a", max_tokens=3, stream=False)
    assert (answer.text, answer.timing.output_tokens, answer.timing.streamed) == (" 0 1 2", 3, False)
    assert answer.timing.chunks == ()
    assert answer.timing.error is None


@pytest.mark.parametrize("stream", [True, False])
def test_a_conversation_is_written_by_the_models_own_template(stream: bool) -> None:
    answer = Bench().client.chat([{"role": "user", "content": "Hello you"}], max_tokens=2, stream=stream)
    assert answer.text == " 0 1"
    assert answer.timing.prompt_tokens == len(["<user>", "Hello", "you", "<assistant>"])


def test_the_models_own_settings_lie_below_what_is_asked_for() -> None:
    bench = Bench(temperature=0.7, seed=3)
    bench.client.generate("a", max_tokens=1)
    seen = [params.settings for params in bench.engine.asked]
    assert seen == [{"temperature": 0.0, "seed": 3, "max_tokens": 1, "output_kind": "delta"}]


@pytest.mark.parametrize(
    ("prompt", "settings", "reason"),
    [
        ("x " * 200, {}, "HTTP 400: the prompt is too long"),
        ("x", {"temperature": -1.0}, "HTTP 400: temperature must be non-negative"),
        ("x", {"tools": []}, "HTTP 400: vllm knows no sampling parameter tools outside its server"),
        ("x", {"_hidden": 1}, "HTTP 400: vllm knows no sampling parameter _hidden outside its server"),
    ],
)
def test_what_the_engine_does_not_take_fails_as_a_server_would_refuse_it(
    prompt: str, settings: dict[str, Any], reason: str
) -> None:
    bench = Bench()
    with pytest.raises(RequestFailed, match=r"^POST /v1/completions \(in this process\): ") as failed:
        bench.client.generate(prompt, **settings)
    assert reason in str(failed.value)
    assert failed.value.timing.status == 400
    assert bench.client.generate("a", max_tokens=1).text == " 0"


def test_messages_with_more_than_text_are_refused() -> None:
    with pytest.raises(RequestFailed, match="need vllm's server"):
        Bench().client.chat([{"role": "user", "content": [{"type": "image_url"}]}])


def test_a_run_keeps_so_many_requests_in_flight_and_gives_the_answers_in_order() -> None:
    bench = Bench()
    answers = bench.client.run(["a", "a b", "a b c", "a", "a b"], concurrency=2, max_tokens=3)
    assert [answer.timing.prompt_tokens for answer in answers] == [1, 2, 3, 1, 2]
    assert bench.engine.most_running == 2
    assert len(bench.recorded) == 5
    # Those in flight together share the engine's steps: 15 tokens in 9 steps.
    assert bench.engine.steps == 9


def test_a_run_with_one_prompt_that_is_refused_answers_the_others_first() -> None:
    bench = Bench()
    with pytest.raises(RequestFailed, match="too long"):
        bench.client.run(["a", "x " * 200, "b"], max_tokens=2)
    assert [timing.error is None for timing in bench.recorded] == [True, False, True]


def test_an_engine_that_fails_is_said_to_every_request_and_to_all_that_come() -> None:
    bench = Bench()
    bench.engine.failure = RuntimeError("out of memory\nwith a long trace")
    with pytest.raises(RequestFailed, match=r"vllm failed: out of memory$"):
        bench.client.run(["a", "b", "c"], concurrency=2)
    bench.engine.failure = None
    with pytest.raises(RequestFailed, match=r"vllm failed: out of memory$"):
        bench.client.generate("a")
    assert [timing.error for timing in bench.recorded] == ["vllm failed: out of memory"] * len(bench.recorded)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ending", ["abort", "error", "repetition"])
def test_an_answer_that_the_engine_ended_in_another_way_is_a_failed_request(ending: str, *, stream: bool) -> None:
    bench = Bench()
    bench.engine.ending = ending
    with pytest.raises(RequestFailed, match=f"ended with '{ending}'$"):
        bench.client.generate("a", max_tokens=2, stream=stream)
    [timing] = bench.recorded
    assert (timing.finish_reason, timing.output_tokens) == (ending, 2)


def test_an_interrupted_request_is_recorded_and_ended_in_the_engine() -> None:
    bench = Bench()
    bench.engine.failure = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        bench.client.generate("a")
    with pytest.raises(KeyboardInterrupt):
        bench.client.run(["a", "b"], concurrency=2)
    assert [timing.error for timing in bench.recorded] == ["cancelled"] * 3
    assert len(bench.engine.aborted) == 3
    bench.engine.failure = None
    assert bench.client.generate("a", max_tokens=1).text == " 0"


def test_coroutines_share_the_steps_and_one_that_is_cancelled_ends_its_request() -> None:
    bench = Bench()

    async def ask() -> list[str]:
        endless = asyncio.create_task(bench.client.agenerate("a", max_tokens=1000))
        answers = await asyncio.gather(*(bench.client.agenerate("a b", max_tokens=5) for _ in range(3)))
        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless
        return [answer.text for answer in answers]

    assert asyncio.run(ask()) == [" 0 1 2 3 4"] * 3
    assert len(bench.engine.aborted) == 1
    assert [timing.error for timing in bench.recorded].count("cancelled") == 1


def test_threads_share_the_steps_and_none_takes_a_step_with_nothing_to_do() -> None:
    bench = Bench()
    threads = [threading.Thread(target=bench.client.generate, args=("a",), kwargs={"max_tokens": n}) for n in (3, 3, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(timing.output_tokens or 0 for timing in bench.recorded) == [3, 3, 9]
    assert all(timing.error is None for timing in bench.recorded)


def test_it_has_no_address_and_says_so() -> None:
    with pytest.raises(RuntimeError, match="runs inside pytest and has no address"):
        _ = Bench().client.base_url
