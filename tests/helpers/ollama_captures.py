"""What a real Ollama 0.32.15 has said: the files in ``captures/ollama``, as arrivals to be read."""

from __future__ import annotations

import json
from typing import Any

from pytest_llmperf.traffic.answers.answer import Arrival
from tests.helpers.captured import captured

NDJSON = "application/x-ndjson"


def lines(name: str) -> list[tuple[float, str]]:
    """The lines of a captured stream, each with the seconds at which it arrived."""
    pairs = [line.strip().split(" ", 1) for line in captured(f"ollama/{name}").splitlines() if line.strip()]
    return [(float(seconds), text) for seconds, text in pairs if seconds != "#"]


def stream(name: str, upto: int | None = None, **fields: Any) -> Arrival:
    """A captured stream, or its first lines, in one piece a line."""
    pieces = [(round(seconds * 1e9), f"{text}\n".encode()) for seconds, text in lines(name)[:upto]]
    settings = {"status": 200, "content_type": NDJSON, **fields}
    return Arrival(sent_ns=0, end_ns=pieces[-1][0], pieces=pieces, **settings)


def exchange(name: str) -> dict[str, Any]:
    """A captured request with its answer, status and content type."""
    found: dict[str, Any] = json.loads(captured(f"ollama/{name}"))
    return found


def whole(name: str) -> Arrival:
    """The captured answer to a request that did not ask for a stream."""
    seen = exchange(name)
    body = json.dumps(seen["response"]).encode()
    end_ns = round(seen["client_wall_s"] * 1e9)
    return Arrival(0, end_ns, [(end_ns, body)], seen["status"], seen["content_type"], streamed=False)
