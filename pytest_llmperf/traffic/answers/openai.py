"""Reads answers of the OpenAI API (``/completions``, ``/chat/completions``), streamed or whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Answer
from pytest_llmperf.traffic.answers.event_template import EventTemplate
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text, excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import Chunk, ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival


def read(arrival: Arrival) -> Answer:
    """Reads an answer. Never raises: ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {read_refusal(arrival.body)}"
    elif arrival.is_stream:
        parts.take_stream(sse.parse_events(arrival.pieces))
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


def read_refusal(body: str) -> str:
    """Reads the error message in the body of an answer with an error status, in one line."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    error = as_dict(content).get("error")
    return _message(error) if error else excerpt(body)


def _message(error: object) -> str:
    text = as_dict(error).get("message") or error
    return excerpt(text if isinstance(text, str) else json.dumps(text))


class _Carrier(NamedTuple):
    """A piece that carries tokens, and the running token counts in ``usage`` and in ``timings`` (llama.cpp)."""

    at_ns: int
    kind: ChunkKind
    by_usage: int | None
    by_timings: int | None


def _text_of(content: Mapping[str, Any]) -> str:
    """Reads the text of an event that carries nothing but text; "" for any other."""
    parts = _Parts()
    parts.take_content(0, content)
    alone = parts.carriers == [_Carrier(0, "text", None, None)] and not (parts.reported or parts.finish_reason)
    return "".join(parts.text) if alone and parts.usage is None and not parts.timings else ""


@dataclass
class _Parts:
    """The parts of an answer that have been read so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    carriers: list[_Carrier] = field(default_factory=list)
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    reported: str = ""
    malformed: str = ""
    done: bool = False

    def take_stream(self, events: Sequence[tuple[int, str]]) -> None:
        template: EventTemplate | None = None
        alike = ""
        for at_ns, data in events:
            if template is not None and (text := template.match(data)) is not None:
                self.text.append(text)
                self.carriers.append(_Carrier(at_ns, "text", None, None))
                alike = data
                continue
            if data == "[DONE]":
                self.done = True
                break
            alike = ""
            self.take(at_ns, data)
            if self.reported or self.malformed:
                break
            template = self._template(at_ns, data)
        if alike:
            self.raw = json.loads(alike)

    def _template(self, at_ns: int, data: str) -> EventTemplate | None:
        """Returns a template for the next events, if the last one carried text and no running count."""
        if not self.carriers or self.carriers[-1] != _Carrier(at_ns, "text", None, None):
            return None
        return EventTemplate.of(data, self.text[-1], _text_of)

    def take(self, at_ns: int, data: str) -> None:
        """Adds one event of a stream, or a whole body: they differ in ``delta`` and ``message`` only."""
        try:
            content = json.loads(data)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return
        self.take_content(at_ns, content)

    def take_content(self, at_ns: int, content: Mapping[str, Any]) -> None:
        self.raw = dict(content)
        if content.get("error"):
            self.reported = f"the server reported an error: {_message(content['error'])}"
            return
        usage = as_dict(content.get("usage"))
        timings = as_dict(content.get("timings"))
        self.usage = usage or self.usage
        self.timings = timings or self.timings
        kind = self._take_choice(content)
        if kind is not None:
            by_usage, by_timings = as_count(usage.get("completion_tokens")), as_count(timings.get("predicted_n"))
            self.carriers.append(_Carrier(at_ns, kind, by_usage, by_timings))

    def _take_choice(self, content: Mapping[str, Any]) -> ChunkKind | None:
        choice = as_dict(next(iter(as_list(content.get("choices"))), None))
        self.finish_reason = as_text(choice.get("finish_reason")) or self.finish_reason
        delta = as_dict(choice.get("delta")) or as_dict(choice.get("message"))
        text = as_text(delta.get("content")) or as_text(choice.get("text"))
        reasoning = as_text(delta.get("reasoning_content")) or as_text(delta.get("reasoning"))
        called = [self._take_call(as_dict(call)) for call in as_list(delta.get("tool_calls"))]
        self.text.append(text)
        self.reasoning.append(reasoning)
        if any(called):
            return "tool"
        return "text" if text else "reasoning" if reasoning else None

    def _take_call(self, call: Mapping[str, Any]) -> bool:
        """Adds a tool call or a part of one; returns whether it carried a name or arguments."""
        function = as_dict(call.get("function"))
        name, arguments = as_text(function.get("name")), as_text(function.get("arguments"))
        whole = self._call_of(call)
        whole["id"] = as_text(call.get("id")) or whole["id"]
        whole["function"]["name"] = name or whole["function"]["name"]
        whole["function"]["arguments"] += arguments
        return bool(name or arguments)

    def _call_of(self, part: Mapping[str, Any]) -> dict[str, Any]:
        index = part.get("index")
        for call in self.tool_calls:
            if index is not None and call["index"] == index:
                return call
        if index is None and self.tool_calls and not part.get("id"):
            return self.tool_calls[-1]
        fresh = {"index": index, "id": "", "type": "function", "function": {"name": "", "arguments": ""}}
        self.tool_calls.append(fresh)
        return fresh

    def answer(self, arrival: Arrival) -> Answer:
        calls = [{key: call[key] for key in ("id", "type", "function")} for call in self.tool_calls]
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        return Answer(text, reasoning, calls, self.finish_reason, self.usage, self._timing(arrival), self.raw)

    def _timing(self, arrival: Arrival) -> RequestTiming:
        usage, timings = self.usage or {}, self.timings
        cached = as_count(as_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
        cache_n = as_count(timings.get("cache_n"))
        prompt_n = as_count(timings.get("prompt_n"))
        if self.usage is not None:
            output, prompt = as_count(usage.get("completion_tokens")), as_count(usage.get("prompt_tokens"))
        else:
            output = as_count(timings.get("predicted_n"))
            # llama.cpp leaves the tokens it found in its cache out of prompt_n.
            prompt = None if prompt_n is None else prompt_n + (cache_n or 0)
        return RequestTiming(
            sent_ns=arrival.sent_ns,
            end_ns=arrival.end_ns,
            chunks=self._chunks() if arrival.is_stream else (),
            output_tokens=output,
            prompt_tokens=prompt,
            cached_tokens=cache_n if cached is None else cached,
            streamed=arrival.is_stream,
            status=arrival.status,
            finish_reason=self.finish_reason,
            error=self._error(arrival),
            shared_prefix=arrival.shared_prefix,
            scheduled_ns=arrival.scheduled_ns,
        )

    def _error(self, arrival: Arrival) -> str | None:
        # A stream that was cut often ends in half an event: the cut is the cause, not the malformed half.
        unfinished = arrival.is_stream and not self.done and self.finish_reason is None
        ending = "the stream ended without a finish reason" if unfinished else ""
        return self.reported or arrival.fault or self.malformed or ending or None

    def _chunks(self) -> Sequence[Chunk]:
        counts = _rises([c.by_usage for c in self.carriers]) or _rises([c.by_timings for c in self.carriers])
        return PackedChunks.of([c.at_ns for c in self.carriers], [c.kind for c in self.carriers], counts)


def _rises(totals: Sequence[int | None]) -> list[int] | None:
    """Returns the tokens by which a running count rises with each chunk; None if there is no running count.

    Tokens counted on pieces without content fall to the next chunk. A count that is 0 after text, or that falls, is a
    placeholder (Ollama sends zeros until the end).
    """
    known = [total for total in totals if total is not None]
    if not known or len(known) < len(totals) or known[0] < 1:
        return None
    rises = [after - before for before, after in zip([0, *known], known, strict=False)]
    return None if min(rises) < 0 else rises
