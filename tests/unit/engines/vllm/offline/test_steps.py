from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_llmperf.engines.kv_cache.looks import KVPool
from pytest_llmperf.engines.vllm.offline.observation import OfflineObservation
from pytest_llmperf.engines.vllm.offline.requests import REQUEST_PREFIX
from pytest_llmperf.engines.vllm.offline.steps import Steps
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.traffic.client.listener import ClientListener
from tests.helpers.fake_vllm import FakeEngine, SamplingParams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.client.listener import EndRequest, Ongoing

POOL = KVPool(blocks=101, block_tokens=4, total_bytes=1010.0)
WHOLE = Window(0, 1 << 62)


class Bench:
    """A fake engine that is looked at while it works."""

    def __init__(self, slots: int = 8) -> None:
        self.engine = FakeEngine(slots)
        self.steps = Steps(self.engine, POOL.blocks)
        self.timings: list[RequestTiming] = []

    def ask(self, request_id: str = "0", *, words: int = 2, **settings: Any) -> None:
        params = SamplingParams(**{"max_tokens": 3, **settings})
        self.engine.add_request(request_id, {"prompt": "w " * words}, params)

    def finish(self) -> None:
        while self.engine.output_processor.request_states:
            self.engine.step()

    def answer(self, requests: Sequence[str]) -> None:
        with self.steps.recorded(ClientListener(self.timings.append).register):
            for request in requests:
                self.ask(request)
            self.finish()

    def observe(self) -> OfflineObservation:
        return OfflineObservation(dict, self.steps, POOL)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("ending", ["abort", "error", "repetition"])
def test_an_answer_that_the_engine_ended_in_another_way_is_a_failed_request(bench: Bench, ending: str) -> None:
    bench.engine.ending = ending
    bench.answer(["0"])
    assert [timing.error for timing in bench.timings] == [f"the answer ended with {ending!r}"]


def test_each_token_has_the_stamp_of_its_step(bench: Bench) -> None:
    bench.answer(["0", "1"])
    first, second = bench.timings
    assert [chunk.tokens for chunk in first.chunks] == [1, 1, 1]
    assert [chunk.at_ns for chunk in first.chunks] == [chunk.at_ns for chunk in second.chunks]
    assert (first.output_tokens, first.prompt_tokens, first.finish_reason, first.error) == (3, 2, "length", None)
    assert len(first.itl or ()) == 2
    assert first.sent_ns <= first.chunks[0].at_ns < first.chunks[-1].at_ns <= first.end_ns


def test_a_request_for_several_answers_counts_its_prompt_once(bench: Bench) -> None:
    with bench.steps.recorded(ClientListener(bench.timings.append).register):
        bench.ask(words=5, n=3)
        bench.finish()
    assert [timing.output_tokens for timing in bench.timings] == [3, 3, 3]
    assert sum(timing.prompt_tokens or 0 for timing in bench.timings) == 5


def test_requests_of_llm_client_are_left_to_it(bench: Bench) -> None:
    bench.answer([f"{REQUEST_PREFIX}1"])
    assert bench.timings == []


def test_nothing_is_recorded_outside_of_a_test(bench: Bench) -> None:
    bench.ask()
    bench.finish()
    assert bench.timings == []


def test_a_request_is_registered_when_it_begins_and_ends_once(bench: Bench) -> None:
    begun: list[Ongoing] = []

    def begin(request: Ongoing) -> EndRequest:
        begun.append(request)
        return ClientListener(bench.timings.append).register(request)

    with bench.steps.recorded(begin):
        bench.ask()
        bench.engine.step()
        so_far = begun[0].describe_so_far(1 << 60, "cut off")
    assert (so_far.output_tokens, so_far.prompt_tokens, so_far.error, so_far.end_ns) == (1, 2, "cut off", 1 << 60)
    assert bench.timings == []
    bench.finish()
    assert [timing.output_tokens for timing in bench.timings] == [3]


def test_a_request_that_the_engine_refuses_has_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("the prompt is\nlonger than the model")

    monkeypatch.setattr(bench.steps, "_add_request", refuse)
    with (
        bench.steps.recorded(ClientListener(bench.timings.append).register),
        pytest.raises(ValueError, match="longer than the model"),
    ):
        bench.ask()
    assert [timing.error for timing in bench.timings] == ["vllm refused it: the prompt is longer than the model"]


def test_an_engine_that_nobody_looks_at_any_more_is_as_it_was(bench: Bench) -> None:
    bench.steps.detach()
    assert vars(bench.engine).keys().isdisjoint({"add_request", "step"})
    assert vars(bench.engine.output_processor).keys() == {"request_states"}
    assert bench.steps.ended


def test_the_counts_are_those_of_the_window(bench: Bench) -> None:
    bench.answer(["0"])
    observation = bench.observe()
    bench.answer(["1", "2"])
    stats = observation.end(bench.timings[1:], WHOLE).stats
    assert (stats["generation_tokens"], stats["prompt_tokens"], stats["requests_finished"]) == (6, 4, 2)
    assert stats["queue_mean_seconds"] == 0.5
    assert (stats["kv_blocks"], stats["kv_block_tokens"]) == (101, 4)


def test_the_kv_cache_in_use_is_the_largest_after_any_step(bench: Bench) -> None:
    observation = bench.observe()
    bench.answer(["0", "1"])
    seen = observation.end(bench.timings, WHOLE)
    # Two requests run after the first and the second step: a fifth of the 100 blocks that are handed out.
    assert seen.readings["memory.kv_cache"].value == 200
    assert seen.readings["memory.kv_cache"].how == "20 of 101 blocks of 4 tokens, after each of its steps"
    assert seen.stats["kv_usage_peak_share"] == pytest.approx(0.2)
    assert (seen.stats["running_peak"], seen.stats["waiting_peak"]) == (2, 0)
    # After these steps they held 2 + 1 and 2 + 2 tokens each, of the 80 that 20 blocks have room for.
    assert seen.readings["memory.kv_waste"].value == pytest.approx(1 - (6 + 8) / 160)
    assert seen.faults == ()


def test_without_a_step_or_a_size_there_is_a_reason_instead(bench: Bench) -> None:
    assert "took no step" in bench.observe().read((), WHOLE).readings["memory.kv_cache"].reason
    unknown = OfflineObservation(dict, bench.steps, KVPool(101, 4))
    bench.answer(["0"])
    assert "engine argument kv_cache sets it" in unknown.read((), WHOLE).readings["memory.kv_cache"].reason


def test_tokens_that_nobody_saw_make_the_measurement_untrustworthy(bench: Bench) -> None:
    observation = bench.observe()
    bench.answer(["0", "1"])
    [fault] = observation.end(bench.timings[:1], WHOLE).faults
    assert fault.startswith("the server generated 6 tokens, the client saw 3")


def test_an_engine_that_was_started_afresh_meanwhile_is_noticed(bench: Bench) -> None:
    observation = bench.observe()
    bench.steps.detach()
    [fault] = observation.end((), WHOLE).faults
    assert "started afresh during the test" in fault


def test_nobody_looks_once_the_test_has_ended(bench: Bench) -> None:
    observation = bench.observe()
    observation.close()
    assert bench.steps.looks is None
    later = bench.observe()
    observation.close()
    assert cast("list[Any] | None", bench.steps.looks) is later._looks
