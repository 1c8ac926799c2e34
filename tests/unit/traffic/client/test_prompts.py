from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.measurement.prompts import Prompt, PromptHistory
from pytest_llmperf.traffic.client.prompts import find_prompt, parse_prompt

LONG = "It was a bright cold day in April, and the clocks were striking thirteen. " * 4
TOOLS = [{"type": "function", "function": {"name": "look_up"}}]


def say(content: object, role: str = "user") -> dict[str, object]:
    return {"role": role, "content": content}


BODIES: dict[str, dict[str, Any]] = {
    "completions": {"prompt": LONG},
    "token ids": {"prompt": [1, 22, 333]},
    "several prompts": {"prompt": [LONG, "x"]},
    "chat": {"messages": [say(LONG)]},
    "chat in parts": {"messages": [say([{"type": "text", "text": LONG}])]},
    "chat with tools": {"messages": [say(LONG)], "tools": TOOLS},
    "responses": {"instructions": "Be brief.", "input": LONG},
    "responses in parts": {"input": [say([{"type": "input_text", "text": LONG}])]},
    "ollama generate": {"system": "Be brief.", "prompt": LONG, "raw": True},
    "ollama chat": {"messages": [say(LONG) | {"images": ["aGVsbG8="]}]},
    "anthropic": {"system": [{"type": "text", "text": "Be brief."}], "messages": [say(LONG)]},
}


def prompt(body: dict[str, Any]) -> Prompt:
    found = find_prompt({"model": "m", **body})
    assert found is not None
    return found


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_prompt_is_all_that_the_model_reads(body: dict[str, Any]) -> None:
    asked = {"model": "m", "max_tokens": 4, "temperature": 0.5, "stream": True}
    assert find_prompt({**body, **asked}) == prompt(body)
    assert parse_prompt(json.dumps({**body, **asked}).encode()) == prompt(body)


def test_prompts_of_different_requests_are_different() -> None:
    assert len({prompt(body).marks for body in BODIES.values()}) == len(BODIES)
    assert prompt({"prompt": [1, 23]}) != prompt({"prompt": [12, 3]})
    assert prompt({"messages": [say("a"), say("b")]}) != prompt({"messages": [say("ab")]})
    assert prompt({"messages": [say("a", "system")]}) != prompt({"messages": [say("a")]})


def test_a_chat_goes_on_from_its_earlier_turns() -> None:
    history = PromptHistory()
    history.add(prompt({"messages": [say(LONG)], "tools": TOOLS}))
    later = prompt({"messages": [say(LONG), say("Yes.", "assistant"), say("Why?")], "tools": TOOLS})
    assert history.find_overlap(later).least >= len(LONG) / 1.5
    assert not history.find_overlap(prompt({"messages": [say(LONG)]})).least


def test_what_moves_as_a_chat_goes_on_is_no_part_of_the_prompt() -> None:
    marked = {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}
    assert prompt({"messages": [say([marked])]}) == prompt({"messages": [say([{"type": "text", "text": LONG}])]})


@pytest.mark.parametrize("apart", [{"model": "n"}, {"cache_salt": "1"}, {"llmperf_nonce": "[1] "}])
def test_models_and_salts_have_nothing_in_common(apart: dict[str, str]) -> None:
    assert find_prompt({"model": "m", "prompt": LONG, **apart}) != prompt({"prompt": LONG})


def test_only_text_has_a_length() -> None:
    assert prompt({"prompt": "four"}).length == 4
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1000}}
    assert prompt({"messages": [say([{"type": "text", "text": "four"}, image])], "tools": TOOLS}).length == 4
    assert prompt({"prompt": "four", "images": ["A" * 1000]}).length == 4


def test_a_request_may_keep_its_prompt_from_a_cache() -> None:
    assert find_prompt({"prompt": "x", "cache_prompt": False}) == find_prompt({"prompt": "x"}, fresh=True)
    assert find_prompt({"prompt": "x", "cache_prompt": True}) == find_prompt({"prompt": "x"})


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b"\xff", b'{"prompt": ' + b"[" * 100_000], ids=repr)
def test_a_body_that_cannot_be_read_has_no_prompt(body: bytes) -> None:
    assert parse_prompt(body) is None


def test_a_body_without_a_prompt_has_an_empty_one() -> None:
    assert prompt({}).length == 0
