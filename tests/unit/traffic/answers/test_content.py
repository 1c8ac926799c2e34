"""Every field in which servers put reasoning, text and refusals, in streams and whole answers."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from tests.helpers.arrivals import as_body, as_lines, as_stream

REASONING: list[dict[str, Any]] = [
    {"reasoning_content": "Hm"},
    {"reasoning": "Hm"},
    {"reasoning_text": "Hm"},
    {"thinking": "Hm"},
    {"thinking_blocks": [{"type": "thinking", "thinking": "Hm", "signature": "x"}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "Hm", "index": 0}]},
    {"reasoning": {"content": "Hm"}},
    {"reasoning_content": [{"type": "text", "text": "Hm"}]},
    {"thought": "Hm"},
    {"thoughts": "Hm"},
    {"thoughts": [{"text": "Hm"}]},
    {"thinking_content": "Hm"},
    {"thinking_text": "Hm"},
    {"reasoningContent": {"reasoningText": "Hm"}},
    {"content": "Hm", "thought": True},
    {"content": "Hm", "extra_content": {"google": {"thought": True}}},
    {"content": [{"text": "Hm", "thought": True}]},
    {"reasoning": "Hm", "reasoning_summary": "It thought"},
    {"reasoning_content": "Hm", "reasoning_id": "r1", "reasoning_effort": "high", "thinking_signature": "AAAA"},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    {"content": [{"type": "thinking", "thinking": "Hm"}]},
    {"content": [{"type": "reasoning", "text": "Hm"}]},
    {"content": [{"type": "reasoning_text", "text": "Hm"}]},
    {"reasoning": "Hm", "reasoning_content": "Hm", "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}]},
]
TEXT: list[dict[str, Any]] = [
    {"content": "Yes"},
    {"content": [{"type": "text", "text": "Yes"}]},
    {"content": [{"type": "output_text", "text": "Y"}, {"type": "text", "text": "es"}]},
    {"content": ["Yes"]},
    {"content": None, "refusal": "Yes"},
    {"content": [{"type": "refusal", "refusal": "Yes"}]},
]


def streamed(*deltas: dict[str, Any]) -> Any:
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    usage = {"completion_tokens": len(deltas), "prompt_tokens": 3}
    return openai.read(as_stream(*events, {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": usage}))


@pytest.mark.parametrize("reasoning", REASONING)
def test_reasoning_is_read_in_every_field(reasoning: dict[str, Any]) -> None:
    answer = streamed(reasoning, {"content": "Yes"})
    assert [chunk.kind for chunk in answer.timing.chunks] == ["reasoning", "text"]
    assert (answer.reasoning, answer.text, answer.timing.ttft) == ("Hm", "Yes", 0.01)
    message = {"role": "assistant", "content": "Yes", **reasoning}
    whole = openai.read(as_body({"choices": [{"message": message, "finish_reason": "stop"}]}))
    assert (whole.reasoning, whole.timing.error) == ("Hm", None)


@pytest.mark.parametrize("beside", [{"finish_reason": "x"}, {"thought_signature": "AAAA"}, {"reasoning_tokens": 3}])
def test_what_is_said_about_reasoning_is_none(beside: dict[str, Any]) -> None:
    answer = streamed({"content": "Yes", **beside})
    assert [(chunk.kind, answer.reasoning) for chunk in answer.timing.chunks] == [("text", "")]


@pytest.mark.parametrize("text", TEXT)
def test_text_is_read_in_every_form(text: dict[str, Any]) -> None:
    answer = streamed(text)
    assert [chunk.kind for chunk in answer.timing.chunks] == ["text"]
    assert (answer.text, answer.reasoning, answer.timing.error) == ("Yes", "", None)
    whole = openai.read(as_body({"choices": [{"message": text, "finish_reason": "stop"}]}))
    assert (whole.text, whole.timing.error) == ("Yes", None)


def test_a_list_of_parts_gives_its_reasoning_and_its_text() -> None:
    parts = [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes"}]
    answer = openai.read(as_body({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}))
    assert (answer.reasoning, answer.text) == ("Hm", "Yes")


@pytest.mark.parametrize("kind", ["reasoning.summary", "reasoning.encrypted"])
def test_a_summary_of_the_reasoning_is_not_its_tokens(kind: str) -> None:
    details = [{"type": kind, "summary": "It thought", "data": "AAAA"}]
    answer = streamed({"reasoning": "It thought", "reasoning_details": details}, {"content": "Yes"})
    assert [chunk.kind for chunk in answer.timing.chunks] == ["text"]
    assert answer.reasoning == "It thought"


SUMMARIES: list[dict[str, Any]] = [
    {"reasoning_summary": "It thought"},
    {"reasoning_summary_text": "It thought"},
    {"thinking_summary": [{"text": "It thought"}]},
]


@pytest.mark.parametrize("summary", SUMMARIES)
def test_a_summary_without_a_count_of_the_reasoning_is_a_fault(summary: dict[str, Any]) -> None:
    answer = streamed(summary, {"content": "Yes"})
    assert ([chunk.kind for chunk in answer.timing.chunks], answer.reasoning) == (["text"], "It thought")
    said = "the reasoning came as a summary, and the server did not count its tokens"
    assert answer.timing.count_fault == said
    events = [
        {"type": "response.reasoning_summary_text.delta", "delta": "It thought"},
        {"type": "response.output_text.delta", "delta": "Yes"},
        {"type": "response.completed", "response": {"status": "completed", "usage": {"output_tokens": 2}}},
    ]
    assert openai_responses.read(as_stream(*events)).timing.count_fault == said


SOUND: list[dict[str, Any]] = [
    {"audio": {"id": "a1", "data": "UklGRg=="}},
    {"audio": {"transcript": "Yes"}},
    {"content": None, "audio": {"data": "UklGRg==", "transcript": "Yes"}},
    {"images": [{"image_url": {"url": "data:image/png;base64,iVBORw0K"}}]},
]


@pytest.mark.parametrize("message", SOUND)
def test_an_answer_of_sound_or_images_alone_is_one(message: dict[str, Any]) -> None:
    answers = [
        streamed(message, message),
        openai.read(as_body({"choices": [{"message": message, "finish_reason": "stop"}]})),
    ]
    assert [answer.timing.error for answer in answers] == [None, None]
    assert [chunk.kind for chunk in answers[0].timing.chunks] == ["text", "text"]
    assert answers[1].text in ("", "Yes")


def test_a_summary_in_responses_is_not_the_tokens_of_the_reasoning() -> None:
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "It thought"}], "content": []},
        {"type": "message", "content": [{"type": "output_text", "text": "Yes"}]},
    ]
    usage = {"output_tokens": 300, "input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 299}}
    answer = openai_responses.read(
        as_stream(
            {"type": "response.reasoning_summary_text.delta", "delta": "It thought"},
            {"type": "response.output_text.delta", "delta": "Yes"},
            {"type": "response.completed", "response": {"status": "completed", "output": output, "usage": usage}},
        )
    )
    assert [chunk.kind for chunk in answer.timing.chunks] == ["text"]
    assert (answer.reasoning, answer.timing.hidden_tokens, answer.timing.ttft) == ("It thought", 299, None)


@pytest.mark.parametrize("line", [{"thinking": "Hm"}, {"message": {"thinking": "Hm"}}])
def test_reasoning_of_ollama_is_read(line: dict[str, Any]) -> None:
    end = {"done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": 3}
    answer = ollama.read(as_lines(line, end))
    assert (answer.reasoning, answer.timing.error) == ("Hm", None)
    assert [chunk.kind for chunk in answer.timing.chunks] == ["reasoning"]


def test_an_old_function_call_is_a_tool_call() -> None:
    parts = [{"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ": 1}"}]
    events = [{"choices": [{"delta": {"function_call": part}, "finish_reason": None}]} for part in parts]
    answer = openai.read(as_stream(*events, {"choices": [{"delta": {}, "finish_reason": "function_call"}]}))
    assert [call["function"] for call in answer.tool_calls] == [{"name": "f", "arguments": '{"a": 1}'}]
    assert [chunk.kind for chunk in answer.timing.chunks] == ["tool"] * 3
    assert answer.timing.error is None


def test_a_tool_call_without_a_list_around_it_is_read() -> None:
    parts = [{"name": "f", "arguments": ""}, {"name": None, "arguments": '{"a": 1}'}]
    deltas: list[dict[str, Any]] = [{"tool_calls": {"index": 0, "id": "", "function": part}} for part in parts]
    events = [{"choices": [{"delta": delta, "finish_reason": None}]} for delta in deltas]
    answer = openai.read(as_stream(*events, {"choices": [{"delta": {}, "finish_reason": "eos_token"}]}))
    assert [call["function"] for call in answer.tool_calls] == [{"name": "f", "arguments": '{"a": 1}'}]
    assert answer.timing.error is None
