"""From the stamped pieces of an answer in Ollama's own protocol (``/api/generate``, ``/api/chat``) to text and timing.

A stream is one JSON object a line; the last one has ``"done": true`` and the server's counts and times. A server that
says no token count says zero: Go leaves out fields that are.
"""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.traffic.answers.json_fields import a_count, a_dict, a_list, a_text, excerpt
from pytest_llmperf.traffic.answers.openai import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.openai import Arrival

# More than so many chunks that are alike, but for the space around them, and the server ends the answer.
_REPEATS = 30
# What a request to load or unload a model is answered with: no token was asked for, so none is counted.
_NO_ANSWER = ("load", "unload")


def read(arrival: Arrival) -> Answer:
    """The answer in what arrived. Never raises: what is wrong stands in ``timing.error``, in one line."""
    parts = _Parts()
    if arrival.status is not None and not 200 <= arrival.status < 300:
        parts.reported = f"HTTP {arrival.status}: {refusal(arrival.body)}"
    elif arrival.is_stream:
        for at_ns, line in lines(arrival.pieces):
            parts.take(at_ns, line)
    elif not arrival.fault:
        parts.take(arrival.end_ns, arrival.body)
    return parts.answer(arrival)


def lines(pieces: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, str]]:
    """The lines of a body that are not blank, each stamped (ns) with the piece that brought its end."""
    whole = b"".join(data for _, data in pieces)
    ends = list(itertools.accumulate(len(data) for _, data in pieces))
    stop = 0
    for line in whole.splitlines(keepends=True):
        stop += len(line)
        if line.strip():
            yield pieces[bisect_left(ends, stop)][0], line.decode(errors="replace").strip()


def refusal(body: str) -> str:
    """What a body with ``{"error": ...}`` says, in one line. Some errors of the runner are JSON within that string."""
    try:
        content = json.loads(body)
    except ValueError:
        return excerpt(body)
    return _message(a_dict(content).get("error")) or excerpt(body)


def _message(error: object) -> str:
    if isinstance(error, str):
        try:
            inner = json.loads(error)
        except ValueError:
            return excerpt(error)
        return _message(a_dict(inner).get("error")) or excerpt(error)
    return excerpt(a_text(a_dict(error).get("message")))


@dataclass
class _Parts:
    """What has been read of an answer so far."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    reported: str = ""
    malformed: str = ""

    def take(self, at_ns: int, data: str) -> None:
        """One line of a stream, or a whole body: they have the same form."""
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
        message = a_dict(content.get("message"))
        text = a_text(content.get("response")) or a_text(message.get("content"))
        reasoning = a_text(content.get("thinking")) or a_text(message.get("thinking"))
        calls = [self._call(a_dict(call)) for call in a_list(message.get("tool_calls"))]
        self.text.append(text)
        self.reasoning.append(reasoning)
        self.tool_calls += calls
        if calls:
            return "tool"
        return "text" if text else "reasoning" if reasoning else None

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """A tool call in the form of the OpenAI API, whose arguments are text."""
        function = a_dict(call.get("function"))
        asked = {"name": a_text(function.get("name")), "arguments": json.dumps(function.get("arguments") or {})}
        return {"id": a_text(call.get("id")), "type": "function", "function": asked}

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
        finish = a_text(self.last.get("done_reason")) if self._done else ""
        counted = self._done and finish not in _NO_ANSWER
        return RequestTiming(
            sent_ns=arrival.sent_ns,
            end_ns=arrival.end_ns,
            chunks=tuple(self.chunks) if arrival.is_stream else (),
            output_tokens=a_count(self.last.get("eval_count", 0)) if counted else None,
            prompt_tokens=a_count(self.last.get("prompt_eval_count", 0)) if counted else None,
            streamed=arrival.is_stream,
            status=arrival.status,
            finish_reason=finish or None,
            error=self._error(arrival),
            shared_prefix=arrival.shared_prefix,
            server=self._times() if counted else None,
        )

    def _times(self) -> ServerTimes:
        names = ("load_duration", "prompt_eval_duration", "eval_duration", "total_duration")
        return ServerTimes(*(a_count(self.last.get(name)) for name in names))

    def _error(self, arrival: Arrival) -> str | None:
        ending = "" if self._done else self._unfinished()
        return self.reported or arrival.fault or self.malformed or ending or None

    def _unfinished(self) -> str:
        ending = 'the answer ended without "done": true, and so without its counts'
        return f"{ending}: the server cuts off what repeats itself" if self._repeats() else ending

    def _repeats(self) -> bool:
        """Whether the answer ends in what makes the server cut it off; of a whole body, its words stand for chunks."""
        pieces = [text for text in self.text if text]
        words = pieces[0].split() if len(pieces) == 1 else [piece.strip() for piece in pieces]
        return len(words) > _REPEATS and len(set(words[-_REPEATS:])) == 1
