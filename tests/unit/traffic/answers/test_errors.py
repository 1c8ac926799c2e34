"""Errors in the forms in which servers report them, with whatever status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from tests.helpers.arrivals import as_body, as_lines, as_stream

DIED = "EngineCore died"
SHAPES: list[dict[str, Any]] = [
    {"error": DIED},
    {"error": {"message": DIED, "type": "x", "code": 500}},
    {"error": {"msg": DIED}},
    {"error": [{"message": DIED}]},
    {"error": {"error": {"message": DIED}}},
    {"error": '{"error": {"code": 500, "message": "EngineCore died"}}'},
    {"error": True, "message": DIED},
    {"errors": [{"message": DIED}]},
    {"object": "error", "message": DIED, "type": "InternalServerError", "param": None, "code": 500},
    {"type": "error", "error": {"type": "overloaded_error", "message": DIED}},
    {"type": "error", "message": DIED},
    {"detail": DIED},
    {"detail": [{"loc": ["body"], "msg": DIED, "type": "value_error"}]},
    {"detail": {"error": DIED}},
    {"message": DIED, "code": 500},
    {"msg": DIED, "code": 50001},
    {"status": "error", "message": DIED},
    {"success": False, "message": DIED},
    {"error_code": 17, "error_msg": DIED},
    {"err": DIED},
    {"errcode": 17, "errmsg": DIED},
    {"err_no": 17, "err_msg": DIED},
    {"fault": {"faultstring": DIED}},
    {"error_code": "E17", "message": DIED},
    {"errorMessage": DIED, "errorType": "Crash"},
    {"exception": DIED},
    {"exception": {"type": "RuntimeError", "message": DIED}},
    {"failure_reason": DIED},
    {"status": "failed", "message": DIED},
    {"status": "FAILED", "detail": DIED},
    {"state": "aborted", "description": DIED},
    {"status_code": 503, "description": DIED},
    {"code": "500", "message": DIED},
    {"ok": False, "reason": DIED},
    {"type": "server_error", "message": DIED},
    {"choices": [], "message": DIED, "code": 500},
    {"choices": [], "message": DIED, "code": "worker_lost"},
    {"choices": [], "usage": {"completion_tokens": 2}, "message": DIED, "status": 500},
    {"choices": [], "error_msg": DIED},
    {"choices": [], "detail": DIED},
    {"choices": [{"delta": {"content": "", "error": {"message": DIED}}}]},
    {"choices": [{"delta": {"error": DIED}, "finish_reason": "stop"}]},
    {"choices": [{"message": {"content": "a", "exception": DIED}}]},
    {"x_groq": {"id": "req_1", "error": DIED}},
    {"choices": [], "message": DIED},
    {"base_resp": {"status_code": 1004, "status_msg": DIED}},
    {"choices": [], "header": {"code": 10013, "message": DIED}},
    {"internalServerException": {"message": DIED}},
    {"model_stream_error": DIED},
    {"abort_reason": DIED},
    {"__type": "ThrottlingException", "message": DIED},
    {"event": "error", "message": DIED},
    {"status": "running", "detail": DIED},
    {"type": "about:blank", "title": DIED, "status": 503},
]
CHUNK = {"choices": [{"index": 0, "text": "a", "finish_reason": None}]}
ENDING = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_of_any_form_is_found_and_told_in_its_own_words(shape: dict[str, Any]) -> None:
    assert find_error(shape) == DIED


@pytest.mark.parametrize("shape", SHAPES)
def test_an_error_in_a_stream_of_any_protocol_is_a_failed_request(shape: dict[str, Any]) -> None:
    answers = [
        openai.read(as_stream(CHUNK, CHUNK, shape, "[DONE]")),
        openai.read(as_stream(CHUNK, CHUNK, ENDING, shape, "[DONE]")),
        openai.read(as_stream(CHUNK, CHUNK, ENDING, "[DONE]", shape)),
        openai.read(as_stream(CHUNK, CHUNK, ENDING, "[DONE]", shape, "[DONE]")),
        openai_responses.read(as_stream({"type": "response.output_text.delta", "delta": "a"}, shape)),
        ollama.read(as_lines({"response": "a", "done": False}, shape)),
        ollama.read(as_lines({"response": "a", "done": True, "done_reason": "stop", "eval_count": 1}, shape)),
        openai.read(as_body(shape)),
        openai_responses.read(as_body(shape)),
        ollama.read(as_body(shape)),
    ]
    assert {answer.timing.error for answer in answers} == {f"the server reported an error: {DIED}"}


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (b'event: error\ndata: {"message": "EngineCore died"}\n\n', DIED),
        (b"event: error\ndata: EngineCore died\n\n", DIED),
        (b'error: {"message": "EngineCore died"}\n\n', DIED),
        (b"event: error\ndata: {}\n\n", '{"event": "error"}'),
        (b"event: error\n\n", "an event of that name"),
        (b'{"error": {"message": "EngineCore died"}}\n', DIED),
        (b"exception: EngineCore died\n\n", DIED),
        (b"Error: EngineCore died\n", DIED),
        (b'event: internalServerException\ndata: {"message": "EngineCore died"}\n\n', DIED),
        (b'event: chat.error\ndata: {"message": "EngineCore died"}\n\n', DIED),
    ],
)
def test_an_error_event_is_an_error_whatever_it_carries(event: bytes, words: str) -> None:
    arrival = as_stream(CHUNK, ENDING)
    broken = replace(arrival, pieces=[*arrival.pieces, (95, event)])
    for read in (openai.read, openai_responses.read):
        assert read(broken).timing.error == f"the server reported an error: {words}"


FOREIGN = [
    b"Internal Server Error",
    b"upstream connect error or disconnect/reset before headers. reset reason: overflow",
    b"Traceback (most recent call last):",
    b"<html><body>502 Bad Gateway</body></html>",
    b'{"error": {',
]


@pytest.mark.parametrize("line", FOREIGN, ids=lambda line: line.decode()[:20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""], ids=["lf", "crlf", "cut"])
def test_text_that_is_no_event_is_an_error_also_after_a_good_end(line: bytes, end: bytes) -> None:
    arrival = as_stream(CHUNK, ENDING, "[DONE]")
    read = openai.read(replace(arrival, pieces=[*arrival.pieces, (95, line + end)]))
    said = f"the server sent something that is not a JSON object: {line.decode()!r}"
    assert read.timing.error == said


@pytest.mark.parametrize("flag", ["aborted", "cancelled", "timed_out", "Failed"])
def test_a_flag_that_tells_of_a_failure_is_an_error(flag: str) -> None:
    for last in ({"choices": [], flag: True}, {"choices": [{"delta": {}, "finish_reason": "stop", flag: True}]}):
        assert openai.read(as_stream(CHUNK, ENDING, last)).timing.error == f"the server reported an error: {flag}"


def test_the_ending_of_the_server_behind_a_gateway_is_believed() -> None:
    choice = {"delta": {}, "finish_reason": "stop", "native_finish_reason": "ABORTED"}
    error = openai.read(as_stream(CHUNK, {"choices": [choice]})).timing.error
    assert error == "the server reported an error: native_finish_reason is 'ABORTED'"


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"type": "about:blank", "title": "Too Many Requests"}, "Too Many Requests"),
        ({"title": "The model went away", "instance": "/v1/chat/completions"}, "The model went away"),
        ({"choices": [], "stats": {"stop_reason": "failed", "tokens": 3}}, "stop_reason is 'failed'"),
        ({"choices": [], "stats": {"stop_reason": "modelUnloaded"}}, "stop_reason is 'modelUnloaded'"),
        ({"choices": [], "stats": {"stopReason": "userStopped"}}, "stopReason is 'userStopped'"),
        ({"choices": [], "success": False}, '{"success": false}'),
        ({"choices": [], "is_error": True}, '{"is_error": true}'),
        ({"choices": [], "error": {"code": 500, "message": "OK"}}, "OK"),
    ],
)
def test_signs_of_an_error_without_its_words_are_one(last: dict[str, Any], words: str) -> None:
    assert openai.read(as_stream(CHUNK, ENDING, last)).timing.error == f"the server reported an error: {words}"


def test_an_error_inside_a_choice_is_an_error() -> None:
    choice = {"delta": {"content": ""}, "finish_reason": "error", "error": {"code": 502, "message": DIED}}
    assert openai.read(as_stream(CHUNK, {"choices": [choice]})).timing.error == f"the server reported an error: {DIED}"


@pytest.mark.parametrize(
    "good",
    [
        {"error": None},
        {"error": ""},
        {"error": {"message": "", "code": None}},
        {"errors": []},
        {"status": "success"},
        {"message": {"role": "assistant", "content": "a"}, "done": False},
        {"type": "ping"},
        {"detail": None},
        {"error_code": 0, "message": "success"},
        {"error": {"code": 0, "message": ""}, "exception": None, "fault": False},
        {"errcode": 0, "errmsg": "ok", "err": None},
        {"code": 200, "message": ""},
        {"choices": [], "usage": {"completion_tokens": 2}, "code": 0, "message": "ok"},
        {"choices": [], "status": "completed", "state": "done"},
        {"choices": [{"delta": {"content": "an error", "error": None}}], "error_code": "0", "default": 1},
        {"type": "ping", "message": "alive"},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"choices": [], "message": "", "usage": {"completion_tokens": 2}},
        {"cancelled": False, "expired": None, "finished": True},
        {"choices": [{"delta": {}, "finish_reason": "stop", "native_finish_reason": "end_turn"}]},
        {"choices": [], "stats": {"stop_reason": "eosFound"}},
        {"choices": [], "metadata": {"error": "what the request said"}},
        {"type": "title", "title": "About cats"},
        {"x_groq": {"id": "req_1", "usage": {"completion_tokens": 2}}},
        {"error": {"code": 0, "message": "success"}},
        {"error": {"code": "0", "message": "", "details": [None]}},
        {"error": "No error"},
        {"error_code": 0, "error_msg": "success"},
        {"choices": [], "header": {"code": 20000, "message": "Success"}},
        {"choices": [], "code": 20000, "message": "success"},
        {"type": "info", "message": "2 requests are before this one"},
        {"status": "loading", "message": "the model is being loaded"},
        {"choices": [{"delta": {}, "finish_reason": "stop", "stop_reason": "error"}]},
        {"tool_error": "the file was not found"},
    ],
)
def test_what_reports_no_error_is_none(good: dict[str, Any]) -> None:
    assert find_error(good) == ""


def test_what_stands_beside_an_answer_is_no_error() -> None:
    assert find_error({**CHUNK, "message": "hello", "code": 0, "detail": "fine"}) == ""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("404 page not found", "404 page not found"),
        ('{"error": {"message": "no such model"}}', "no such model"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"object": "error", "message": "no such model", "code": 404}', "no such model"),
        ('{"message": "Forbidden"}', "Forbidden"),
        ('{"error": ""}', '{"error": ""}'),
        ('{"error": "[1]"}', "[1]"),
        ("[1]", "[1]"),
        ("[" * 100_000, "[" * 200),
        ("a\x1b[31mred\x07", "a\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_whatever_a_server_refuses_with_becomes_one_line_that_can_be_printed(body: str, words: str) -> None:
    assert describe_refusal(body) == words
