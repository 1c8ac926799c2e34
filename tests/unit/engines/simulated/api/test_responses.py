"""Responses as OpenAI's own client reads them, whole and streamed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pydantic
import pytest

if TYPE_CHECKING:
    import openai
    from openai.types.responses import FunctionToolParam, ResponseStreamEvent

    from tests.helpers.simulated_process import Running

PATH = "/v1/responses"
SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "maximum": 7}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "look_up_weather",
    "description": "The weather in a city",
    "strict": True,
    "parameters": SCHEMA,
}
TEXT = [
    *("response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"),
    *["response.output_text.delta"] * 3,
    *("response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"),
]


def test_a_text_has_its_counts_and_why_it_ended(sdk: openai.OpenAI) -> None:
    answer = sdk.responses.create(model="simulated", input="one two three", max_output_tokens=3)
    assert (answer.status, answer.output[0].type) == ("incomplete", "message")
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert len(answer.output_text.split()) == 3
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (3, 3, 6)


def test_a_streamed_text_has_all_events_in_order(sdk: openai.OpenAI) -> None:
    whole = sdk.responses.create(model="simulated", input="one two three", max_output_tokens=3)
    with sdk.responses.create(model="simulated", input="one two three", max_output_tokens=3, stream=True) as stream:
        seen = list(stream)
    assert [event.type for event in seen] == TEXT
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert "".join(event.delta for event in seen if event.type == "response.output_text.delta") == whole.output_text
    last = seen[-1]
    assert last.type == "response.incomplete"
    assert (last.response.output_text, last.response.usage) == (whole.output_text, whole.usage)


def test_reasoning_is_an_item_of_its_own(sdk: openai.OpenAI) -> None:
    extra = {"simulate": {"reasoning_tokens": 2, "output_tokens": 5}}
    answer = sdk.responses.create(model="simulated", input="why", extra_body=extra)
    assert ([item.type for item in answer.output], answer.status) == (["reasoning", "message"], "completed")
    assert answer.usage is not None
    assert answer.usage.output_tokens_details.reasoning_tokens == 2
    stream = sdk.responses.create(model="simulated", input="why", extra_body=extra, stream=True)
    assert [event.type for event in stream].count("response.reasoning_text.delta") == 2


def call_of(events: list[ResponseStreamEvent]) -> tuple[str, str]:
    """The name and the arguments of the call in a stream, put together from its pieces."""
    added = [event.item for event in events if event.type == "response.output_item.added"]
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert added[0].type == "function_call"
    return added[0].name, "".join(deltas)


def test_a_tool_is_called_whole_and_streamed_and_its_result_is_answered(sdk: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]
    answer = sdk.responses.create(model="simulated", input=asked, tools=[WEATHER])
    (call,) = answer.output
    assert call.type == "function_call"
    assert (call.name, answer.status) == ("look_up_weather", "completed")
    jsonschema.validate(json.loads(call.arguments), SCHEMA)
    stream = sdk.responses.create(model="simulated", input=asked, tools=[WEATHER], stream=True)
    assert call_of(list(stream)) == (call.name, call.arguments)
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [*asked, call.to_dict(), result]
    again = sdk.responses.create(model="simulated", input=items, tools=[WEATHER])
    assert again.output[0].type == "message"


class City(pydantic.BaseModel):
    """What an app may want an answer to be."""

    name: str
    people: int = pydantic.Field(ge=1)


def test_an_answer_is_parsed_into_the_model_that_was_asked_for(sdk: openai.OpenAI) -> None:
    answer = sdk.responses.parse(model="simulated", input="Which city?", text_format=City)
    assert answer.output_parsed is not None
    assert answer.output_parsed.people >= 1


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "input is missing"),
        ({"input": []}, "input is missing"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id is not known"),
        ({"input": "a", "background": True}, "background is not known"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools: the type 'web_search' is not known"),
        ({"input": "a", "text": {"format": {"type": "json_schema"}}}, "text.format: json_schema has no schema"),
        ({"input": [{"type": "computer_call"}]}, "input: the type 'computer_call' is not known"),
        ({"input": "a", "max_output_tokens": 0}, "max_output_tokens=0 is not"),
    ],
)
def test_what_is_not_known_is_refused_by_name(server: Running, asked: dict[str, Any], message: str) -> None:
    status, _, body = server.send(PATH, asked)
    assert status == 400
    assert json.loads(body)["error"]["message"].startswith(message)


def test_a_prompt_may_be_counted_alone(server: Running) -> None:
    answer = json.loads(server.send("/v1/responses/input_tokens", {"input": "a b", "instructions": "c"})[2])
    assert answer == {"object": "response.input_tokens", "input_tokens": 3}
