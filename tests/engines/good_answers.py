"""Answers of every kind that a real engine rightly gives: none of them may be refused, and no count doubted."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.relay.paths import find_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.engine import Engine

TOOL_CALL = "with a tool call"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA = {"type": "object", "properties": {"colour": {"enum": ["red", "blue"]}}, "required": ["colour"]}
COMPLETIONS: dict[str, dict[str, Any]] = {
    "cut at its length": {"prompt": "The ocean is", "max_tokens": 12},
    "of one token": {"prompt": "The ocean is", "max_tokens": 1},
    "with log probabilities": {"prompt": "The ocean is", "max_tokens": 6, "logprobs": 2},
    "of half characters": {"prompt": "😀😃😄😁😆😅🤣😂🙂🙃", "max_tokens": 3},
    "of whole characters": {"prompt": "春眠不覺曉，處處聞啼鳥。夜來風雨聲，", "max_tokens": 24},
    "that ends at a stop word": {"prompt": "one, two, three, four, five, six,", "max_tokens": 40, "stop": ["ten"]},
    "that ends at a stop word, though told to go on": {
        "prompt": "one, two, three, four, five, six,",
        "max_tokens": 40,
        "stop": ["ten"],
        "ignore_eos": True,
    },
}
CHATS: dict[str, dict[str, Any]] = {
    "that ends by itself": {"messages": "Say yes.", "max_tokens": 200},
    "that goes on beyond its end": {"messages": "Say yes.", "max_tokens": 40, "ignore_eos": True},
    "of one token": {"messages": "Say yes.", "max_tokens": 1},
    "with log probabilities": {"messages": "Say yes.", "max_tokens": 4, "logprobs": True, "top_logprobs": 2},
    "in JSON": {
        "messages": "Red or blue? Answer in JSON.",
        "max_tokens": 60,
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}},
    },
    "in the words of a grammar": {
        "messages": "Red or blue?",
        "max_tokens": 20,
        "extra_body": {"grammar": 'root ::= "red" | "blue"'},
    },
    TOOL_CALL: {
        "messages": "What is the weather in Rome?",
        "max_tokens": 60,
        "tools": [WEATHER],
        "tool_choice": "required",
    },
}

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
MESSAGES: dict[str, dict[str, Any]] = {
    "cut at its length": {"messages": [{"role": "user", "content": "The ocean is"}], "max_tokens": 12},
    "of parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "Say yes."}]}], "max_tokens": 8},
    "that ends at a stop word": {
        "messages": [{"role": "user", "content": "Count to ten."}],
        "max_tokens": 40,
        "stop_sequences": ["a"],
    },
    TOOL_CALL: {
        "messages": [{"role": "user", "content": "What is the weather in Rome?"}],
        "max_tokens": 60,
        "tools": [{"name": "weather", "input_schema": WEATHER["function"]["parameters"]}],
        "tool_choice": {"type": "any"},
    },
}
# What no model of text alone can be asked.
WITH_AN_IMAGE: dict[str, list[dict[str, Any]]] = {
    "/v1/chat/completions": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}],
    "/v1/messages": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}],
}


def ask_about_an_image(engine: Engine) -> list[str | None]:
    """Why each of the paths on which an image may be sent refuses it."""
    return [
        ask_as_an_app(engine, path, {"messages": [{"role": "user", "content": parts}], "max_tokens": 4}).timing.error
        for path, parts in WITH_AN_IMAGE.items()
    ]


def ask_everything(engine: Engine, *left_out: str) -> dict[str, Answer]:
    """Asks for an answer of each kind but those ``left_out``, streamed and whole.

    Raises:
        RequestFailed: one was refused.
    """
    answers = {}
    with LLMClient(engine.endpoint, engine.dialect) as client:
        for stream in (True, False):
            way = "streamed" if stream else "whole"
            for kind, asked in COMPLETIONS.items():
                answers[f"completion {kind}, {way}"] = client.generate(**asked, stream=stream)
            for kind, asked in ((kind, asked) for kind, asked in CHATS.items() if kind not in left_out):
                answers[f"chat {kind}, {way}"] = client.chat(**asked, stream=stream)
    return answers


def ask_for_a_response(engine: Engine, *, stream: bool, **asked: Any) -> Answer:
    """Asks by ``/responses``."""
    return ask_as_an_app(engine, "/v1/responses", {"input": "Say yes.", **asked}, stream=stream)


def ask_for_messages(engine: Engine, *left_out: str) -> dict[str, Answer]:
    """Asks by Anthropic's ``/v1/messages`` for an answer of each kind but those ``left_out``, streamed and whole."""
    kinds = {kind: asked for kind, asked in MESSAGES.items() if kind not in left_out}
    return {
        f"message {kind}, stream={stream}": ask_as_an_app(engine, "/v1/messages", asked, stream=stream)
        for stream in (True, False)
        for kind, asked in kinds.items()
    }


def ask_as_an_app(engine: Engine, path: str, asked: Mapping[str, Any], *, stream: bool = False) -> Answer:
    """Asks on any path of the server, and reads the answer as the relay does."""
    endpoint = find_endpoint(path)
    assert endpoint is not None
    root, body = engine.base_url.removesuffix("/v1"), {"model": engine.model, "stream": stream, **asked}
    request = urllib.request.Request(f"{root}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    sent_ns = time.monotonic_ns()
    try:
        response = urllib.request.urlopen(request, timeout=120)
    except urllib.error.HTTPError as refusal:
        response = refusal
    with response:
        pieces = [(time.monotonic_ns(), line) for line in response]
        kind = response.headers["content-type"]
    return endpoint.read(Arrival(sent_ns, pieces[-1][0], pieces, response.status, kind, streamed=stream))


def list_doubts(answers: dict[str, Answer]) -> dict[str, str | None]:
    """What speaks against each answer against which something speaks."""
    doubts = {kind: answer.timing.error or answer.timing.count_fault for kind, answer in answers.items()}
    return {kind: doubt for kind, doubt in doubts.items() if doubt}
