"""Answers written out by hand as events with their arrival in milliseconds, as OpenAI-compatible servers send them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.openai import read
from tests.helpers.scripted_server import event

if TYPE_CHECKING:
    from collections.abc import Mapping

MS = 1_000_000
DONE = b"data: [DONE]\n\n"


def answer(*pieces: tuple[float, object], **arrival: Any) -> Answer:
    """Sent at 0 ms; each piece is (ms, event content or raw bytes)."""
    stamped = [(int(ms * MS), data if isinstance(data, bytes) else event(data)) for ms, data in pieces]
    settings = {"status": 200, "content_type": "text/event-stream", **arrival}
    return read(Arrival(sent_ns=0, end_ns=max((at for at, _ in stamped), default=0), pieces=stamped, **settings))


def whole(content: object, **arrival: Any) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return answer((80, body), **{"content_type": "application/json", "streamed": False, **arrival})


def delta(finish: str | None = None, more: Mapping[str, object] | None = None, **carried: Any) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": carried, "finish_reason": finish}], **(more or {})}


def text(content: str, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "text": content, "finish_reason": None}], **more}


def usage(output: int, prompt: int = 7) -> dict[str, object]:
    return {"usage": {"completion_tokens": output, "prompt_tokens": prompt, "total_tokens": output + prompt}}


def timings(predicted: int, prompt: int = 5, cached: int = 2) -> dict[str, object]:
    return {"timings": {"predicted_n": predicted, "prompt_n": prompt, "cache_n": cached}}


ROLE = delta(role="assistant", content=None)
FINISH = delta("stop")


def ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 6)
