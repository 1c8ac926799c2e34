from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.measurement.prompts import Prompt, PromptHistory
from pytest_llmperf.traffic.client.prompts import find_prompt, parse_prompt

LONG = "It was a bright cold day in April, and the clocks were striking thirteen. " * 4
ANY = "/generate"
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
    found = find_prompt(ANY, {"model": "m", **body})
    assert found is not None
    return found


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_prompt_is_all_that_the_model_reads(body: dict[str, Any]) -> None:
    asked = {"model": "m", "max_tokens": 4, "temperature": 0.5, "stream": True}
    assert find_prompt(ANY, {**body, **asked}) == prompt(body)
    assert parse_prompt(ANY, json.dumps({**body, **asked}).encode()) == prompt(body)


IMAGE = "aGVsbG8=" * 40
PARTS = [{"type": "text", "text": LONG}]
FORMS: dict[str, list[dict[str, Any]]] = {
    "text": [
        {"prompt": LONG},
        {"prompt": [LONG]},
        {"messages": [say(LONG)]},
        {"messages": [say(PARTS)]},
        {"messages": [say([{"type": "text", "text": LONG[:100]}, {"type": "text", "text": LONG[100:]}])]},
        {"messages": [say([{**PARTS[0], "cache_control": {"type": "ephemeral"}}])]},
        {"input": LONG},
        {"input": [say([{"type": "input_text", "text": LONG}])]},
        {"inputs": LONG},
        {"text": LONG, "sampling_params": {"max_new_tokens": 4}},
        {"contents": [{"role": "user", "parts": [{"text": LONG}]}]},
        {"model": "an-alias", "prompt": LONG},
        {"prompt": LONG, "cache_salt": "1", "cache_prompt": False, "llmperf_nonce": "[1] "},
    ],
    "with a system prompt": [
        {"messages": [say("Be brief.", "system"), say(LONG)]},
        {"messages": [say("Be brief.", "developer"), say(PARTS)]},
        {"system": "Be brief.", "messages": [say(LONG)]},
        {"system": [{"type": "text", "text": "Be brief."}], "messages": [say(LONG)]},
        {"instructions": "Be brief.", "input": LONG},
        {"system": "Be brief.", "prompt": LONG},
    ],
    "with an image": [
        {"prompt": LONG, "images": [IMAGE]},
        {"messages": [say(LONG) | {"images": [IMAGE]}]},
        {"messages": [say([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}, *PARTS])]},
        {"input": [say([{"type": "input_image", "image_url": f"data:image/png;base64,{IMAGE}"}, *PARTS])]},
        {"messages": [say([{"source": {"type": "base64", "media_type": "image/png", "data": IMAGE}}, *PARTS])]},
    ],
    "with a tool": [
        {"messages": [say(LONG)], "tools": [{"type": "function", "function": {"name": "look_up", "strict": True}}]},
        {"input": LONG, "tools": [{"type": "function", "name": "look_up"}]},
        {"messages": [say(LONG)], "functions": [{"name": "look_up"}]},
    ],
    "with a tool call": [
        {"messages": [say("", "assistant") | {"tool_calls": [{"id": one, "function": {"name": "f"}}]}, say(LONG)]}
        for one in ("call_1", "call_2")
    ],
    "tokens": [{"prompt": [1, 22, 333]}, {"input_ids": [1, 22, 333]}, {"prompt_token_ids": [1, 22, 333]}],
}
SAME = [(name, number) for name, forms in FORMS.items() for number in range(1, len(forms))]


@pytest.mark.parametrize(("name", "number"), SAME)
def test_a_prompt_is_its_text_in_whatever_form_it_is_sent(name: str, number: int) -> None:
    assert prompt(FORMS[name][number]) == prompt(FORMS[name][0])


def test_prompts_of_different_texts_are_different() -> None:
    assert len({prompt(forms[0]).marks for forms in FORMS.values()}) == len(FORMS)
    assert prompt({"prompt": [1, 23]}) != prompt({"prompt": [12, 3]})
    assert prompt({"prompt": "a"}) != prompt({"prompt": "b"})


PATHS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [say("asked")]},
    "/api/chat": {"messages": [say("asked")]},
    "/v1/messages": {"messages": [say("asked")]},
    "/v1/completions": {"prompt": "asked"},
    "/api/generate": {"prompt": "asked"},
    "/v1/responses": {"input": "asked"},
}
OTHERS: dict[str, Any] = {"messages": [say("other")], "prompt": "other", "input": "other", "text": {"verbosity": "low"}}


@pytest.mark.parametrize("path", PATHS)
def test_the_fields_of_another_protocol_are_no_part_of_the_prompt(path: str) -> None:
    assert find_prompt(path, {**OTHERS, **PATHS[path]}) == find_prompt(ANY, {"prompt": "asked"})


@pytest.mark.parametrize("key", ["prompt", "text"])
def test_a_request_for_several_prompts_has_sent_each_of_them(key: str) -> None:
    history = PromptHistory()
    history.add(prompt({key: ["one", "two", "three"]}))
    for single in ("one", "two", "three"):
        assert history.find_overlap(prompt({"messages": [say(single)]})).whole
    assert not history.find_overlap(prompt({key: ["two", "one"]})).whole


def test_a_prompt_that_the_server_keeps_is_told_by_its_name() -> None:
    one, other = ({"input": "Why?", "prompt": {"id": name, "variables": {"city": "Ulm"}}} for name in "12")
    assert find_prompt("/v1/responses", one) != find_prompt("/v1/responses", other)


APART: list[dict[str, Any]] = [
    {"context": [1, 2, 3]},
    {"context": [1, 2, 4]},
    {"previous_response_id": "resp_1"},
    {"previous_response_id": "resp_2"},
    {"conversation": {"id": "conv_1"}},
    {"documents": ["The bicycle has two gears."]},
    {"documents": [{"title": "Bicycles", "text": "They have three gears."}]},
    {"template": "{{ .Prompt }}"},
    {"suffix": "It was."},
    {"input": [{"type": "item_reference", "id": "msg_1"}]},
    {"input": [{"type": "item_reference", "id": "msg_2"}]},
    {"images": ["aGVsbG8="]},
    {},
]


def test_what_stands_beside_the_text_keeps_prompts_apart() -> None:
    assert len({prompt({"prompt": "Why?", **beside}).marks for beside in APART}) == len(APART)


BEGINNINGS: dict[str, dict[str, Any]] = {
    "tools": {"tools": [{"type": "function", "function": {"name": "look_up", "description": LONG}}]},
    "documents": {"documents": [{"text": LONG}]},
    "an image": {"images": [IMAGE]},
}


@pytest.mark.parametrize("beside", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_long_beginning_of_another_kind_is_a_common_one(beside: dict[str, Any]) -> None:
    history = PromptHistory()
    history.add(prompt({"messages": [say("Which is it?")], **beside}))
    later = prompt({"messages": [say("And why is that?")], **beside})
    assert history.find_overlap(later).least >= later.length / 2
    assert not history.find_overlap(prompt({"messages": [say("And why is that?")]})).least


def test_a_chat_goes_on_from_its_earlier_turns() -> None:
    history = PromptHistory()
    history.add(prompt({"messages": [say(LONG)], "tools": TOOLS}))
    later = prompt({"messages": [say(LONG), say("Yes.", "assistant"), say("Why?")], "tools": TOOLS})
    assert history.find_overlap(later).least >= len(LONG) / 1.5
    assert not history.find_overlap(prompt({"messages": [say(LONG)]})).least


@pytest.mark.parametrize("salt", ["cache_salt", "llmperf_nonce"])
def test_a_salt_keeps_prompts_apart_where_the_engine_obeys_it(salt: str) -> None:
    one, other = ({"prompt": LONG, salt: value} for value in "12")
    assert find_prompt(ANY, one, {salt}) != find_prompt(ANY, other, {salt})
    assert find_prompt(ANY, one) == find_prompt(ANY, other)


def test_text_has_a_length_and_data_stand_for_some_hundred_tokens() -> None:
    assert prompt({"prompt": "four"}).length == 4
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9999}}
    assert prompt({"messages": [say([{"type": "text", "text": "four"}, image])]}).length == 4 + 1024


def test_a_request_may_keep_its_prompt_from_a_cache_that_obeys() -> None:
    asked, obeyed = {"prompt": "x", "cache_prompt": False}, {"cache_prompt"}
    assert find_prompt(ANY, asked, obeyed) == find_prompt(ANY, {"prompt": "x"}, fresh=True)
    assert find_prompt(ANY, asked) == find_prompt(ANY, {"prompt": "x"})
    assert find_prompt(ANY, {"prompt": "x", "cache_prompt": True}, obeyed) == find_prompt(ANY, {"prompt": "x"})


@pytest.mark.parametrize("body", [b"no json", b"[1]", b"\xff", b'{"prompt": ' + b"[" * 100_000], ids=repr)
def test_a_body_that_cannot_be_read_is_a_prompt_as_a_whole(body: bytes) -> None:
    assert parse_prompt(ANY, body) == parse_prompt(ANY, body)
    assert parse_prompt(ANY, body) != parse_prompt(ANY, body + b" ")


def test_no_body_is_no_prompt() -> None:
    assert parse_prompt(ANY, b"") is None


def test_a_body_without_a_prompt_has_an_empty_one() -> None:
    assert prompt({}).length == 0
