"""Chats as OpenAI's own client reads them: tools, structured output, log-probabilities, stop words."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import jsonschema
import pydantic
import pytest

from tests.helpers.simulated_process import CHAT, events

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

    from tests.helpers.simulated_process import Running

ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Oslo?"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up_weather",
        "description": "The weather in a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "minLength": 2},
                "days": {"type": "integer", "minimum": 1, "maximum": 7},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
ORDERS: ChatCompletionToolParam = {"type": "function", "function": {"name": "find_order"}}


def parameters_of(tool: ChatCompletionToolParam) -> Any:
    return tool["function"]["parameters"]


def test_the_tool_that_fits_the_question_is_called_with_arguments_that_fit_its_schema(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="simulated", messages=ASKED, tools=[ORDERS, WEATHER])
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "look_up_weather"
    jsonschema.validate(json.loads(call.function.arguments), parameters_of(WEATHER))
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 4


def test_a_streamed_call_is_the_same_in_pieces(sdk: openai.OpenAI) -> None:
    whole = sdk.chat.completions.create(model="simulated", messages=ASKED, tools=[WEATHER]).choices[0].message
    with sdk.chat.completions.stream(
        model="simulated", messages=ASKED, tools=[WEATHER], stream_options={"include_usage": True}
    ) as stream:
        seen = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert seen.count("tool_calls.function.arguments.delta") > 3
    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert whole.tool_calls is not None
    assert whole.tool_calls[0].type == "function"
    assert choice.message.tool_calls[0].function.name == "look_up_weather"
    assert choice.message.tool_calls[0].function.arguments == whole.tool_calls[0].function.arguments
    assert answer.usage is not None
    assert answer.usage.completion_tokens == seen.count("chunk") - 3  # without role, finish reason and usage


def test_after_the_result_of_a_tool_comes_text(sdk: openai.OpenAI) -> None:
    messages: list[Any] = [
        *ASKED,
        {
            "role": "assistant",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look_up_weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    (choice,) = sdk.chat.completions.create(model="simulated", messages=messages, tools=[WEATHER]).choices
    assert (choice.message.tool_calls, choice.finish_reason) == (None, "length")
    (again,) = sdk.chat.completions.create(
        model="simulated", messages=messages, tools=[WEATHER], tool_choice="required"
    ).choices
    assert again.message.tool_calls


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("none", None),
        ("auto", "look_up_weather"),
        ("required", "look_up_weather"),
        ({"type": "function", "function": {"name": "find_order"}}, "find_order"),
    ],
)
def test_tool_choice_is_obeyed(sdk: openai.OpenAI, choice: Any, name: str | None) -> None:
    answer = sdk.chat.completions.create(model="simulated", messages=ASKED, tools=[ORDERS, WEATHER], tool_choice=choice)
    calls = answer.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls if call.type == "function"] == [name] * (name is not None)


@pytest.mark.parametrize(("use", "calls"), [("auto", 1), ("required", 0), ("never", 0)])
def test_whether_tools_are_used_unasked_is_a_setting(server: Running, use: str, calls: int) -> None:
    message = json.loads(server.chat(tools=[WEATHER], simulate={"tool_use": use})[2])["choices"][0]["message"]
    assert len(message.get("tool_calls", [])) == calls


class Verdict(pydantic.BaseModel):
    """What an app may want an answer to be."""

    is_answered: bool
    sources: list[int]
    quote: str | None
    confidence: float = pydantic.Field(ge=0, le=1)


def test_an_answer_is_parsed_into_the_model_that_was_asked_for(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(model="simulated", messages=ASKED, response_format=Verdict)
    (choice,) = answer.choices
    assert choice.finish_reason == "stop"
    assert choice.message.parsed is not None
    assert choice.message.parsed.quote


def test_a_json_object_is_one(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="simulated", messages=ASKED, response_format={"type": "json_object"})
    assert isinstance(json.loads(answer.choices[0].message.content or ""), dict)


def test_json_that_is_too_long_is_cut_as_any_text(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model="simulated", messages=ASKED, response_format={"type": "json_object"}, max_completion_tokens=2
    )
    assert (answer.choices[0].finish_reason, answer.choices[0].message.content) == ("length", '{"answer')
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2


def test_each_token_of_a_text_has_its_logprob(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="simulated", messages=ASKED, max_tokens=3, logprobs=True, top_logprobs=5)
    stated = answer.choices[0].logprobs
    assert stated is not None
    assert stated.content is not None
    assert "".join(one.token for one in stated.content) == answer.choices[0].message.content
    assert [len(one.top_logprobs) for one in stated.content] == [5] * 3
    assert all(0 < math.exp(one.logprob) < 1 for one in stated.content)
    best = [[one.logprob for one in token.top_logprobs] for token in stated.content]
    assert all(logprobs == sorted(logprobs, reverse=True) for logprobs in best)
    stream = sdk.chat.completions.create(
        model="simulated", messages=ASKED, max_tokens=3, logprobs=True, top_logprobs=5, stream=True
    )
    parts = [piece.choices[0].logprobs for piece in stream]
    assert [one for part in parts if part for one in part.content or []] == stated.content


@pytest.mark.parametrize("stream", [False, True])
def test_a_text_ends_before_a_stop_word(server: Running, stream: bool) -> None:
    words = json.loads(server.chat(max_tokens=6)[2])["choices"][0]["message"]["content"].split()
    body = server.chat(max_tokens=6, stop=["nothing", words[3]], stream=stream)[2]
    choices = [event["choices"][0] for event in (events(body) if stream else [json.loads(body)])]
    assert choices[-1]["finish_reason"] == "stop"
    text = "".join(choice["delta" if stream else "message"].get("content") or "" for choice in choices)
    assert text.split() == words[:3]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n": 2}, "n=2: the simulated engine gives one answer"),
        ({"stop": 1}, "stop=1 is neither"),
        ({"logprobs": 3}, "logprobs=3 is neither true nor false"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs=21 is not a whole number from 0 to 20"),
        ({"tools": [{"type": "web_search"}]}, "tools: the type 'web_search' is not known"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools: each function has a name"),
        ({"tool_choice": "required"}, "tool_choice asks for a call, but the request has no tools"),
        ({"tools": [ORDERS], "tool_choice": "maybe"}, "tool_choice='maybe' names none of the tools find_order"),
        ({"functions": []}, "functions are not known to the simulated engine: use tools"),
        ({"response_format": {"type": "xml"}}, "response_format: the type 'xml' is none of"),
        ({"response_format": {"type": "json_schema"}}, "response_format: json_schema has no schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
            "no value fits # of the JSON schema: the keyword 'not' is not known",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": False}}}}]},
            "tool 'f': no value fits #/a of the JSON schema: it allows no value",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(server: Running, asked: dict[str, Any], message: str) -> None:
    status, _, body = server.send(CHAT, {"messages": ASKED, **asked})
    assert status == 400
    assert json.loads(body)["error"]["message"].startswith(message)


def test_tools_and_calls_stand_in_the_prompt(server: Running) -> None:
    def count(**asked: object) -> int:
        return int(json.loads(server.chat(**asked)[2])["usage"]["prompt_tokens"])

    assert count(tools=[WEATHER], tool_choice="none") > count() == 3
