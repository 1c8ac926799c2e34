"""Reads answers of OpenAI's ``/responses``, streamed or whole.

The events of a stream have a ``type``; the last one carries the whole response, with its status and token counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Answer, time_answer
from pytest_llmperf.traffic.answers.content import gather_text
from pytest_llmperf.traffic.answers.counts import Streamed, Whole, count_bytes, describe_other_count
from pytest_llmperf.traffic.answers.endings import describe_models, describe_nothing, find_finish_reason, why_empty
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error, tells_of_failure
from pytest_llmperf.traffic.answers.json_fields import as_dict, as_list, as_text, excerpt, parse_object
from pytest_llmperf.traffic.answers.usage import list_outputs, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival
    from pytest_llmperf.traffic.answers.usage import TokenCounts

_DELTAS: Mapping[str, ChunkKind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "text",
    "response.function_call_arguments.delta": "tool",
    "response.custom_tool_call_input.delta": "tool",
    "response.mcp_call_arguments.delta": "tool",
    "response.code_interpreter_call_code.delta": "tool",
    "response.audio.delta": "text",
    "response.output_audio.delta": "text",
}
# Events whose "code" is a program that the model wrote, and no code of an error.
_PROGRAM = "response.code_interpreter_call_code."
# Events of reasoning, of which servers have names of their own.
_REASONING_DELTA = re.compile(r"response\.\w*(?:reasoning|think|thought)\w*\.delta")
_SUMMARY = "response.reasoning_summary"
# An event with a response in it is the last one, unless it tells that the answer begins or goes on.
_NOT_LAST = ("response.created", "response.queued", "response.in_progress")


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
    """The parts of an answer that have been read so far; ``response`` is the whole answer, once it has come."""

    chunks: list[Chunk] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    response: dict[str, Any] = field(default_factory=dict)
    ended_by: str = ""
    model: str = ""
    summarized: bool = False
    counted: list[int] = field(default_factory=list)
    running: int | None = None
    events: int = 0
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
        self.response = self._parse(data)
        if error := find_error(self.response, by_status=False):
            self.reported = f"the server reported an error: {error}"

    def _parse(self, data: str) -> dict[str, Any]:
        content = parse_object(data)
        if content is None:
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
        return content or {}

    def _take_event(self, at_ns: int, data: str) -> None:
        event = self._parse(data)
        name, text = as_text(event.get("type")), as_text(event.get("delta"))
        if text and (kind := _find_kind(name)):
            self.chunks.append(Chunk(at_ns, kind))
            self.texts.append(text)
            if self.response:
                self.reported = f"more of the answer came after it had ended with {excerpt(self.ended_by)}"
        elif response := as_dict(event.get("response")):
            self._take_response(name, response)
        self._take_counts(event)
        self.summarized = self.summarized or (bool(text) and name.startswith(_SUMMARY))
        if not name.startswith(_PROGRAM) and (error := find_error(event)):
            self.reported = f"the server reported an error: {error}"

    def _take_counts(self, event: Mapping[str, Any]) -> None:
        """Takes what an event counts outside the usage of the whole response: on the way, or once that has come."""
        counted = [*list_outputs(event), *list_outputs(as_dict(event.get("response")))]
        if self.response:
            self.counted += counted
        else:
            self.running = max(counted, default=self.running)

    def _take_response(self, name: str, response: dict[str, Any]) -> None:
        model = as_text(response.get("model"))
        if model and self.model and model != self.model:
            self.reported = describe_models(self.model, model)
        self.model = self.model or model
        if name in _NOT_LAST:
            return
        if error := find_error(response, by_status=False):
            self.reported = f"the server reported an error: {error}"
        elif self.response:
            self.reported = f"the answer ended twice: with {excerpt(self.ended_by)}, then with {excerpt(name)}"
        self.response, self.ended_by = response, name

    def answer(self, arrival: Arrival) -> Answer:
        usage = as_dict(self.response.get("usage"))
        counts = self._count(usage)
        output = [as_dict(item) for item in as_list(self.response.get("output"))]
        text = self._find_text("text", _gather(output, "message"))
        reasoning = self._find_text("reasoning", _gather(output, "reasoning"))
        calls = [item for item in output if as_text(item.get("type")).endswith("_call")]
        carries = bool(text or reasoning or calls or self.chunks)
        timing = time_answer(
            arrival,
            counts,
            self._streamed() if arrival.is_stream else self._whole(text, reasoning, calls),
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            finish_reason=self._finish_reason(),
            model=as_text(self.response.get("model")) or self.model,
            error=self._error(arrival, counts.output, carries=carries),
        )
        return Answer(text, reasoning, calls, timing.finish_reason, usage or None, timing, self.response)

    def _count(self, usage: Mapping[str, Any]) -> TokenCounts:
        counts = read_usage(usage)
        last, others = max(list_outputs({"usage": usage}), default=None), [*self.counted, *list_outputs(self.response)]
        fault = describe_other_count(last, counts.reasoning or 0, others)
        return replace(counts, fault=counts.fault or fault)

    def _find_text(self, kind: ChunkKind, whole: str) -> str:
        """Returns the text in the whole answer, else that of its events: not every server repeats it at the end."""
        parts = zip(self.chunks, self.texts, strict=True)
        return whole or "".join(text for chunk, text in parts if chunk.kind == kind)

    def _streamed(self) -> Streamed:
        kinds = [chunk.kind for chunk in self.chunks]
        reasoning = sum(count_bytes(t) for t, kind in zip(self.texts, kinds, strict=True) if kind == "reasoning")
        size = sum(map(count_bytes, self.texts))
        return Streamed(kinds, size, reasoning, self.events, self.running, self.summarized)

    @staticmethod
    def _whole(text: str, reasoning: str, calls: Sequence[dict[str, Any]]) -> Whole:
        called = sum(len(json.dumps(call)) for call in calls)
        return Whole(count_bytes(text) + count_bytes(reasoning) + called, count_bytes(reasoning), len(calls))

    def _finish_reason(self) -> str | None:
        """The finish reason in the words of ``/chat/completions``; None for an answer that has not ended well."""
        finish = find_finish_reason(*self._status())
        # The event may name a worse ending than the status in it, and never a better one.
        return finish if self.ended_by in ("", "response.completed", f"response.{self._status()[0]}") else None

    def _status(self) -> tuple[str, str]:
        details = as_dict(self.response.get("incomplete_details"))
        status, reason = as_text(self.response.get("status")), as_text(details.get("reason"))
        return status, reason or (self._find_unfinished_part() if status == "completed" else "")

    def _find_unfinished_part(self) -> str:
        """Returns the status of a message in the answer that did not end well, or ""."""
        messages = (as_dict(item) for item in as_list(self.response.get("output")))
        states = (as_text(item.get("status")) for item in messages if item.get("type") == "message")
        return next((state for state in states if state == "incomplete" or tells_of_failure(state)), "")

    def _error(self, arrival: Arrival, tokens: int | None, *, carries: bool) -> str | None:
        return self.reported or arrival.fault or self.malformed or self._why_no_answer(arrival, tokens, carries) or None

    def _why_no_answer(self, arrival: Arrival, tokens: int | None, carries: bool) -> str:
        finish, (status, reason) = self._finish_reason(), self._status()
        if finish is not None:
            return "" if carries else why_empty(finish, tokens)
        if not self.response and not self.chunks:
            return describe_nothing(arrival)
        why = f" for the reason {excerpt(reason)!r}" if reason else ""
        if find_finish_reason(status, reason) is not None:
            why = f" in the event {excerpt(self.ended_by)!r}"
        return f"the answer ended unfinished, its status is {excerpt(status) or 'not stated'}{why}"


def _find_kind(name: str) -> ChunkKind | None:
    """Returns what an event of this name carries of the answer; None for one that carries none of its tokens."""
    if name.startswith(_SUMMARY):
        return None
    return _DELTAS.get(name) or ("reasoning" if _REASONING_DELTA.fullmatch(name) else None)


def _gather(output: list[dict[str, Any]], kind: str) -> str:
    """Returns the text of all output of a kind; of reasoning its summary, if it has no text."""
    items = [item for item in output if item.get("type") == kind]
    return "".join(gather_text(item.get("content")) or gather_text(item.get("summary")) for item in items)
