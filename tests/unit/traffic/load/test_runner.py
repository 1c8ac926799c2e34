"""Loads on an engine that is not asked over HTTP: closed loops by its own transport, and nothing else."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from pytest_llmperf.traffic.load.process import LoadProgress
from pytest_llmperf.traffic.load.runner import _describe, _Silence
from pytest_llmperf.traffic.workloads.workload import workload
from tests.helpers.scripted_server import event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.load import Load
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.answers.answer import Answer, Arrival
    from pytest_llmperf.traffic.client.lag import Lateness
    from pytest_llmperf.traffic.client.request import Attempt, Call

PROMPTS = ["a", "b", "c"]


@dataclass
class Answered:
    path: str
    body: Mapping[str, Any]
    sent_ns: int = 0
    end_ns: int = 0
    late: Lateness | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    pieces: Sequence[tuple[int, bytes]] = ()


class Within:
    """Answers each request with one token; ``breaks_at`` is the number of the one at which it is interrupted."""

    def __init__(self, breaks_at: int = -1, status: int = 200) -> None:
        self.asked: list[Answered] = []
        self._breaks_at = breaks_at
        self._status = status

    def attempt(self, path: str, body: Mapping[str, Any]) -> Answered:
        self.asked.append(Answered(path, body))
        return self.asked[-1]

    def perform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Answered)
        attempt.sent_ns = time.monotonic_ns()
        attempt.status = self._status
        attempt.end_ns = time.monotonic_ns()
        content = {"choices": [{"text": "x", "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
        attempt.pieces = [(attempt.end_ns, event(content) + b"data: [DONE]\n\n")]

    async def aperform(self, attempt: Attempt) -> None:
        raise AssertionError("a load is not asynchronous here")

    def cancel(self) -> None:
        raise AssertionError("a load is not cancelled here")

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        for number, call in enumerate(calls):
            if number == self._breaks_at:
                raise KeyboardInterrupt
            with call.watched():
                self.perform(call.attempt)

    def read(self, arrival: Arrival) -> Answer:
        return openai.read(arrival)

    def close(self) -> None:
        pass


class Bench:
    def __init__(self, transport: Within) -> None:
        self.timings: list[RequestTiming] = []
        self.loads: list[Load] = []
        self.said: list[str] = []
        dialect = Dialect(full_length={"ignore_eos": True}, transport=lambda _: transport)
        listener = ClientListener(self.timings.append, self.loads.append, say=self.said.append)
        self.client = LLMClient(Endpoint("", "tiny"), dialect, listener=listener)


def test_a_closed_loop_goes_through_the_transport_and_is_recorded() -> None:
    transport = Within()
    bench = Bench(transport)
    result = bench.client.run(workload(PROMPTS, output_tokens=1), concurrency=2, warmup=1)
    assert [asked.body["prompt"] for asked in transport.asked if asked.sent_ns] == PROMPTS
    assert all(asked.body["ignore_eos"] for asked in transport.asked)
    assert [r.phase for r in result.requests] == ["warmup", "steady", "steady"]
    assert bench.timings == list(result.requests)
    assert bench.loads == [result.load]
    assert result.load.health is None


@pytest.mark.parametrize("arguments", [{"rate": "5/s"}, {"duration": "5 s"}, {"ramp": "1 s"}])
def test_whatever_needs_a_clock_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="closed loops only"):
        Bench(Within()).client.run(workload(PROMPTS), **arguments)


def test_chats_of_several_turns_are_refused() -> None:
    several = workload(prompt_tokens=4, requests=4, turns=2, tokenizer=str.split)
    with pytest.raises(ValueError, match="leave out turns"):
        Bench(Within()).client.run(several)


def test_what_had_come_before_an_interruption_is_recorded_and_said_in_one_line() -> None:
    bench = Bench(Within(breaks_at=2))
    with pytest.raises(KeyboardInterrupt):
        bench.client.run(workload(PROMPTS, output_tokens=1))
    assert len(bench.timings) == 2
    assert bench.said == ["load interrupted: 2 requests sent, 2 answered, 0 not"]
    assert bench.loads[0].fault == "the load was stopped after 2 requests: it was interrupted"


def test_failures_raise_once_all_is_recorded() -> None:
    bench = Bench(Within(status=500))
    with pytest.raises(RequestFailed, match="3 of 3 requests failed, the first with: HTTP 500"):
        bench.client.run(workload(PROMPTS))
    assert (len(bench.timings), len(bench.loads)) == (3, 1)
    assert len(bench.client.run(workload(PROMPTS), max_error_rate="100 %").failed) == 3


def test_an_answer_that_ended_although_its_end_was_to_be_ignored_has_failed() -> None:
    bench = Bench(Within())
    with pytest.raises(RequestFailed, match="3 of 3 requests failed, the first with: 1 of 9 tokens came, although"):
        bench.client.run(workload(PROMPTS, output_tokens=9))
    assert [(timing.output_tokens, timing.asked_tokens) for timing in bench.timings] == [(1, 9)] * 3


def test_an_answer_that_may_end_by_itself_is_short_and_has_not_failed() -> None:
    bench = Bench(Within())
    bench.client.run(workload(PROMPTS, output_tokens=9), ignore_eos=False)
    assert [(timing.is_short, timing.error) for timing in bench.timings] == [(True, None)] * 3


def test_a_load_that_breaks_is_recorded_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = Within()
    bench = Bench(transport)

    def fail(calls: Sequence[Call], concurrency: int) -> None:
        raise MemoryError

    monkeypatch.setattr(transport, "perform_all", fail)
    with pytest.raises(MemoryError):
        bench.client.run(workload(PROMPTS))
    assert [load.fault for load in bench.loads] == ["the load ended without its timings: MemoryError"]


def test_a_line_says_what_a_load_waits_for_when_nothing_moves() -> None:
    said: list[str] = []
    silence = _Silence(said.append)
    seen = LoadProgress(sent=4, ended=1, seconds=50.0)
    for silent_s, unheard_s in [(4, 0), (12, 0), (31, 0), (44, 0), (0, 0), (2, 33)]:
        silence.tell(replace(seen, silent_s=silent_s, unheard_s=unheard_s))
    assert said == [
        "load: nothing has come from the engine for 31 s, 3 requests in flight",
        "load: the load client has told nothing for 33 s, 3 requests in flight",
    ]
    assert _describe(replace(seen, silent_s=4), None).endswith(" req/s")
    assert _describe(replace(seen, silent_s=12), None).endswith("; nothing has come from the engine for 12 s")
