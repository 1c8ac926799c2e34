"""The readers of all protocols, a good answer of each, and what holds of any answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from pytest_llmperf.traffic.answers.anthropic import messages
from pytest_llmperf.traffic.answers.inputs import reader
from pytest_llmperf.traffic.answers.llamacpp import completion
from pytest_llmperf.traffic.answers.reading import read_or_fail
from pytest_llmperf.traffic.load.wire import Strings, pack_timing, unpack_timings
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall
from pytest_llmperf.traffic.relay.timing import read_timing
from tests.helpers.arrivals import as_body, as_lines, as_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.traffic.answers.answer import Answer, Arrival

    Arrive = Callable[..., Arrival]

READERS: dict[str, Callable[[Arrival], Answer]] = {
    "/v1/chat/completions": openai.read,
    "/v1/completions": completion.read_any_completion,
    "/v1/responses": openai_responses.read,
    "/v1/messages": messages.read,
    "/completion": completion.read,
    "/v1/embeddings": reader.read_embeddings,
    "/v1/rerank": reader.read_scores,
    "/api/generate": ollama.read,
    "/api/chat": ollama.read,
}
WAYS: dict[str, Arrive] = {"whole": as_body, "events": as_stream, "lines": as_lines}
GOOD: dict[str, list[dict[str, Any]]] = {
    "chat": [
        {
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": "a",
                        "reasoning_content": "b",
                        "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "finish_reason": "stop",
                }
            ],
            "usage": {
                "completion_tokens": 1,
                "prompt_tokens": 3,
                "total_tokens": 4,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "prompt_tokens_details": {"cached_tokens": 0},
            },
            "timings": {"predicted_n": 1, "prompt_n": 3, "cache_n": 0},
        }
    ],
    "responses": [
        {"type": "response.output_text.delta", "delta": "a"},
        {
            "type": "response.completed",
            "response": {
                "status": "completed",
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "a"}]}],
                "usage": {"output_tokens": 1, "input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 0}},
            },
        },
    ],
    "ollama": [
        {
            "message": {"content": "a", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
            "response": "a",
            "done": True,
            "done_reason": "stop",
            "eval_count": 1,
            "prompt_eval_count": 3,
            "total_duration": 9,
        }
    ],
    "messages": [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "a"},
            "message": {"model": "m", "usage": {"input_tokens": 3, "cache_read_input_tokens": 0}},
            "content_block": {"type": "tool_use", "name": "f", "input": {}},
        },
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    ],
    "completion": [
        {
            "index": 0,
            "content": "a",
            "stop": True,
            "stop_type": "eos",
            "tokens_predicted": 1,
            "tokens_evaluated": 3,
            "timings": {"predicted_n": 1, "cache_n": 0, "prompt_ms": 1.5, "predicted_ms": 2.5},
        }
    ],
    "inputs": [
        {
            "data": [{"index": 0, "embedding": [0.1, 0.2], "score": 0.5}],
            "usage": {"prompt_tokens": 3},
            "prompt_eval_count": 3,
            "meta": {"billed_units": {"input_tokens": 3}},
        }
    ],
}
# Which of these are changed for a reader; for the others those of all older protocols.
OWN = {
    "/v1/messages": ("messages",),
    "/completion": ("completion",),
    "/v1/completions": ("chat", "completion"),
    "/v1/embeddings": ("inputs",),
    "/v1/rerank": ("inputs",),
}


def check_answer(path: str, arrival: Arrival) -> RequestTiming:
    """Reads an answer as client, load client and relay do, checks what holds of any, and returns its timing."""
    timing = read_or_fail(READERS[path], arrival).timing
    assert (timing.sent_ns, timing.end_ns) == (arrival.sent_ns, arrival.end_ns)
    assert timing.error is None or (timing.error and timing.error.isprintable() and len(timing.error) < 400)
    assert timing.count_fault == "" or timing.count_fault.isprintable()
    for count in (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, timing.hidden_tokens):
        assert count is None or (type(count) is int and 0 <= count <= 2**54)
    _ = (timing.ttft, timing.tpot, timing.itl, timing.e2e, timing.chunk_gaps)
    strings = Strings()
    packed = pack_timing(1, timing, strings)
    json.dumps(strings.known)
    [(_, found)] = unpack_timings(packed, strings.known)
    assert (found.error, found.output_tokens, found.count_fault) == (
        timing.error,
        timing.output_tokens,
        timing.count_fault,
    )
    call = RecordedCall(path, 0, arrival.end_ns, arrival.status, arrival.content_type)
    call.pieces += arrival.pieces
    recorded = read_timing(call)
    assert recorded is None or recorded.error is None or recorded.error.isprintable()
    return timing
