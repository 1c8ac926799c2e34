"""Reads answers of Anthropic's ``/v1/messages``, streamed or whole.

The answer is a list of blocks: text, thinking, calls of tools. The events of a stream have a ``type``; the block that
a delta belongs to has been begun by an event of its own, and the one before the last has the reason of the end and the
tokens of the whole answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Answer, time_answer
from pytest_llmperf.traffic.answers.counts import Streamed, Whole, count_bytes
from pytest_llmperf.traffic.answers.endings import describe_models, describe_nothing, why_empty, why_unfinished
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text, excerpt, parse_object
from pytest_llmperf.traffic.answers.usage import TokenCounts, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

# The reasons why a model stopped, in the words of /chat/completions. One that is not listed is no good ending.
_ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "pause_turn": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }
)
# Prompt tokens that came from a cache, or went into one, which input_tokens does not contain.
_CACHED, _WRITTEN = "cache_read_input_tokens", "cache_creation_input_tokens"
_THINKING = ("thinking", "redacted_thinking")
# What each kind of delta carries, and in which field.
_DELTAS: Mapping[str, tuple[ChunkKind, str]] = MappingProxyType(
    {
        "text_delta": ("text", "text"),
        "thinking_delta": ("reasoning", "thinking"),
        "input_json_delta": ("tool", "partial_json"),
    }
)


def read(arrival: Arrival) -> Answer:
    """Reads an answer; ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {describe_refusal(arrival.body)}"
    elif arrival.is_stream:
        parts.take_stream(sse.parse_events(arrival.pieces))
    elif not arrival.fault:
        parts.take_whole(arrival.body)
    return parts.answer(arrival)


@dataclass
class _Parts:
    """The parts of an answer that have been read so far. ``calls`` are those of tools, by the number of their block."""

    chunks: list[Chunk] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, Any]] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    ending: object = None
    is_over: bool = False
    is_begun: bool = False
    events: int = 0
    model: str = ""
    raw: dict[str, Any] = field(default_factory=dict)
    reported: str = ""
    malformed: str = ""

    def take_stream(self, events: Sequence[tuple[int, str]]) -> None:
        self.events = len(events)
        for at_ns, data in events:
            if self.reported or self.malformed:
                break
            if not sse.is_blank(data):
                self._take_event(at_ns, data)

    def take_whole(self, data: str) -> None:
        content = self._parse(data)
        if self.reported or self.malformed:
            return
        self._take_message(content)
        for number, block in enumerate(as_list(content.get("content"))):
            self._take_block(number, as_dict(block))

    def _parse(self, data: str) -> dict[str, Any]:
        content = parse_object(data)
        if content is None:
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return {}
        self.raw = content
        if error := find_error(content):
            self.reported = f"the server reported an error: {error}"
        return content

    def _take_event(self, at_ns: int, data: str) -> None:
        event = self._parse(data)
        if self.reported or self.malformed:
            return
        kind: ChunkKind | None = None
        match as_text(event.get("type")):
            case "message_start":
                self._take_message(as_dict(event.get("message")))
            case "content_block_start":
                kind = self._take_block(as_count(event.get("index")) or 0, as_dict(event.get("content_block")))
            case "content_block_delta":
                kind = self._take_delta(as_count(event.get("index")) or 0, as_dict(event.get("delta")))
            case "message_delta":
                self._take_ending(as_dict(event.get("delta")).get("stop_reason"), as_dict(event.get("usage")))
            case "message_stop":
                self.is_over = True
        if kind is None:
            return
        self.chunks.append(Chunk(at_ns, kind))
        if self.is_over or self.ending:
            self.reported = f"more of the answer came after it had ended with {excerpt(repr(self.ending))}"

    def _take_message(self, message: Mapping[str, Any]) -> None:
        model = as_text(message.get("model"))
        if self.is_begun:
            other = describe_models(self.model, model) if model != self.model else ""
            self.reported = other or "a second answer began in the same stream"
        self.is_begun = self.is_begun or bool(message)
        self.model = self.model or model
        self._take_ending(message.get("stop_reason"), as_dict(message.get("usage")))

    def _take_ending(self, ending: object, usage: Mapping[str, Any]) -> None:
        self.ending = ending or self.ending
        # Later counts are those of more of the answer; what they leave out is as it was.
        self.usage = {**self.usage, **{key: value for key, value in usage.items() if value is not None}}

    def _take_block(self, number: int, block: Mapping[str, Any]) -> ChunkKind | None:
        """Adds the beginning of a block, or all of it; returns what it carries that the model generated."""
        name = as_text(block.get("type"))
        if name.endswith("tool_use"):
            arguments = as_dict(block.get("input"))
            called = {"name": as_text(block.get("name")), "arguments": json.dumps(arguments) if arguments else ""}
            self.calls[number] = {"id": as_text(block.get("id")), "type": "function", "function": called}
            return "tool" if called["name"] or arguments else None
        if name in _THINKING:
            self.reasoning.append(as_text(block.get("thinking")))
            return "reasoning" if block.get("thinking") else None
        if name == "text" and block.get("text"):
            self.text.append(as_text(block.get("text")))
            return "text"
        return None

    def _take_delta(self, number: int, delta: Mapping[str, Any]) -> ChunkKind | None:
        kind, key = _DELTAS.get(as_text(delta.get("type")), (None, ""))
        if kind is None or not (text := as_text(delta.get(key))):
            return None
        if kind == "tool":
            called = {"name": "", "arguments": ""}
            call = self.calls.setdefault(number, {"id": "", "type": "function", "function": called})
            call["function"]["arguments"] += text
        else:
            (self.text if kind == "text" else self.reasoning).append(text)
        return kind

    def answer(self, arrival: Arrival) -> Answer:
        counts = self._count()
        text, reasoning, calls = "".join(self.text), "".join(self.reasoning), list(self.calls.values())
        called = sum(count_bytes(call["function"]["name"] + call["function"]["arguments"]) for call in calls)
        size, thought = count_bytes(text) + count_bytes(reasoning) + called, count_bytes(reasoning)
        kinds = [chunk.kind for chunk in self.chunks]
        timing = time_answer(
            arrival,
            counts,
            Streamed(kinds, size, thought, self.events) if arrival.is_stream else Whole(size, thought, len(calls)),
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            finish_reason=self._finish_reason,
            model=self.model,
            error=self._error(arrival, counts.output, carries=bool(text or reasoning or calls)),
        )
        return Answer(text, reasoning, calls, timing.finish_reason, self.usage or None, timing, self.raw)

    def _count(self) -> TokenCounts:
        counts = read_usage({key: value for key, value in self.usage.items() if key not in (_CACHED, _WRITTEN)})
        beside = [as_count(self.usage.get(key)) for key in (_CACHED, _WRITTEN)]
        prompt = None if counts.prompt is None else counts.prompt + sum(count or 0 for count in beside)
        return TokenCounts(counts.output, prompt, beside[0], counts.reasoning, counts.fault)

    @property
    def _finish_reason(self) -> str | None:
        ending = as_text(self.ending)
        return _ENDINGS.get(ending, ending) or None

    def _error(self, arrival: Arrival, tokens: int | None, *, carries: bool) -> str | None:
        # A stream that was cut often ends in half an event: the cut is the cause, not the malformed half.
        return self.reported or arrival.fault or self.malformed or self._why_no_answer(arrival, tokens, carries) or None

    def _why_no_answer(self, arrival: Arrival, tokens: int | None, carries: bool) -> str:
        if not self.is_begun:
            return describe_nothing(arrival)
        if self.ending and as_text(self.ending) not in _ENDINGS:
            return f"the answer ended with {excerpt(repr(self.ending))}"
        finish = self._finish_reason
        unfinished = why_unfinished(finish, "the stream" if arrival.is_stream else "the answer")
        return unfinished or ("" if carries else why_empty(finish or "", tokens))
