"""Reads answers of llama.cpp's own ``/completion`` and ``/infill``, streamed or whole.

An answer, and each event of a stream, is an object with its text in ``content``; the last one has ``"stop": true``, the
server's counts and its times.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import PackedChunks
from pytest_llmperf.traffic.answers import openai, sse
from pytest_llmperf.traffic.answers.answer import Answer, time_answer
from pytest_llmperf.traffic.answers.counts import Streamed, Whole, count_bytes, count_rises, describe_other_count
from pytest_llmperf.traffic.answers.endings import describe_nothing, why_empty, why_unfinished
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_text, excerpt, parse_object
from pytest_llmperf.traffic.answers.usage import COUNTS_OF_TIMINGS, TokenCounts, find_no_count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import Chunk, ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

_OUTPUT, _PROMPT = "tokens_predicted", "tokens_evaluated"
_COUNTS = re.compile(r"tokens_[a-z]+")
# Why it stopped, in the words of /chat/completions; before 2025 servers said it in a field each.
_ENDINGS: Mapping[str, str] = MappingProxyType({"limit": "length", "eos": "stop", "word": "stop"})


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


def read_any_completion(arrival: Arrival) -> Answer:
    """Reads an answer of ``/completions``, which is of the OpenAI API, or of llama.cpp's own if its server has no
    ``/v1`` in front of it.
    """
    return read(arrival) if _is_own(arrival) else openai.read(arrival)


def _is_own(arrival: Arrival) -> bool:
    """Whether an answer is of llama.cpp's own form, by its first object."""
    if arrival.is_stream:
        events = sse.parse_events(arrival.pieces)
        first = next((data for _, data in events if not sse.is_blank(data) and data.strip() != "null"), "")
    else:
        first = arrival.body
    if '"choices"' in first or f'"{_OUTPUT}"' not in first:
        return False
    return _OUTPUT in (parse_object(first) or as_dict(_parse_several(first)))


def _parse_several(data: str) -> object:
    """The first of several answers that came as a list; None if there is no such list."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found[0] if isinstance(found, list) and found else None


@dataclass
class _Parts:
    """The parts of an answer that have been read so far; ``last`` is the object that ended it."""

    text: list[str] = field(default_factory=list)
    stamps: list[int] = field(default_factory=list)
    running: list[int | None] = field(default_factory=list)
    numbers: set[int] = field(default_factory=set)
    last: dict[str, Any] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    events: int = 0
    model: str = ""
    reported: str = ""
    malformed: str = ""

    def take_stream(self, events: Sequence[tuple[int, str]]) -> None:
        self.events = len(events)
        for at_ns, data in events:
            if self.reported or self.malformed:
                break
            if not sse.is_blank(data):
                self.take(at_ns, data)

    def take(self, at_ns: int, data: str) -> None:
        """Adds one event of a stream, or a whole body: they have the same form."""
        content = parse_object(data)
        if content is None:
            # Several answers are a list, or begin with an event that is null.
            if data.strip() == "null" or _parse_several(data) is not None:
                self.reported = openai.SEVERAL_CHOICES
            else:
                self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return
        self.raw = content
        if error := find_error(content):
            self.reported = f"the server reported an error: {error}"
            return
        self.numbers.add(as_count(content.get("index")) or 0)
        if len(self.numbers) > 1:
            self.reported = openai.SEVERAL_CHOICES
        elif self.last:
            self.reported = f"more came after the answer had ended: {excerpt(data)}"
        else:
            self._take_content(at_ns, content)

    def _take_content(self, at_ns: int, content: dict[str, Any]) -> None:
        self.model = as_text(content.get("model")) or self.model
        if content.get("stop") is True:
            self.last = content
        if text := as_text(content.get("content")):
            self.text.append(text)
            self.stamps.append(at_ns)
            self.running.append(as_count(content.get(_OUTPUT)))

    def answer(self, arrival: Arrival) -> Answer:
        counts, text = self._count(), "".join(self.text)
        size = count_bytes(text)
        timing = time_answer(
            arrival,
            counts,
            self._streamed(size) if arrival.is_stream else Whole(size),
            chunks=self._chunks() if arrival.is_stream else (),
            finish_reason=self._finish_reason,
            model=self.model,
            server=openai.read_times(as_dict(self.last.get("timings"))),
            **openai.read_drafts(as_dict(self.last.get("timings"))),
            error=self._error(arrival, counts.output, carries=bool(text)),
        )
        return Answer(text, "", [], timing.finish_reason, None, timing, self.raw)

    def _count(self) -> TokenCounts:
        timings = as_dict(self.last.get("timings"))
        output, prompt = (as_count(self.last.get(key)) for key in (_OUTPUT, _PROMPT))
        faults = (
            find_no_count({key: self.last.get(key) for key in (_OUTPUT, _PROMPT)}, _COUNTS),
            find_no_count(timings, COUNTS_OF_TIMINGS),
            describe_other_count(output, 0, [as_count(timings.get("predicted_n"))] if timings else []),
        )
        return TokenCounts(output, prompt, as_count(timings.get("cache_n")), fault=next(filter(None, faults), ""))

    def _streamed(self, size: int) -> Streamed:
        kinds: list[ChunkKind] = ["text"] * len(self.stamps)
        running = self.running[-1] if self.running else None
        return Streamed(kinds, size, events=self.events, last_running=running)

    def _chunks(self) -> Sequence[Chunk]:
        return PackedChunks.of(self.stamps, ["text"] * len(self.stamps), count_rises(self.running))

    @property
    def _finish_reason(self) -> str | None:
        """In the words of ``/chat/completions``; a word of its own where the server gives one that is not known."""
        stated = as_text(self.last.get("stop_type"))
        if not stated:
            stated = next((name for name in _ENDINGS if self.last.get(f"stopped_{name}") is True), "")
        return _ENDINGS.get(stated, stated) or None

    def _error(self, arrival: Arrival, tokens: int | None, *, carries: bool) -> str | None:
        # A stream that was cut often ends in half an event: the cut is the cause, not the malformed half.
        return self.reported or arrival.fault or self.malformed or self._why_no_answer(arrival, tokens, carries) or None

    def _why_no_answer(self, arrival: Arrival, tokens: int | None, carries: bool) -> str:
        if "content" not in self.raw:
            return describe_nothing(arrival)
        finish = self._finish_reason
        unfinished = why_unfinished(finish, "the stream" if arrival.is_stream else "the answer")
        return unfinished or ("" if carries else why_empty(finish or "", tokens))
