"""Reads answers of the OpenAI API (``/completions``, ``/chat/completions``), streamed or whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.measurement.request import ServerTimes
from pytest_llmperf.traffic.answers import sse
from pytest_llmperf.traffic.answers.answer import Answer, time_answer
from pytest_llmperf.traffic.answers.content import (
    count_media_bytes,
    is_plain,
    is_summary,
    list_calls,
    read_reasoning,
    read_text,
)
from pytest_llmperf.traffic.answers.counts import (
    Streamed,
    Whole,
    count_bytes,
    count_rises,
    describe_other_count,
)
from pytest_llmperf.traffic.answers.endings import (
    describe_models,
    describe_nothing,
    find_worse,
    why_empty,
    why_unfinished,
)
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from pytest_llmperf.traffic.answers.event_template import EventTemplate
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text, excerpt, parse_object
from pytest_llmperf.traffic.answers.usage import COUNTS_OF_TIMINGS, TokenCounts, find_no_count, list_outputs, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import Chunk, ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

SEVERAL_CHOICES = "the answer has several choices, whose tokens cannot be told apart: ask for one prompt, with n=1"
# A server that states more, a year, states no time.
_MOST_MS = 366 * 86_400_000
_AFTER_END = "more of the answer came after it had ended with {!r}, as if it were of several choices"


def read(arrival: Arrival) -> Answer:
    """Reads an answer; ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {describe_refusal(arrival.body)}"
    elif arrival.is_stream:
        parts.take_stream(sse.parse_events(arrival.pieces))
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


class _Carrier(NamedTuple):
    """A piece that carries tokens, and the running token counts in ``usage`` and in ``timings`` (llama.cpp)."""

    at_ns: int
    kind: ChunkKind
    by_usage: int | None
    by_timings: int | None


def _text_of(content: dict[str, Any]) -> str:
    """Reads the text of an event that carries nothing but text; "" for any other."""
    parts = _Parts()
    parts.take_content(0, content)
    alone = parts.carriers == [_Carrier(0, "text", None, None)] and not (parts.reported or parts.ending)
    more = parts.usage is not None or parts.timings or parts.media_bytes
    return "".join(parts.text) if alone and not more else ""


@dataclass
class _Parts:
    """The parts of an answer that have been read so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    carriers: list[_Carrier] = field(default_factory=list)
    events: int = 0
    choices: set[object] = field(default_factory=set)
    numbered: bool = True
    ends: int = 0
    ending: object = None
    counted: list[int] = field(default_factory=list)
    usage: dict[str, Any] | None = None
    timings: dict[str, Any] = field(default_factory=dict)
    no_count: str = ""
    media_bytes: int = 0
    summarized: bool = False
    raw: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    reported: str = ""
    malformed: str = ""

    def take_stream(self, events: Sequence[tuple[int, str]]) -> None:
        self.events = len(events)
        template: EventTemplate | None = None
        alike = ""
        for at_ns, data in events:
            if template is not None and (text := template.match(data)) is not None:
                self.text.append(text)
                self.carriers.append(_Carrier(at_ns, "text", None, None))
                alike = data
                continue
            if sse.is_blank(data):
                continue
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
        content = parse_object(data)
        if content is None:
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return
        self.take_content(at_ns, content)

    def take_content(self, at_ns: int, content: dict[str, Any]) -> None:
        self.raw = content
        if error := find_error(content):
            self.reported = f"the server reported an error: {error}"
            return
        choices = as_list(content.get("choices"))
        if choices:  # what a gateway adds itself may have another name for the model
            self._take_model(as_text(content.get("model")))
        usage, timings = _find_usage(content, choices), as_dict(content.get("timings"))
        self._take_counts(usage, timings)
        kind = self._take_choices(choices)
        if self.ending:
            self.counted += list_outputs(content)
        if kind is not None:
            by_usage, by_timings = as_count(usage.get("completion_tokens")), as_count(timings.get("predicted_n"))
            self.carriers.append(_Carrier(at_ns, kind, by_usage, by_timings))

    def _take_model(self, model: str) -> None:
        if model and self.model and model != self.model:
            self.reported = describe_models(self.model, model)
        self.model = self.model or model

    def _take_counts(self, usage: dict[str, Any], timings: dict[str, Any]) -> None:
        self.usage = usage or self.usage
        self.timings = timings or self.timings
        if (stated := usage.get("completion_tokens")) is not None and as_count(stated) is None:
            self.no_count = self.no_count or read_usage(usage).fault

    def _take_choices(self, choices: Sequence[object]) -> ChunkKind | None:
        if not choices:
            return None
        choice = as_dict(choices[0])
        self.choices.add(_identify(choice.get("index")))
        self.numbered = self.numbered and choice.get("index") is not None
        if len(choices) > 1 or len(self.choices) > 1:
            self.reported = SEVERAL_CHOICES
            return None
        return self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> ChunkKind | None:
        ended = self.ending
        self.ends += bool(choice.get("finish_reason"))
        self.ending = find_worse(ended, choice.get("finish_reason"))
        kind = self._take_message(choice)
        if ended and kind is not None and not why_unfinished(self.ending, ""):
            self.reported = _AFTER_END.format(ended)
        return kind

    def _take_message(self, choice: Mapping[str, Any]) -> ChunkKind | None:
        message = as_dict(choice.get("delta")) or as_dict(choice.get("message")) or choice
        if is_plain(message):
            text = as_text(message.get("content")) or as_text(choice.get("text"))
            self.text.append(text)
            return "text" if text else None
        text = read_text(message) or as_text(choice.get("text"))
        reasoning = read_reasoning(message)
        called = [self._take_call(call) for call in list_calls(message)]
        self.text.append(text)
        self.reasoning.append(reasoning)
        media = count_media_bytes(message)
        self.media_bytes += media
        if any(called):
            return "tool"
        if text or media:
            return "text"
        summarized = bool(reasoning) and is_summary(message)
        self.summarized = self.summarized or summarized
        return "reasoning" if reasoning and not summarized else None

    def _take_call(self, call: Mapping[str, Any]) -> bool:
        """Adds a tool call or a part of one; returns whether it carried a name or arguments."""
        function = as_dict(call.get("function")) or as_dict(call.get("custom"))
        name, arguments = as_text(function.get("name")), as_text(function.get("arguments") or function.get("input"))
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

    @property
    def finish_reason(self) -> str | None:
        return as_text(self.ending) or None

    def answer(self, arrival: Arrival) -> Answer:
        asked = [call for call in self.tool_calls if call["function"]["name"] or call["function"]["arguments"]]
        calls = [{key: call[key] for key in ("id", "type", "function")} for call in asked]
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        counts = self._count()
        timing = time_answer(
            arrival,
            counts,
            self._streamed(text, reasoning) if arrival.is_stream else self._whole(text, reasoning),
            chunks=self._chunks() if arrival.is_stream else (),
            finish_reason=self.finish_reason,
            model=self.model,
            server=read_times(self.timings),
            **read_drafts(self.timings),
            error=self._error(arrival, counts, carries=bool(text or reasoning or calls or self.media_bytes)),
        )
        return Answer(text, reasoning, calls, self.finish_reason, self.usage, timing, self.raw)

    def _count(self) -> TokenCounts:
        """Returns the counts in ``usage``, else those in the ``timings`` of llama.cpp."""
        timings = self.timings
        cached = as_count(timings.get("cache_n"))
        fault = self.no_count or find_no_count(timings, COUNTS_OF_TIMINGS)
        if self.usage is not None:
            counts = read_usage(self.usage)
            largest = max((count for count in (counts.cached, cached) if count is not None), default=None)
            last = max(list_outputs({"usage": self.usage}), default=None)
            others = [*self.counted, *list_outputs({"timings": timings})]
            fault = counts.fault or fault or describe_other_count(last, counts.reasoning or 0, others)
            return replace(counts, cached=largest, fault=fault)
        prompt = as_count(timings.get("prompt_n"))
        # llama.cpp leaves the tokens it found in its cache out of prompt_n.
        whole = None if prompt is None else prompt + (cached or 0)
        return TokenCounts(as_count(timings.get("predicted_n")), whole, cached, fault=fault)

    def _measure(self, text: str, reasoning: str) -> int:
        """Returns the length of all that came, in bytes."""
        called = "".join(call["function"]["name"] + call["function"]["arguments"] for call in self.tool_calls)
        return count_bytes(text) + count_bytes(reasoning) + count_bytes(called) + self.media_bytes

    def _whole(self, text: str, reasoning: str) -> Whole:
        return Whole(self._measure(text, reasoning), count_bytes(reasoning), len(self.tool_calls))

    def _streamed(self, text: str, reasoning: str) -> Streamed:
        totals = [c.by_usage for c in self.carriers[-1:]]
        return Streamed(
            kinds=[carrier.kind for carrier in self.carriers],
            size=self._measure(text, reasoning),
            reasoning_size=count_bytes(reasoning),
            events=self.events,
            last_running=totals[0] if totals else None,
            summarized=self.summarized,
        )

    def _error(self, arrival: Arrival, counts: TokenCounts, *, carries: bool) -> str | None:
        # A stream that was cut often ends in half an event: the cut is the cause, not the malformed half.
        return self.reported or arrival.fault or self.malformed or self._why_no_answer(arrival, counts, carries) or None

    def _why_no_answer(self, arrival: Arrival, counts: TokenCounts, carries: bool) -> str:
        if not self.choices:
            return describe_nothing(arrival)
        if not self.numbered and (arrival.several or self.ends > 1):
            return SEVERAL_CHOICES
        unfinished = why_unfinished(self.ending, "the stream" if arrival.is_stream else "the answer")
        return unfinished or ("" if carries else why_empty(as_text(self.ending), counts.output))

    def _chunks(self) -> Sequence[Chunk]:
        counts = count_rises([c.by_usage for c in self.carriers]) or count_rises([c.by_timings for c in self.carriers])
        return PackedChunks.of([c.at_ns for c in self.carriers], [c.kind for c in self.carriers], counts)


def read_times(timings: Mapping[str, Any]) -> ServerTimes | None:
    """The times that llama.cpp states of an answer; None if it states none."""
    prompt, decode = (_as_nanoseconds(timings.get(name)) for name in ("prompt_ms", "predicted_ms"))
    if prompt is None or decode is None:
        return None
    return ServerTimes(prompt=prompt, decode=decode, drafted=bool(as_count(timings.get("draft_n"))))


def read_drafts(timings: Mapping[str, Any]) -> dict[str, int]:
    """The draft tokens that llama.cpp counted of an answer; it leaves them out where it drafted none. Empty if unknown.

    More accepted tokens than were drafted are no counts.
    """
    drafted, accepted = (as_count(timings.get(name, 0)) for name in ("draft_n", "draft_n_accepted"))
    if "predicted_n" not in timings or drafted is None or accepted is None or accepted > drafted:
        return {}
    return {"drafted_tokens": drafted, "accepted_tokens": accepted}


def _as_nanoseconds(ms: object) -> int | None:
    if isinstance(ms, bool) or not isinstance(ms, int | float) or not 0 <= ms < _MOST_MS:
        return None
    return round(ms * 1e6)


def _identify(index: object) -> object:
    """Returns the number of a choice, in whatever type a server states it; the text of one that is no number.

    Some servers leave out the number 0.
    """
    if index is None:
        return 0
    if isinstance(index, str | float):
        try:
            return int(float(index)) if float(index).is_integer() else str(index)
        except (ValueError, OverflowError):
            return str(index)
    return index if type(index) is int else json.dumps(index)


def _find_usage(content: Mapping[str, Any], choices: Sequence[object]) -> dict[str, Any]:
    """Returns the usage of an event, or the one that a server puts into its choice or into a field of its own."""
    if usage := as_dict(content.get("usage")):
        return usage
    own = [as_dict(value) for key, value in content.items() if key.startswith("x_")]
    return next((usage for part in (*map(as_dict, choices), *own) if (usage := as_dict(part.get("usage")))), {})
