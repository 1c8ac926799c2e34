"""Our own readers find whole what the simulated engine answers, streamed or not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.answers import openai, openai_responses
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.anthropic import messages
from pytest_llmperf.traffic.answers.inputs import reader

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.helpers.simulated_process import Running

QUESTION = "What is the weather in Oslo?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
MESSAGES = [{"role": "user", "content": QUESTION}]
FUNCTION = {"name": "look_up_weather", "parameters": SCHEMA}
PATHS: dict[str, tuple[Callable[[Arrival], Answer], dict[str, Any], dict[str, Any]]] = {
    "/v1/chat/completions": (
        openai.read,
        {"messages": MESSAGES, "stream_options": {"include_usage": True}},
        {"tools": [{"type": "function", "function": FUNCTION}]},
    ),
    "/v1/responses": (openai_responses.read, {"input": QUESTION}, {"tools": [{"type": "function", **FUNCTION}]}),
    "/v1/messages": (
        messages.read,
        {"messages": MESSAGES, "max_tokens": 64},
        {"tools": [{"name": "look_up_weather", "input_schema": SCHEMA}]},
    ),
}
SETTINGS: list[dict[str, Any]] = [
    {"output_tokens": 6},
    {"output_tokens": 6, "tokens_per_chunk": 4},
    {"output_tokens": 8, "reasoning_tokens": 3},
    {"output_tokens": 8, "reasoning_tokens": 3, "tokens_per_chunk": 2},
]


def ask(server: Running, path: str, read: Callable[[Arrival], Answer], body: dict[str, Any]) -> Answer:
    status, kind, text = server.send(path, body)
    streamed = body.get("stream") is True
    parts = [f"{event}\n\n" for event in text.split("\n\n")[:-1]] if streamed else [text]
    pieces = [(at, part.encode()) for at, part in enumerate(parts, 1)]
    return read(Arrival(0, len(pieces) + 1, pieces, status, kind, streamed=streamed))


@pytest.mark.parametrize("settings", SETTINGS, ids=json.dumps)
@pytest.mark.parametrize("with_tools", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_the_same_whole_and_streamed(
    server: Running, path: str, with_tools: bool, settings: dict[str, Any]
) -> None:
    read, body, tools = PATHS[path]
    body = {**body, "simulate": settings, **(tools if with_tools else {})}
    streamed = ask(server, path, read, {**body, "stream": True})
    whole = ask(server, path, read, {key: value for key, value in body.items() if key != "stream_options"})
    for answer in (streamed, whole):
        assert answer.timing.error is None
        # A response that calls a tool has the status of any other.
        assert answer.timing.finish_reason in (("tool_calls", "stop") if with_tools else ("stop",))
        assert len(answer.tool_calls) == with_tools
        assert bool(answer.reasoning) == ("reasoning_tokens" in settings)
    assert (streamed.text, streamed.reasoning) == (whole.text, whole.reasoning)
    assert streamed.timing.output_tokens == whole.timing.output_tokens
    assert streamed.timing.prompt_tokens == whole.timing.prompt_tokens
    assert streamed.timing.chunks


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_that_ends_with_an_error_is_a_failed_request(server: Running, path: str) -> None:
    read, body, _ = PATHS[path]
    answer = ask(server, path, read, {**body, "stream": True, "simulate": {"fail_after": 2}})
    assert answer.timing.error is not None
    assert "simulated failure" in answer.timing.error


@pytest.mark.parametrize(
    ("path", "read", "body", "tokens"),
    [
        ("/v1/embeddings", reader.read_embeddings, {"input": ["one two", "three"]}, 3),
        ("/v1/embeddings", reader.read_embeddings, {"input": ["one two"], "encoding_format": "base64"}, 2),
        ("/v1/rerank", reader.read_scores, {"query": "one", "documents": ["two", "three four"]}, 5),
        ("/v1/score", reader.read_scores, {"text_1": "one", "text_2": ["two", "three four"]}, 5),
    ],
)
def test_what_generates_no_text_is_read_too(
    server: Running, path: str, read: Callable[[Arrival], Answer], body: dict[str, Any], tokens: int
) -> None:
    answer = ask(server, path, read, body)
    assert answer.timing.error is None
    assert answer.timing.prompt_tokens == tokens
