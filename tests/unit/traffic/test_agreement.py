"""One answer reads the same whoever asked: the client, the load client, an app through the relay, vLLM in pytest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.vllm.offline.requests import InProcessTransport
from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.exchange import Exchange, Target
from pytest_llmperf.traffic.client.request import Call
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from pytest_llmperf.traffic.load.connections import Flight
from pytest_llmperf.traffic.load.finished_requests import FinishedRequests
from pytest_llmperf.traffic.load.wire import Order, Strings, pack_timing, unpack_timings
from pytest_llmperf.traffic.relay.exchanges import Exchanges
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls
from pytest_llmperf.traffic.relay.timing import read_timing
from tests.helpers.fake_vllm import FakeLLM, install
from tests.helpers.hostile_server import delta, event, text, usage
from tests.helpers.relay_wires import call
from tests.helpers.scripted_server import STREAM_END, STREAM_HEAD, chunk, sized

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.measurement.request import RequestTiming

DIED = "EngineCore died"
WORDS = [text(f" w{number}") for number in range(4)]
END = text("", "stop")
GOOD = [*WORDS, END, usage(4), "[DONE]"]
REASONED = {"completion_tokens_details": {"reasoning_tokens": 300}}


def reasoning(count: int, **carried: Any) -> list[object]:
    return [delta(**carried)] * count


# Streams by what is wrong with them: the events, and words of the error or of the fault in the counts.
FAILED: dict[str, tuple[Sequence[object], str]] = {
    "aborted": ([*WORDS, text("", "abort"), usage(4), "[DONE]"], "ended with 'abort'"),
    "aborted, then stopped": ([*WORDS, text("", "abort"), END, usage(4), "[DONE]"], "ended with 'abort'"),
    "without an end": ([*WORDS, usage(4), "[DONE]"], "without a finish reason"),
    "an error without choices": ([*GOOD[:-1], {"choices": [], "message": DIED, "code": 500}, "[DONE]"], DIED),
    "an error code": ([*GOOD[:-1], {"error_code": 17, "message": DIED}, "[DONE]"], DIED),
    "an exception": ([*GOOD[:-1], {"exception": DIED}], DIED),
    "a status": ([*GOOD[:-1], {"choices": [], "status": "failed", "message": DIED}], DIED),
    "an error in a delta": ([*WORDS, {"choices": [{"delta": {"error": DIED}, "finish_reason": "stop"}]}], DIED),
    "an error after the end": ([*GOOD, {"error": DIED}], DIED),
    "an error that is no event": ([*GOOD, b"Internal Server Error\n\n"], "Internal Server Error"),
    "an error beside the events": ([*GOOD, b'{"error": "EngineCore died"}\n\n'], DIED),
    "several choices": ([*WORDS, {"choices": [{"index": "1", "text": "b"}]}, *GOOD[4:]], "several choices"),
    "more after the end": ([*WORDS, END, *WORDS, END, usage(8)], "came after it had ended"),
    "two models": ([text("a", model="a"), text("b", "stop", model="b"), usage(2)], "two models answered"),
}
DOUBTFUL: dict[str, tuple[Sequence[object], str]] = {
    "a text": ([*WORDS, END, usage(4, cached_tokens="12")], "no number of tokens"),
    "a fraction": ([*WORDS, END, usage(4, completion_tokens_details={"reasoning_tokens": 3.5})], "no number of tokens"),
    "another total": ([*WORDS, END, usage(4, total_tokens=2)], "2 tokens in all"),
    "a placeholder": ([*reasoning(1, reasoning="..."), *WORDS, END, usage(304, **REASONED)], "counted 304 tokens"),
    "a summary": ([*reasoning(1, reasoning_summary="Hm"), *WORDS, END, usage(5)], "came as a summary"),
    "rejected": ([*WORDS, END, usage(9, completion_tokens_details={"rejected_prediction_tokens": 8})], "4 chunks came"),
    "too many": ([*WORDS, END, usage(1000)], "1000 tokens, and the 4 chunks"),
}
FINE: dict[str, Sequence[object]] = {
    "plain": GOOD,
    "another end of lines": [event(each).replace(b"\n", b"\r\n") for each in GOOD],
    "nothing behind data": [b"data:\n\n", *WORDS, b"data: \n\n", END, usage(4), "[DONE] "],
    "signs of life": [b": ping\n\n", *WORDS, b"event: ping\ndata: 17\n\n", b"event: ping\ndata: {}\n\n", END, usage(4)],
    "an end of TGI": [*WORDS, text("", "eos_token"), usage(4)],
    "an end of Mistral": [*WORDS, text("", "model_length"), usage(4)],
    "usage of Groq": [*WORDS, END, {"choices": [], "x_groq": usage(4)}],
    "reasoning beside the output": [*WORDS, END, usage(4, total_tokens=307)],
    "thoughts": [*reasoning(3, thoughts=" Hm"), *WORDS, END, usage(7)],
    "sound": [delta(audio={"data": "UklGRg=="}), delta(audio={"data": "UklGRg=="}), delta("stop"), usage(2)],
}


def wire(events: Sequence[object]) -> bytes:
    pieces = [piece if isinstance(piece, bytes) else event(piece) for piece in events]
    return STREAM_HEAD + b"".join(map(chunk, pieces)) + STREAM_END


def ask_by_client(answer: bytes, *, streamed: bool = True) -> RequestTiming:
    exchange = Exchange(Target.parse("http://127.0.0.1:1/v1"), "/chat/completions", b"{}")
    exchange.begin()
    exchange.sent_ns = 1
    assert exchange.receive(answer, 2)
    return Call(exchange, openai.read, lambda: None, streamed).answer().timing


def ask_by_load(answer: bytes, *, streamed: bool = True) -> RequestTiming:
    flight = Flight(0, b"", Order(0, b"{}"), None)
    assert flight.answer.take(answer, 2)
    flight.sent_ns, flight.end_ns = 1, 2
    finished, strings = FinishedRequests(openai.read, streamed=streamed, most_bytes=1), Strings()
    packed = pack_timing(0, finished.read_answer(flight).timing, strings)
    [(_, timing)] = unpack_timings(packed, strings.known)
    return timing


def ask_by_app(answer: bytes, body: bytes = b"{}") -> RequestTiming:
    recorded = RecordedCalls()
    recorded.open(1)
    exchanges = Exchanges(recorded, "upstream:80")
    exchanges.take_request(call(body), 1)
    exchanges.take_answer(answer, 2)
    [taken] = recorded.take(3, final=True)
    timing = read_timing(taken)
    assert timing is not None
    return timing


WAYS: dict[str, Callable[[bytes], RequestTiming]] = {
    "client": ask_by_client,
    "load": ask_by_load,
    "app": ask_by_app,
}


def describe(timing: RequestTiming) -> tuple[object, ...]:
    """What the readers may differ in."""
    counts = (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, timing.hidden_tokens)
    chunks = [(chunk.at_ns, chunk.kind, chunk.tokens) for chunk in timing.chunks]
    return timing.error, timing.count_fault, *counts, timing.finish_reason, timing.model, chunks


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_stream_fails_whoever_asked(way: str) -> None:
    for name, (events, words) in FAILED.items():
        timing = WAYS[way](wire(events))
        assert words in (timing.error or ""), name
        assert describe(timing) == describe(ask_by_client(wire(events))), name


@pytest.mark.parametrize("way", WAYS)
def test_doubtful_counts_are_doubted_whoever_asked(way: str) -> None:
    for name, (events, words) in DOUBTFUL.items():
        timing = WAYS[way](wire(events))
        assert (timing.error, words in timing.count_fault) == (None, True), name
        assert describe(timing) == describe(ask_by_client(wire(events))), name


@pytest.mark.parametrize("way", WAYS)
def test_a_good_stream_is_good_whoever_asked(way: str) -> None:
    for name, events in FINE.items():
        timing = WAYS[way](wire(events))
        assert (timing.error, timing.count_fault, len(timing.chunks) > 1) == (None, "", True), name
        assert describe(timing) == describe(ask_by_client(wire(events))), name


WHOLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "good": (text(" w w", "stop", usage={"completion_tokens": 2}), "", ""),
    "aborted": (text(" w w", "abort"), "ended with 'abort'", ""),
    "too many": (text("Yes", "stop", usage={"completion_tokens": 500}), "", "500 tokens, and the answer has 3 bytes"),
    "a status": (text(" w w", "stop", status="failed", message=DIED), DIED, ""),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_answer_is_the_same_whoever_asked(name: str) -> None:
    body, error, fault = WHOLE[name]
    answer = sized(body).replace(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    client = ask_by_client(answer, streamed=False)
    assert (error in (client.error or ""), bool(error)) == (True, client.error is not None)
    assert (fault in client.count_fault, bool(fault)) == (True, bool(client.count_fault))
    assert describe(ask_by_load(answer, streamed=False)) == describe(ask_by_app(answer)) == describe(client)


@pytest.mark.parametrize("asked", [{"n": 2}, {"prompt": ["x", "y"]}])
def test_choices_without_numbers_are_refused_where_the_app_asked_for_several(asked: dict[str, Any]) -> None:
    chunks = [{"choices": [{"text": " w"}]}] * 4
    answer = wire([*chunks, {"choices": [{"finish_reason": "stop"}]}, usage(4)])
    assert ask_by_app(answer, json.dumps(asked).encode()).error == openai.SEVERAL_CHOICES
    assert ask_by_app(answer).error is None
    assert ask_by_app(wire(GOOD), json.dumps(asked).encode()).error is None


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("ending", ["length", "stop", "abort", "error", "repetition"])
def test_what_ends_inside_pytest_ends_as_it_does_from_a_server(
    monkeypatch: pytest.MonkeyPatch, ending: str, *, stream: bool
) -> None:
    install(monkeypatch)
    llm = FakeLLM()
    llm.llm_engine.ending = ending
    transport = InProcessTransport(llm)
    client = LLMClient(Endpoint("", "m"), Dialect(transport=lambda _: transport))
    served = ask_by_client(wire([*WORDS[:2], text("", ending), usage(2)])).error
    try:
        error = client.generate("a", max_tokens=2, stream=stream).timing.error
    except RequestFailed as failed:
        error = failed.timing.error
    assert error == (served if stream or served is None else served.replace("the stream", "the answer"))
