"""Answers of every protocol: any of them is an answer, or a failed request of one line. No reader raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_llmperf.traffic.answers.answer import Arrival
from pytest_llmperf.traffic.answers.errors import describe_refusal
from tests.fuzz.strategies import json_texts, splits
from tests.helpers.answer_readers import GOOD, OWN, READERS, check_answer

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject

# Keys of other protocols, and of servers that go beyond theirs.
KEYS = (
    *("content", "text", "reasoning", "thinking", "message", "delta", "error", "detail", "code", "status", "type"),
    *("usage", "timings", "choices", "output", "finish_reason", "stop_reason", "done", "model", "index", "name"),
    *("completion_tokens", "output_tokens", "reasoning_tokens", "cached_tokens", "total_tokens", "x_groq", "audio"),
    *("tool_calls", "function_call", "refusal", "annotations", "logprobs", "object", "results", "embeddings", "data"),
)
FORMS = (
    ("text/event-stream", b"data: ", b"\n\n"),
    ("application/x-ndjson", b"", b"\n"),
    ("application/json", b"", b""),
)


@pytest.mark.parametrize("path", READERS)
@given(data=st.data())
@example(data=None)
def test_any_answer_is_one_or_a_failed_request(path: str, data: DataObject | None) -> None:
    if data is None:  # more closing brackets than any parser counts
        check_answer(path, Arrival(0, 1, [(1, b"}" * 100_000)], 200, "application/json"))
        return
    good: list[Any] = [content for kind in OWN.get(path, ("chat", "responses", "ollama")) for content in GOOD[kind]]
    kind, before, after = data.draw(st.sampled_from(FORMS))
    count = data.draw(st.integers(1, 4)) if after else 1
    body = b"".join(before + data.draw(json_texts(good, KEYS)) + after for _ in range(count))
    pieces = data.draw(splits(body))
    arrival = Arrival(
        sent_ns=0,
        end_ns=len(pieces),
        pieces=list(enumerate(pieces, 1)),
        status=data.draw(st.sampled_from((200, 200, 200, 404, 503))),
        content_type=data.draw(st.sampled_from((kind, kind, "", "text/html; charset=x"))),
        streamed=data.draw(st.booleans()),
        asked_tokens=data.draw(st.sampled_from((None, 1, 2**60))),
        full_length=data.draw(st.booleans()),
        asked_inputs=data.draw(st.sampled_from((None, 1, 3))),
    )
    timing = check_answer(path, arrival)
    whole = check_answer(path, Arrival(**{**vars(arrival), "pieces": [(arrival.end_ns, body)] if body else []}))
    assert (timing.error, timing.output_tokens, timing.count_fault) == (
        (whole.error, whole.output_tokens, whole.count_fault)
    )


@given(body=json_texts([content for contents in GOOD.values() for content in contents], ("error", "message", "detail")))
def test_a_refusal_is_told_in_one_line(body: bytes) -> None:
    text = describe_refusal(body.decode(errors="replace"))
    assert text.isprintable()
    assert len(text) < 400
