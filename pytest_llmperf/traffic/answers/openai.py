"""From the stamped pieces of an OpenAI-style answer, streamed or whole, to its text and its timing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.event_template import Template
from pytest_llmperf.traffic.answers.json_fields import a_count, a_dict, a_list, a_text, excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import Chunk, ChunkKind


@dataclass(frozen=True)
class Answer:
    """What the model said, and how long it took.

    ``usage`` is the server's own, None where it gave none; ``raw`` is the body, of a stream its last event.
    """

    text: str
    reasoning: str
    tool_calls: list[dict[str, Any]]
    finish_reason: str | None
    usage: dict[str, Any] | None
    timing: RequestTiming
    raw: dict[str, Any]


@dataclass(frozen=True)
class Arrival:
    """An answer as it came over the wire; ``fault`` is why it did not come in full, empty when it did.

    ``pieces`` are the body's bytes with their stamps; all times in ns. ``streamed`` and ``shared_prefix`` say
    what was asked for, ``scheduled_ns`` when it was to be sent, None where nobody said so.
    """

    sent_ns: int
    end_ns: int
    pieces: Sequence[tuple[int, bytes]] = ()
    status: int | None = None
    content_type: str = ""
    streamed: bool = True
    shared_prefix: bool = False
    fault: str = ""
    scheduled_ns: int | None = None

    @property
    def is_stream(self) -> bool:
        """Some servers answer a request for a stream with a whole body; its pieces are no chunks."""
        kind = self.content_type.lower()
        return self.streamed and ("ndjson" in kind or "json" not in kind)

    @property
    def body(self) -> str:
        return b"".join(data for _, data in self.pieces).decode(errors="replace")


def read(arrival: Arrival) -> Answer:
    """The answer in what arrived. Never raises: what is wrong stands in ``timing.error``, in one line."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {refusal(arrival.body)}"
    elif arrival.is_stream:
        parts.take_stream(sse.events(arrival.pieces))
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


def refusal(body: str) -> str:
    """What the body of an answer with an error status says, in one line."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    error = a_dict(content).get("error")
    return _message(error) if error else excerpt(body)


def _message(error: object) -> str:
    text = a_dict(error).get("message") or error
    return excerpt(text if isinstance(text, str) else json.dumps(text))


class _Carrier(NamedTuple):
    """A piece that carries tokens, and the tokens so far by each of the two ways in which servers count."""

    at_ns: int
    kind: ChunkKind
    by_usage: int | None
    by_timings: int | None


def _text_of(content: Mapping[str, Any]) -> str:
    """What an event adds to the text, if it does nothing else."""
    parts = _Parts()
    parts.take_content(0, content)
    alone = parts.carriers == [_Carrier(0, "text", None, None)] and not (parts.reported or parts.finish_reason)
    return "".join(parts.text) if alone and parts.usage is None and not parts.timings else ""


@dataclass
class _Parts:
    """What has been read of an answer so far."""

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
        template: Template | None = None
        alike = ""
        for at_ns, data in events:
            if template is not None and (text := template.text_of(data)) is not None:
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

    def _template(self, at_ns: int, data: str) -> Template | None:
        """To read the next events by, if this one carried text and no running count."""
        if not self.carriers or self.carriers[-1] != _Carrier(at_ns, "text", None, None):
            return None
        return Template.of(data, self.text[-1], _text_of)

    def take(self, at_ns: int, data: str) -> None:
        """One event of a stream, or a whole body: they differ in ``delta`` and ``message`` only."""
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
        usage = a_dict(content.get("usage"))
        timings = a_dict(content.get("timings"))
        self.usage = usage or self.usage
        self.timings = timings or self.timings
        kind = self._take_choice(content)
        if kind is not None:
            by_usage, by_timings = a_count(usage.get("completion_tokens")), a_count(timings.get("predicted_n"))
            self.carriers.append(_Carrier(at_ns, kind, by_usage, by_timings))

    def _take_choice(self, content: Mapping[str, Any]) -> ChunkKind | None:
        choice = a_dict(next(iter(a_list(content.get("choices"))), None))
        self.finish_reason = a_text(choice.get("finish_reason")) or self.finish_reason
        delta = a_dict(choice.get("delta")) or a_dict(choice.get("message"))
        text = a_text(delta.get("content")) or a_text(choice.get("text"))
        reasoning = a_text(delta.get("reasoning_content")) or a_text(delta.get("reasoning"))
        called = [self._take_call(a_dict(call)) for call in a_list(delta.get("tool_calls"))]
        self.text.append(text)
        self.reasoning.append(reasoning)
        if any(called):
            return "tool"
        return "text" if text else "reasoning" if reasoning else None

    def _take_call(self, call: Mapping[str, Any]) -> bool:
        """Adds a tool call or a further part of one; whether it carried anything of the call itself."""
        function = a_dict(call.get("function"))
        name, arguments = a_text(function.get("name")), a_text(function.get("arguments"))
        whole = self._call_of(call)
        whole["id"] = a_text(call.get("id")) or whole["id"]
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
        cached = a_count(a_dict(usage.get("prompt_tokens_details")).get("cached_tokens"))
        cache_n = a_count(timings.get("cache_n"))
        prompt_n = a_count(timings.get("prompt_n"))
        if self.usage is not None:
            output, prompt = a_count(usage.get("completion_tokens")), a_count(usage.get("prompt_tokens"))
        else:
            output = a_count(timings.get("predicted_n"))
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
        # A cut stream often ends in half an event: that it was cut says more than that the half is malformed.
        unfinished = arrival.is_stream and not self.done and self.finish_reason is None
        ending = "the stream ended without a finish reason" if unfinished else ""
        return self.reported or arrival.fault or self.malformed or ending or None

    def _chunks(self) -> Sequence[Chunk]:
        counts = _rises([c.by_usage for c in self.carriers]) or _rises([c.by_timings for c in self.carriers])
        return PackedChunks.of([c.at_ns for c in self.carriers], [c.kind for c in self.carriers], counts)


def _rises(totals: Sequence[int | None]) -> list[int] | None:
    """The tokens each chunk adds to a running count, None where the server does not count as it goes.

    What the count rose by in between, on pieces that carry nothing to see, falls to the next chunk. A count
    that is 0 when text has come, or that falls, is a placeholder (Ollama sends zeros until the end).
    """
    known = [total for total in totals if total is not None]
    if not known or len(known) < len(totals) or known[0] < 1:
        return None
    rises = [after - before for before, after in zip([0, *known], known, strict=False)]
    return None if min(rises) < 0 else rises
