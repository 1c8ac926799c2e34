"""What llama.cpp and vLLM have answered on each of their paths: requests and answers, word for word.

Of vectors a few numbers are kept, of text in base64 its beginning, and nothing of the settings that llama.cpp repeats.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls
from pytest_llmperf.traffic.relay.timing import read_timing
from tests.helpers.captured import captured

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

STEP_NS = 10_000_000
CAPTURES: dict[str, dict[str, Any]] = json.loads(captured("endpoints.json"))


def read_captured(name: str) -> RequestTiming:
    """The timing of a captured call, as the relay records and reads it: events come 10 ms after each other.

    ``name`` is the server, the kind of its model and the call: ``"vllm-embed score"``.
    """
    capture = CAPTURES[name]
    return read_relayed(
        capture["path"], capture["request"], capture["body"], capture["status"], capture["content_type"]
    )


def read_relayed(
    path: str, asked: object, body: str, status: int = 200, content_type: str = "application/json"
) -> RequestTiming:
    """The same of any call. None of these only loads a model."""
    recorded = RecordedCalls()
    recorded.open(1)
    call = recorded.begin("POST", path, 1)
    assert call is not None
    assert call.read
    recorded.take_body(call, [json.dumps(asked).encode()])
    call.status, call.content_type = status, content_type
    pieces = [f"{event}\n\n" for event in body.split("\n\n") if event] if "event-stream" in content_type else [body]
    for number, piece in enumerate(pieces, start=1):
        recorded.add_content(call, 1 + number * STEP_NS, [piece.encode()])
    recorded.end(call, 1 + len(pieces) * STEP_NS)
    recorded.take(2 + len(pieces) * STEP_NS, final=True)
    timing = read_timing(call)
    assert timing is not None
    return timing
