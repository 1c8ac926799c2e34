"""Reads answers of OpenAI's ``/responses``, streamed or whole.

The events of a stream have a ``type``; the last one carries the whole response, with its status and token counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Answer
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text, excerpt
from pytest_llmperf.traffic.answers.openai import read_refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

_DELTAS: Mapping[str, ChunkKind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.function_call_arguments.delta": "tool",
    "response.custom_tool_call_input.delta": "tool",
}
_LAST = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
_LENGTH = "max_output_tokens"


def read(arrival: Arrival) -> Answer:
    """Reads an answer. Never raises: ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {read_refusal(arrival.body)}"
    elif arrival.is_stream:
        for at_ns, data in sse.parse_events(arrival.pieces):
            parts.take_event(at_ns, data)
    elif not arrival.fault:
        parts.response = _object(arrival.body)
        if not parts.response:
            parts.reported = f"the server sent something that is not a JSON object: {excerpt(arrival.body)!r}"
    return parts.answer(arrival)


def _object(data: str) -> dict[str, Any]:
    try:
        return as_dict(json.loads(data))
    except ValueError:
        return {}


@dataclass
class _Parts:
    """The parts of an answer that have been read so far; ``response`` is the whole answer, once it has come."""

    chunks: list[Chunk] = field(default_factory=list)
    response: dict[str, Any] = field(default_factory=dict)
    reported: str = ""

    def take_event(self, at_ns: int, data: str) -> None:
        event = _object(data)
        name = as_text(event.get("type"))
        if name in _DELTAS and as_text(event.get("delta")):
            self.chunks.append(Chunk(at_ns, _DELTAS[name]))
        elif name in _LAST:
            self.response = as_dict(event.get("response"))
        elif name == "error" or event.get("error"):
            self.reported = self.reported or f"the server reported an error: {_message(event)}"

    def answer(self, arrival: Arrival) -> Answer:
        usage = as_dict(self.response.get("usage"))
        output = [as_dict(item) for item in as_list(self.response.get("output"))]
        timing = RequestTiming(
            sent_ns=arrival.sent_ns,
            end_ns=arrival.end_ns,
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            output_tokens=as_count(usage.get("output_tokens")),
            prompt_tokens=as_count(usage.get("input_tokens")),
            cached_tokens=as_count(as_dict(usage.get("input_tokens_details")).get("cached_tokens")),
            streamed=arrival.is_stream,
            status=arrival.status,
            finish_reason=self._finish_reason(),
            error=self._error(arrival),
            shared_prefix=arrival.shared_prefix,
        )
        text, reasoning = _text(output, "message"), _text(output, "reasoning")
        calls = [item for item in output if as_text(item.get("type")).endswith("_call")]
        return Answer(text, reasoning, calls, timing.finish_reason, usage or None, timing, self.response)

    def _finish_reason(self) -> str | None:
        """The finish reason in the words of ``/chat/completions``, as far as it has them; None if unfinished."""
        status = self.response.get("status")
        if status == "incomplete":
            reason = as_text(as_dict(self.response.get("incomplete_details")).get("reason"))
            return "length" if reason == _LENGTH else reason or "incomplete"
        return "stop" if status == "completed" else None

    def _error(self, arrival: Arrival) -> str | None:
        failed = f"the server reported an error: {_message(self.response)}" if self.response.get("error") else ""
        status = as_text(self.response.get("status")) or "not stated"
        unfinished = "" if self._finish_reason() else f"the answer ended unfinished, its status is {status}"
        return self.reported or arrival.fault or failed or unfinished or None


def _message(content: Mapping[str, Any]) -> str:
    error = content.get("error")
    text = as_dict(error).get("message") or content.get("message") or error or "without a message"
    return excerpt(text if isinstance(text, str) else json.dumps(text))


def _text(output: list[dict[str, Any]], kind: str) -> str:
    parts = [as_dict(part) for item in output if item.get("type") == kind for part in as_list(item.get("content"))]
    return "".join(as_text(part.get("text")) for part in parts)
