"""Answers as they arrive, 10 ms after each other, for the readers of every protocol."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.answer import Arrival

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP_NS = 10_000_000


def as_body(content: object, **arrival: Any) -> Arrival:
    """A whole answer; bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return _arrive([body], **{"content_type": "application/json", "streamed": False, **arrival})


def as_stream(*contents: object, **arrival: Any) -> Arrival:
    """A stream of server-sent events; text and bytes as they are."""
    return _arrive(
        [b"data: " + _encode(content) + b"\n\n" for content in contents],
        **{"content_type": "text/event-stream", **arrival},
    )


def as_lines(*contents: object, **arrival: Any) -> Arrival:
    """A stream in Ollama's own protocol."""
    return _arrive(
        [_encode(content) + b"\n" for content in contents], **{"content_type": "application/x-ndjson", **arrival}
    )


def _encode(content: object) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


def _arrive(pieces: Sequence[bytes], **arrival: Any) -> Arrival:
    stamped = [(STEP_NS * number, piece) for number, piece in enumerate(pieces, start=1)]
    return Arrival(sent_ns=0, end_ns=STEP_NS * len(pieces), pieces=stamped, **{"status": 200, **arrival})
