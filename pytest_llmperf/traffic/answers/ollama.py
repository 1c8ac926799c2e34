"""Reads answers of Ollama's own API (``/api/generate``, ``/api/chat``), streamed or whole.

A stream has one JSON object on each line; the last one has ``"done": true`` and the server's counts and durations. A
missing token count means zero, since Go omits such fields.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import ServerTimes
from pytest_llmperf.traffic.answers.answer import Answer, time_answer
from pytest_llmperf.traffic.answers.asked import check_asked
from pytest_llmperf.traffic.answers.content import list_calls, read_reasoning, read_text
from pytest_llmperf.traffic.answers.counts import Streamed, Whole, count_bytes, describe_other_count
from pytest_llmperf.traffic.answers.endings import (
    NO_ANSWER,
    describe_models,
    describe_nothing,
    why_empty,
    why_unfinished,
)
from pytest_llmperf.traffic.answers.errors import describe_refusal, find_error
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_text, excerpt, parse_object
from pytest_llmperf.traffic.answers.usage import COUNTS_OF_OLLAMA, TokenCounts, find_no_count, list_outputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

# After more equal chunks in a row than this, but for white space, the server ends the answer.
_REPEATS = 30
_LENGTH_HINT = "Ollama's own API takes options.num_predict, and ignores max_tokens"


def read(arrival: Arrival) -> Answer:
    """Reads an answer; ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {describe_refusal(arrival.body)}"
    elif arrival.is_stream:
        for at_ns, line in split_lines(arrival.pieces):
            parts.take(at_ns, line)
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


def read_uncached(arrival: Arrival) -> Answer:
    """Reads an answer of a server that counts of a prompt only what did not come from its cache.

    Of a prompt that may have come from there, how many tokens it has is not known.
    """
    answer = read(arrival)
    if not arrival.shared_prefix:
        return answer
    return replace(answer, usage=None, timing=replace(answer.timing, prompt_tokens=None))


def split_lines(pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """Yields the lines of a body that are not blank, each with the stamp (ns) of the piece that brought its end.

    A line ends with a line feed, a carriage return, or both. A byte-order mark before the first one is passed over.
    """
    whole = b"".join(data for _, data in pieces)
    ends = list(itertools.accumulate(len(data) for _, data in pieces))
    stop = 0
    for line in whole.splitlines(keepends=True):
        stop += len(line)
        text = line.decode(errors="replace").strip()
        text = text.removeprefix("\ufeff") if stop == len(line) else text
        if text:
            yield pieces[bisect_left(ends, stop)][0], text


@dataclass
class _Parts:
    """The parts of an answer that have been read so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    lines: int = 0
    running: int | None = None
    model: str = ""
    reported: str = ""
    malformed: str = ""

    def take(self, at_ns: int, data: str) -> None:
        """Adds one line of a stream, or a whole body: they have the same form."""
        if self.reported or self.malformed:
            return
        content = parse_object(data)
        if content is None:
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return
        self.lines += 1
        ended = self.last if self._done else {}
        self.last = content
        if error := find_error(content):
            self.reported = f"the server reported an error: {error}"
            return
        self._take_model(as_text(content.get("model")))
        if ended:
            self.last = ended
            self.reported = self.reported or f"more came after the answer had ended: {excerpt(data)}"
            return
        if not self._done:
            self.running = max(list_outputs(content), default=self.running)
        kind = self._take_content(content)
        if kind is not None:
            self.chunks.append(Chunk(at_ns, kind))

    def _take_model(self, model: str) -> None:
        if model and self.model and model != self.model:
            self.reported = describe_models(self.model, model)
        self.model = self.model or model

    def _take_content(self, content: Mapping[str, Any]) -> ChunkKind | None:
        message = as_dict(content.get("message"))
        text = as_text(content.get("response")) or read_text(message)
        reasoning = read_reasoning(message or content)
        calls = [self._call(call) for call in list_calls(message) if as_dict(call.get("function")).get("name")]
        self.text.append(text)
        self.reasoning.append(reasoning)
        self.tool_calls += calls
        if calls:
            return "tool"
        return "text" if text else "reasoning" if reasoning else None

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a tool call in the form of the OpenAI API, whose arguments are text."""
        function = as_dict(call.get("function"))
        asked = {"name": as_text(function.get("name")), "arguments": json.dumps(function.get("arguments") or {})}
        return {"id": as_text(call.get("id")), "type": "function", "function": asked}

    def answer(self, arrival: Arrival) -> Answer:
        counts = self._count(arrival)
        usage = None
        if counts.output is not None and counts.prompt is not None:
            usage = {"prompt_tokens": counts.prompt, "completion_tokens": counts.output}
            usage["total_tokens"] = counts.prompt + counts.output
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        timing = time_answer(
            arrival,
            counts,
            self._streamed(text, reasoning) if arrival.is_stream else self._whole(text, reasoning),
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            finish_reason=self._finish_reason,
            model=self.model,
            error=self._error(arrival, counts),
            server=self._times() if self._counted else None,
        )
        return Answer(text, reasoning, self.tool_calls, timing.finish_reason, usage, timing, self.last)

    @property
    def _done(self) -> bool:
        return self.last.get("done") is True

    @property
    def _ending(self) -> object:
        return self.last.get("done_reason") if self._done else None

    @property
    def _finish_reason(self) -> str | None:
        """As the server gave it; None for an answer that ended as one to a request that asks for no tokens."""
        ending = as_text(self._ending)
        return None if ending in NO_ANSWER and self._carries else ending or None

    @property
    def _carries(self) -> bool:
        return any((*self.text, *self.reasoning, *self.tool_calls))

    @property
    def _counted(self) -> bool:
        """Whether the last line has counts; they are left out of answers to requests that ask for no tokens."""
        return self._done and as_text(self._ending) not in NO_ANSWER

    def _count(self, arrival: Arrival) -> TokenCounts:
        if not self._counted:
            return TokenCounts()
        output = as_count(self.last.get("eval_count", 0))
        beyond = check_asked(output, arrival.asked_tokens)
        other = describe_other_count(output, 0, list_outputs(self.last))
        return TokenCounts(
            output=output,
            prompt=as_count(self.last.get("prompt_eval_count", 0)),
            fault=find_no_count(self.last, COUNTS_OF_OLLAMA) or (f"{beyond}; {_LENGTH_HINT}" if beyond else other),
        )

    def _measure(self, text: str, reasoning: str) -> int:
        """Returns the length of all that came, in bytes."""
        return count_bytes(text) + count_bytes(reasoning) + count_bytes(json.dumps(self.tool_calls))

    def _whole(self, text: str, reasoning: str) -> Whole:
        return Whole(self._measure(text, reasoning), count_bytes(reasoning), len(self.tool_calls))

    def _streamed(self, text: str, reasoning: str) -> Streamed:
        kinds = [chunk.kind for chunk in self.chunks]
        return Streamed(kinds, self._measure(text, reasoning), count_bytes(reasoning), self.lines, self.running)

    def _times(self) -> ServerTimes:
        names = ("load_duration", "prompt_eval_duration", "eval_duration", "total_duration")
        startup, prompt, decode, total = (as_count(self.last.get(name)) for name in names)
        return ServerTimes(startup, prompt, decode, total)

    def _error(self, arrival: Arrival, counts: TokenCounts) -> str | None:
        return self.reported or arrival.fault or self.malformed or self._why_no_answer(arrival, counts) or None

    def _why_no_answer(self, arrival: Arrival, counts: TokenCounts) -> str:
        if "done" not in self.last:
            return describe_nothing(arrival)
        if not self._done:
            return self._explain_unfinished()
        if as_text(self._ending) in NO_ANSWER and not self._carries:
            return f"the model was only asked to {self._ending}: nothing was generated"
        unfinished = why_unfinished(self._ending, "the answer")
        return unfinished or ("" if self._carries else why_empty(as_text(self._ending), counts.output))

    def _explain_unfinished(self) -> str:
        ending = 'the answer ended without "done": true and without token counts'
        return f"{ending}: the server ends answers that repeat themselves" if self._repeats() else ending

    def _repeats(self) -> bool:
        """Whether the answer ends in the repetition for which the server ends it; a whole body is split into words."""
        pieces = [text for text in self.text if text]
        words = pieces[0].split() if len(pieces) == 1 else [piece.strip() for piece in pieces]
        return len(words) > _REPEATS and len(set(words[-_REPEATS:])) == 1
