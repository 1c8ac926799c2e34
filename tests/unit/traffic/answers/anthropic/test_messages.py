"""Anthropic's own server and gateways in front of it say more than the engines do: by its public description."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers.anthropic.messages import read
from tests.helpers.arrivals import as_body, as_stream

START = {
    "type": "message_start",
    "message": {
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": "claude",
        "stop_reason": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 5,
            "cache_read_input_tokens": 7,
            "output_tokens": 1,
        },
    },
}
STOP = {"type": "message_stop"}


def begin(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": fields}


def text(words: str, index: int = 0) -> dict[str, Any]:
    return delta(index, type="text_delta", text=words)


def end(reason: str | None, tokens: int | None = 2) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": tokens}}


def test_thinking_text_and_calls_of_tools_come_in_blocks() -> None:
    answer = read(
        as_stream(
            START,
            {"type": "ping"},
            begin({"type": "thinking", "thinking": ""}),
            delta(type="thinking_delta", thinking="hm "),
            delta(type="thinking_delta", thinking="yes"),
            delta(type="signature_delta", signature="abc"),
            begin({"type": "text", "text": ""}, 1),
            text("Let me look.", 1),
            delta(1, type="citations_delta", citation={}),
            begin({"type": "tool_use", "id": "t1", "name": "weather", "input": {}}, 2),
            delta(2, type="input_json_delta", partial_json=""),
            delta(2, type="input_json_delta", partial_json='{"city": '),
            delta(2, type="input_json_delta", partial_json='"Rome"}'),
            begin({"type": "web_search_tool_result", "content": {"error_code": "max_uses_exceeded"}}, 3),
            end("tool_use", 20),
            STOP,
        )
    )
    timing = answer.timing
    assert (timing.error, timing.count_fault) == (None, "")
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("Let me look.", "hm yes", "tool_calls")
    called = {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert answer.tool_calls == [{"id": "t1", "type": "function", "function": called}]
    assert [chunk.kind for chunk in timing.chunks] == ["reasoning", "reasoning", "text", "tool", "tool", "tool"]
    assert (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, timing.model) == (20, 15, 7, "claude")
    assert (timing.ttft, timing.ttft_answer) == (0.04, 0.08)


def test_the_same_comes_whole() -> None:
    content = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Yes."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Rome"}},
    ]
    usage = {"input_tokens": 4, "output_tokens": 9}
    body = {"type": "message", "model": "claude", "content": content, "stop_reason": "tool_use", "usage": usage}
    answer = read(as_body(body))
    assert (answer.timing.error, answer.timing.count_fault, answer.timing.chunks) == (None, "", ())
    assert (answer.text, answer.reasoning) == ("Yes.", "hm")
    assert answer.tool_calls[0]["function"] == {"name": "weather", "arguments": '{"city": "Rome"}'}
    assert (answer.timing.output_tokens, answer.timing.prompt_tokens) == (9, 4)


@pytest.mark.parametrize(
    ("events", "error"),
    [
        ([START, begin({"type": "text", "text": ""}), text("a")], "the stream ended without a finish reason"),
        ([START, text("a"), end("paused")], "the answer ended with 'paused'"),
        ([START, text("a"), end("end_turn"), text("b"), STOP], "more of the answer came after it had ended with"),
        ([START, end("end_turn", 1), STOP], "the answer is empty: it ended with 'stop' after 1 token"),
        ([START, text("a"), {"type": "error", "error": {"message": "Overloaded"}}], "the server reported an error: Ov"),
        ([START, text("a"), START, text("b"), end("end_turn")], "a second answer began in the same stream"),
        ([{"type": "ping"}], "status 200 without an answer"),
        (["nonsense"], "the server sent something that is not a JSON object: 'nonsense'"),
    ],
)
def test_what_is_no_whole_answer_is_a_failed_request(events: list[Any], error: str) -> None:
    assert (read(as_stream(*events)).timing.error or "").startswith(error)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}},
            "the server reported an error: busy",
        ),
        (
            {"type": "message", "model": "m", "content": [], "stop_reason": "end_turn"},
            "the answer is empty: it ended w",
        ),
        (
            {"type": "message", "model": "m", "content": [{"type": "text", "text": "a"}]},
            "the answer ended without a fi",
        ),
    ],
)
def test_a_body_that_is_no_answer_is_a_failed_request(body: dict[str, Any], error: str) -> None:
    assert (read(as_body(body)).timing.error or "").startswith(error)


@pytest.mark.parametrize(("reason", "finish"), [("refusal", "content_filter"), ("pause_turn", "stop")])
def test_endings_have_the_words_of_other_protocols(reason: str, finish: str) -> None:
    answer = read(as_stream(START, text("a"), end(reason), STOP))
    assert (answer.timing.error, answer.finish_reason) == (None, finish)


def test_what_the_server_did_not_count_is_not_known() -> None:
    timing = read(as_stream({**START, "message": {"model": "m"}}, text("a"), end("end_turn", None), STOP)).timing
    assert (timing.error, timing.output_tokens, timing.prompt_tokens) == (None, None, None)


def test_a_count_that_is_not_of_what_came_is_doubted() -> None:
    timing = read(as_stream(START, text("a"), text("b"), text("c"), end("end_turn", 2), STOP)).timing
    assert timing.count_fault == "the server counted 2 tokens, and 3 chunks came"
