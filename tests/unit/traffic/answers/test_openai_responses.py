from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.openai_responses import read

USAGE = {"input_tokens": 7, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3, "total_tokens": 10}
OUTPUT = [
    {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "message", "content": [{"type": "output_text", "text": "one two"}]},
    {"type": "function_call", "name": "f", "arguments": "{}"},
]


def response(status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": OUTPUT, "usage": USAGE, "error": None, **more}


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def delta(kind: str, text: str) -> bytes:
    return sse({"type": f"response.{kind}.delta", "delta": text})


def streamed(*events: bytes, **details: Any) -> Answer:
    pieces = [(10 * number, event) for number, event in enumerate(events, start=1)]
    return read(Arrival(1, 99, pieces, 200, "text/event-stream", **details))


def test_a_stream_has_a_chunk_for_each_delta_and_its_counts_at_the_end() -> None:
    answer = streamed(
        sse({"type": "response.created", "response": response("in_progress", usage=None)}),
        delta("reasoning_text", "hm"),
        delta("output_text", "one"),
        delta("output_text", ""),
        delta("output_text", " two"),
        delta("function_call_arguments", "{}"),
        sse({"type": "response.completed", "response": response()}),
    )
    timing = answer.timing
    assert [(c.at_ns, c.kind) for c in timing.chunks] == [(20, "reasoning"), (30, "text"), (50, "text"), (60, "tool")]
    assert (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens) == (3, 7, 4)
    assert (timing.finish_reason, timing.error, timing.streamed) == ("stop", None, True)
    assert (answer.text, answer.reasoning, len(answer.tool_calls)) == ("one two", "hm", 1)


def test_a_whole_answer_has_no_chunks() -> None:
    answer = read(Arrival(1, 99, [(50, json.dumps(response()).encode())], 200, "application/json"))
    assert (answer.timing.streamed, answer.timing.chunks, answer.timing.output_tokens) == (False, (), 3)
    assert answer.timing.error is None
    assert answer.text == "one two"


@pytest.mark.parametrize(("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter")])
def test_an_answer_that_is_incomplete_for_a_known_reason_counts(reason: str, finish: str) -> None:
    event = {
        "type": "response.incomplete",
        "response": response("incomplete", incomplete_details={"reason": reason}),
    }
    answer = streamed(delta("output_text", "one"), sse(event))
    assert (answer.timing.finish_reason, answer.timing.error) == (finish, None)


@pytest.mark.parametrize(
    ("details", "why"),
    [
        (None, "its status is incomplete"),
        ({"reason": "worker_lost"}, "its status is incomplete for the reason 'worker_lost'"),
    ],
)
def test_an_answer_that_is_incomplete_for_another_reason_is_none(details: object, why: str) -> None:
    event = {"type": "response.incomplete", "response": response("incomplete", incomplete_details=details)}
    answer = streamed(delta("output_text", "one"), sse(event))
    assert (answer.timing.finish_reason, answer.timing.error) == (None, f"the answer ended unfinished, {why}")


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (
            sse({"type": "response.failed", "response": response("failed", error={"message": "out of memory"})}),
            "the server reported an error: out of memory",
        ),
        (sse({"type": "error", "code": "x", "message": "no"}), "the server reported an error: no"),
        (b"", "the answer ended unfinished, its status is not stated"),
    ],
)
def test_a_stream_that_ends_badly_says_how(last: bytes, error: str) -> None:
    assert streamed(delta("output_text", "one"), last).timing.error == error


def test_a_broken_connection_is_the_error() -> None:
    assert streamed(delta("output_text", "one"), fault="it broke").timing.error == "it broke"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"error": {"message": "no such model"}}', "HTTP 400: no such model"),
        (200, b"oops", "the server sent something that is not a JSON object: 'oops'"),
        (200, b'{"status": "queued"}', "the answer ended unfinished, its status is queued"),
    ],
)
def test_a_whole_answer_that_is_none_says_so(status: int, body: bytes, error: str) -> None:
    assert read(Arrival(1, 99, [(50, body)], status, "application/json")).timing.error == error


def test_a_program_that_the_model_wrote_is_no_error() -> None:
    program = sse({"type": "response.code_interpreter_call_code.done", "code": "err = x - 1"})
    end = sse({"type": "response.completed", "response": response()})
    assert streamed(delta("output_text", "one"), program, end).timing.error is None


@pytest.mark.parametrize("kind", ["reasoning", "reasoning_text", "reasoning_content", "thinking", "thinking_text"])
def test_reasoning_is_read_from_events_of_any_name(kind: str) -> None:
    end = sse({"type": "response.completed", "response": response()})
    timing = streamed(delta(kind, "hm"), delta("output_text", "one"), end).timing
    assert [chunk.kind for chunk in timing.chunks] == ["reasoning", "text"]


def test_what_comes_after_the_end_fails_the_request() -> None:
    end = sse({"type": "response.completed", "response": response()})
    error = streamed(delta("output_text", "one"), end, delta("output_text", "two")).timing.error
    assert error == "more of the answer came after it had ended with response.completed"
