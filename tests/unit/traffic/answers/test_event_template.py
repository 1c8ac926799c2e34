"""Events that are read by the one before give exactly what reading each of them gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.event_template import EventTemplate

TRICKY = [
    "plain",
    " and",
    "",
    '"quoted"',
    "back\\slash",
    "line\nbreak",
    "é",
    "\u2028",
    "[DONE]",
    "text",
    '","x":"',
    " ",
]


def completion(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": None}], **more}


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"id": "1", "choices": [{"delta": {"content": text}, "finish_reason": None}], **more}


def answer(events: list[Any]) -> Answer:
    pieces = [(at_ns, f"data: {json.dumps(event)}\n\n".encode()) for at_ns, event in enumerate(events)]
    return openai.read(Arrival(0, 99, [*pieces, (98, b"data: [DONE]\n\n")]))


STREAMS = {
    "completions": [completion(text) for text in ("one", *TRICKY, "two", *TRICKY)],
    "chat": [chat(text) for text in ("one", *TRICKY, "two", *TRICKY)],
    "a running count": [chat(word, usage={"completion_tokens": n}) for n, word in enumerate(("a", "b", "c", "d"), 1)],
    "a count that begins": [chat("a"), chat("b"), chat("c", usage={"completion_tokens": 3}), chat("d")],
    "text that stands twice": [chat("id", content="id"), chat("b", content="b"), chat("c", content="id")],
    "reasoning between": [chat("a"), {"choices": [{"delta": {"reasoning": "b"}}]}, chat("c"), chat("d")],
    "an error after": [chat("a"), chat("b"), {"error": {"message": "gone"}}, chat("c")],
    "an end after": [chat("a"), chat("b"), {"choices": [{"delta": {}, "finish_reason": "stop"}]}],
}


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_an_answer_is_the_same_with_and_without(events: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    fast = answer(events)
    monkeypatch.setattr(EventTemplate, "of", staticmethod(lambda *_: None))
    assert fast == answer(events)


def test_most_events_of_a_stream_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = json.loads

    def counting(data: str) -> Any:
        loaded.append(data)
        return load(data)

    monkeypatch.setattr("json.loads", counting)
    assert answer([completion(f" {word}") for word in range(100)]).text == "".join(f" {word}" for word in range(100))
    assert len(loaded) < 5


def test_a_template_fits_no_event_that_differs_in_anything_else() -> None:
    template = EventTemplate.of(
        json.dumps(completion("one")), "one", lambda content: str(content["choices"][0]["text"])
    )
    assert template is not None
    assert template.match(json.dumps(completion(" two"))) == " two"
    for other in (completion("two", more=1), {**completion("two"), "id": "2"}, completion('"'), completion("")):
        assert template.match(json.dumps(other)) is None
