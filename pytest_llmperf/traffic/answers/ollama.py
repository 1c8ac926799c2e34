"""Reads answers of Ollama's own API (``/api/generate``, ``/api/chat``), streamed or whole.

A stream has one JSON object on each line; the last one has ``"done": true`` and the server's counts and durations. A
missing token count means zero, since Go omits such fields.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.traffic.answers.answer import Answer
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text, excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.answer import Arrival

# After more equal chunks in a row than this, but for white space, the server ends the answer.
_REPEATS = 30
# Finish reasons of requests that load or unload a model: they ask for no tokens, so none are counted.
_NO_ANSWER = ("load", "unload")


def read(arrival: Arrival) -> Answer:
    """Reads an answer. Never raises: ``timing.error`` says in one line what is wrong with it."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {read_refusal(arrival.body)}"
    elif arrival.is_stream:
        for at_ns, line in split_lines(arrival.pieces):
            parts.take(at_ns, line)
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


def split_lines(pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """Yields the lines of a body that are not blank, each with the stamp (ns) of the piece that brought its end."""
    whole = b"".join(data for _, data in pieces)
    ends = list(itertools.accumulate(len(data) for _, data in pieces))
    stop = 0
    for line in whole.splitlines(keepends=True):
        stop += len(line)
        if line.strip():
            yield pieces[bisect_left(ends, stop)][0], line.decode(errors="replace").strip()


def read_refusal(body: str) -> str:
    """Reads the message in a body ``{"error": ...}``, in one line. The runner puts errors as JSON into that string."""
    try:
        content = json.loads(body)
    except ValueError:
        return excerpt(body)
    return _message(as_dict(content).get("error")) or excerpt(body)


def _message(error: object) -> str:
    if isinstance(error, str):
        try:
            inner = json.loads(error)
        except ValueError:
            return excerpt(error)
        return _message(as_dict(inner).get("error")) or excerpt(error)
    return excerpt(as_text(as_dict(error).get("message")))


@dataclass
class _Parts:
    """The parts of an answer that have been read so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    reported: str = ""
    malformed: str = ""

    def take(self, at_ns: int, data: str) -> None:
        """Adds one line of a stream, or a whole body: they have the same form."""
        if self.reported or self.malformed:
            return
        try:
            content = json.loads(data)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            self.malformed = f"the server sent something that is not a JSON object: {excerpt(data)!r}"
            return
        self.last = content
        if content.get("error"):
            self.reported = f"the server reported an error: {_message(content['error']) or excerpt(data)}"
            return
        kind = self._take_content(content)
        if kind is not None:
            self.chunks.append(Chunk(at_ns, kind))

    def _take_content(self, content: Mapping[str, Any]) -> ChunkKind | None:
        message = as_dict(content.get("message"))
        text = as_text(content.get("response")) or as_text(message.get("content"))
        reasoning = as_text(content.get("thinking")) or as_text(message.get("thinking"))
        calls = [self._call(as_dict(call)) for call in as_list(message.get("tool_calls"))]
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
        timing = self._timing(arrival)
        usage = None
        if timing.output_tokens is not None and timing.prompt_tokens is not None:
            total = timing.prompt_tokens + timing.output_tokens
            usage = {"prompt_tokens": timing.prompt_tokens, "completion_tokens": timing.output_tokens}
            usage["total_tokens"] = total
        text, reasoning = "".join(self.text), "".join(self.reasoning)
        return Answer(text, reasoning, self.tool_calls, timing.finish_reason, usage, timing, self.last)

    @property
    def _done(self) -> bool:
        return self.last.get("done") is True

    def _timing(self, arrival: Arrival) -> RequestTiming:
        finish = as_text(self.last.get("done_reason")) if self._done else ""
        counted = self._done and finish not in _NO_ANSWER
        return RequestTiming(
            sent_ns=arrival.sent_ns,
            end_ns=arrival.end_ns,
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            output_tokens=as_count(self.last.get("eval_count", 0)) if counted else None,
            prompt_tokens=as_count(self.last.get("prompt_eval_count", 0)) if counted else None,
            streamed=arrival.is_stream,
            status=arrival.status,
            finish_reason=finish or None,
            error=self._error(arrival),
            shared_prefix=arrival.shared_prefix,
            server=self._times() if counted else None,
        )

    def _times(self) -> ServerTimes:
        names = ("load_duration", "prompt_eval_duration", "eval_duration", "total_duration")
        return ServerTimes(*(as_count(self.last.get(name)) for name in names))

    def _error(self, arrival: Arrival) -> str | None:
        ending = "" if self._done else self._explain_unfinished()
        return self.reported or arrival.fault or self.malformed or ending or None

    def _explain_unfinished(self) -> str:
        ending = 'the answer ended without "done": true and without token counts'
        return f"{ending}: the server ends answers that repeat themselves" if self._repeats() else ending

    def _repeats(self) -> bool:
        """Whether the answer ends in the repetition for which the server ends it; a whole body is split into words."""
        pieces = [text for text in self.text if text]
        words = pieces[0].split() if len(pieces) == 1 else [piece.strip() for piece in pieces]
        return len(words) > _REPEATS and len(set(words[-_REPEATS:])) == 1
