"""An app that answers questions from a shop's handbook: it knows nothing of pytest, nor that it is measured.

OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none python rag.py MODEL "Who pays when I send it back?"
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HANDBOOK = Path(__file__).with_name("handbook.txt")
MOST_TURNS = 3
FIND_ORDER = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Where the parcel of an order is",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer", "minimum": 1}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}
TICKET = {
    "type": "object",
    "properties": {
        "topic": {"enum": ["returns", "delivery", "payment", "warranty", "other"]},
        "summary": {"type": "string", "maxLength": 80},
        "is_urgent": {"type": "boolean"},
    },
    "required": ["topic", "summary", "is_urgent"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Ticket:
    """A request of a customer, as the shop's people want to see it."""

    topic: str
    summary: str
    is_urgent: bool


class Assistant:
    """Answers from the paragraphs of a handbook that are nearest to a question; embeds them when it is first asked."""

    def __init__(self, client: openai.OpenAI, model: str, find_order: Callable[[int], str]) -> None:
        self._client = client
        self._model = model
        self._find_order = find_order
        self._pages = HANDBOOK.read_text(encoding="utf-8").strip().split("\n\n")
        self._vectors: list[list[float]] = []

    def retrieve(self, question: str, count: int = 2) -> list[str]:
        """The paragraphs that are nearest to a question, the nearest first."""
        self._vectors = self._vectors or self._embed(self._pages)
        (asked,) = self._embed([question])
        near = [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in self._vectors]
        best = sorted(range(len(near)), key=lambda at: -near[at])
        return [self._pages[at] for at in best[:count]]

    def answer(self, question: str) -> Iterator[str]:
        """The answer as it comes, piece by piece."""
        stream = self._client.chat.completions.create(
            model=self._model,
            messages=self._ask(question),
            max_tokens=48,
            stream=True,
            stream_options={"include_usage": True},
        )
        for chunk in stream:
            for choice in chunk.choices:
                yield choice.delta.content or ""

    def look_up(self, question: str) -> str:
        """The answer of a model that may ask where an order is."""
        messages = self._ask(question)
        for _ in range(MOST_TURNS):
            answer = self._client.chat.completions.create(
                model=self._model, messages=messages, tools=[FIND_ORDER], max_tokens=64
            )
            message = answer.choices[0].message
            if not message.tool_calls:
                return message.content or ""
            messages.append({"role": "assistant", "tool_calls": [call.to_dict() for call in message.tool_calls]})
            messages += [self._call(call) for call in message.tool_calls]
        return "I could not find out."

    def file(self, message: str) -> Ticket:
        """What a customer wants, as a ticket."""
        answer = self._client.chat.completions.create(
            model=self._model,
            messages=[
                {"role": "system", "content": "Write the customer's message as a ticket, in JSON."},
                {"role": "user", "content": message},
            ],
            response_format={"type": "json_schema", "json_schema": {"name": "ticket", "schema": TICKET}},
            max_tokens=128,
        )
        return Ticket(**json.loads(answer.choices[0].message.content or ""))

    def _ask(self, question: str) -> list[Any]:
        pages = "\n".join(self.retrieve(question))
        context = f"Answer in one sentence, from these pages of the handbook:\n{pages}"
        return [{"role": "system", "content": context}, {"role": "user", "content": question}]

    def _call(self, call: Any) -> dict[str, Any]:
        try:
            found = self._find_order(json.loads(call.function.arguments)["number"])
        except (ValueError, KeyError):  # a model may write anything
            found = "There is no such order."
        return {"role": "tool", "tool_call_id": call.id, "content": found}

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        answer = self._client.embeddings.create(model=self._model, input=list(texts))
        return [one.embedding for one in answer.data]


def main() -> None:
    assistant = Assistant(openai.OpenAI(), sys.argv[1], lambda number: f"Order {number} left the shop today.")
    for piece in assistant.answer(sys.argv[2]):
        print(piece, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
