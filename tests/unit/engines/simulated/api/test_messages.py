"""Messages in the form of Anthropic's API, whole and streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

if TYPE_CHECKING:
    from tests.helpers.simulated_process import Running

PATH = "/v1/messages"
ASKED = {"max_tokens": 64, "messages": [{"role": "user", "content": "What is the weather in Oslo?"}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {
    "name": "look_up_weather",
    "description": "The weather in a city",
    "input_schema": SCHEMA,
}


def ask(server: Running, **asked: Any) -> dict[str, Any]:
    status, kind, body = server.send(PATH, {**ASKED, **asked})
    assert (status, kind) == (200, "application/json")
    answer: dict[str, Any] = json.loads(body)
    return answer


def stream(server: Running, **asked: Any) -> list[dict[str, Any]]:
    """The events of a stream; the name of each is the type in it."""
    status, kind, body = server.send(PATH, {**ASKED, "stream": True, **asked})
    assert (status, kind) == (200, "text/event-stream; charset=utf-8")
    *parts, last = body.split("\n\n")
    assert last == ""
    named = [part.split("\n") for part in parts]
    seen = [json.loads(data.removeprefix("data: ")) for _, data in named]
    assert [name for name, _ in named] == [f"event: {event['type']}" for event in seen]
    return seen


def rebuild(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a client puts together from the events."""
    message: dict[str, Any] = {}
    written = ""
    for event in events:
        if event["type"] == "message_start":
            message = event["message"]
            assert (message["content"], message["stop_reason"]) == ([], None)
        elif event["type"] == "content_block_start":
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
            written = ""
        elif event["type"] == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            written += delta.get("partial_json", "")
            for key in ("text", "thinking", "signature"):
                if key in delta:
                    block[key] += delta[key]
        elif event["type"] == "content_block_stop" and message["content"][event["index"]]["type"] == "tool_use":
            message["content"][event["index"]]["input"] = json.loads(written)
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] |= event["usage"]
    return message


def test_a_text_has_its_counts_and_why_it_ended(server: Running) -> None:
    answer = ask(server, max_tokens=3, system="Be short.")
    assert (answer["type"], answer["role"], answer["model"]) == ("message", "assistant", "simulated")
    (block,) = answer["content"]
    assert block["type"] == "text"
    assert len(block["text"].split()) == 3
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("max_tokens", None)
    assert answer["usage"] == {
        "input_tokens": 8,
        "output_tokens": 3,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }


def test_a_streamed_text_has_all_events_in_order(server: Running) -> None:
    assert [event["type"] for event in stream(server, max_tokens=2)] == [
        *("message_start", "ping", "content_block_start", "content_block_delta", "content_block_delta"),
        *("content_block_stop", "message_delta", "message_stop"),
    ]


@pytest.mark.parametrize(
    "asked",
    [
        {"max_tokens": 5},
        {"simulate": {"output_tokens": 4}},
        {"simulate": {"reasoning_tokens": 3, "tokens_per_chunk": 2}, "max_tokens": 8},
        {"tools": [WEATHER]},
        {"tools": [WEATHER], "simulate": {"reasoning_tokens": 2, "tokens_per_chunk": 3}},
    ],
)
def test_a_stream_put_together_is_the_whole_answer(server: Running, asked: dict[str, Any]) -> None:
    whole, built = ask(server, **asked), rebuild(stream(server, **asked))
    for message in (whole, built):
        del message["id"]
        for block in message["content"]:
            block.pop("id", None)
    assert built == whole


def test_a_tool_is_called_and_its_result_is_answered(server: Running) -> None:
    answer = ask(server, tools=[WEATHER])
    (call,) = answer["content"]
    assert (call["type"], call["name"], answer["stop_reason"]) == ("tool_use", "look_up_weather", "tool_use")
    jsonschema.validate(call["input"], SCHEMA)
    result = {"type": "tool_result", "tool_use_id": call["id"], "content": [{"type": "text", "text": "sunny"}]}
    messages = [*ASKED["messages"], {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]  # type: ignore[misc]
    assert ask(server, tools=[WEATHER], messages=messages)["content"][0]["type"] == "text"


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ({"type": "none"}, "text"),
        ({"type": "any"}, "tool_use"),
        ({"type": "tool", "name": "look_up_weather"}, "tool_use"),
    ],
)
def test_tool_choice_is_obeyed(server: Running, choice: object, kind: str) -> None:
    assert ask(server, tools=[WEATHER], tool_choice=choice)["content"][0]["type"] == kind


@pytest.mark.parametrize("streamed", [False, True])
def test_the_sequence_that_ended_a_text_is_named(server: Running, streamed: bool) -> None:
    word = ask(server)["content"][0]["text"].split()[2]
    asked = {"stop_sequences": ["nothing", word]}
    answer = rebuild(stream(server, **asked)) if streamed else ask(server, **asked)
    assert (answer["stop_reason"], answer["stop_sequence"]) == ("stop_sequence", word)
    assert word not in answer["content"][0]["text"]


@pytest.mark.parametrize(
    ("asked", "status", "kind", "message"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens is missing"),
        ({"messages": []}, 400, "invalid_request_error", "messages are missing"),
        ({"tool_choice": {"type": "some"}}, 400, "invalid_request_error", "tool_choice: the type 'some'"),
        ({"model": "other"}, 404, "not_found_error", "the model 'other' does not exist"),
        ({"simulate": {"error": True, "error_status": 429}}, 429, "rate_limit_error", "simulated failure"),
        ({"simulate": {"error": True, "error_status": 529}}, 529, "overloaded_error", "simulated failure"),
        ({"simulate": {"error": True}}, 500, "api_error", "simulated failure"),
    ],
)
def test_a_refusal_has_the_form_of_this_api(
    server: Running, asked: dict[str, Any], status: int, kind: str, message: str
) -> None:
    got, _, body = server.send(PATH, {**ASKED, **asked})
    answer = json.loads(body)
    assert (got, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert answer["error"]["message"].startswith(message)


def test_an_error_in_the_middle_is_an_event(server: Running) -> None:
    seen = stream(server, simulate={"fail_after": 2})
    assert [event["type"] for event in seen[-2:]] == ["content_block_delta", "error"]
    assert seen[-1]["error"] == {"type": "api_error", "message": "simulated failure"}


def test_a_prompt_may_be_counted_alone(server: Running) -> None:
    asked = {"messages": ASKED["messages"], "system": [{"type": "text", "text": "Be short."}]}
    assert json.loads(server.send(f"{PATH}/count_tokens", asked)[2]) == {"input_tokens": 8}
