"""Answers of every kind that a real engine rightly gives: none of them may be refused, and no count doubted."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers import openai_responses
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.llm_client import LLMClient

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine

TOOL_CALL = "with a tool call"
WEATHER = {
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
    TOOL_CALL: {
        "messages": "What is the weather in Rome?",
        "max_tokens": 60,
        "tools": [WEATHER],
        "tool_choice": "required",
    },
}


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
    body = {"model": engine.model, "input": "Say yes.", "stream": stream, **asked}
    sent_ns = time.monotonic_ns()
    request = urllib.request.Request(
        f"{engine.base_url}/responses", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        pieces = [(time.monotonic_ns(), line) for line in response]
        kind = response.headers["content-type"]
    return openai_responses.read(Arrival(sent_ns, pieces[-1][0], pieces, 200, kind, streamed=stream))


def list_doubts(answers: dict[str, Answer]) -> dict[str, str | None]:
    """What speaks against each answer against which something speaks."""
    doubts = {kind: answer.timing.error or answer.timing.count_fault for kind, answer in answers.items()}
    return {kind: doubt for kind, doubt in doubts.items() if doubt}
