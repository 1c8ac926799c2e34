"""Answers of vLLM 0.32, as they came over the wire."""

from __future__ import annotations

import json

import pytest

from tests.helpers.captured import captured
from tests.helpers.written_answers import answer, whole


def arrivals(name: str) -> list[tuple[float, bytes]]:
    """Each event 10 ms after the one before it."""
    events = captured(name).split("\n\n")
    return [(10.0 * i, f"{event}\n\n".encode()) for i, event in enumerate(events, 1) if event.strip()]


def test_each_chunk_of_a_completion_brings_one_token() -> None:
    seen = answer(*arrivals("vllm-completion-stream.txt"))
    assert seen.timing.tokens_per_chunk == [1] * 6
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens, seen.timing.cached_tokens) == (6, 8, 0)
    assert (seen.finish_reason, seen.timing.error) == ("length", None)


def test_the_role_that_a_chat_begins_with_is_no_token() -> None:
    seen = answer(*arrivals("vllm-chat-stream.txt"))
    assert seen.timing.tokens_per_chunk == [1] * 6
    assert seen.timing.chunks[0].at_ns == 20_000_000
    assert (seen.timing.output_tokens, seen.timing.cached_tokens) == (6, 0)


def test_tokens_that_come_in_one_chunk_are_told_apart_by_the_running_count() -> None:
    seen = answer(*arrivals("vllm-batched-stream.txt"))
    assert seen.timing.tokens_per_chunk == [1, 8, 8, 3]
    assert len(seen.timing.itl or ()) == 19


def test_what_came_from_the_prefix_cache_is_known() -> None:
    seen = whole(captured("vllm-cached.json").encode())
    assert (seen.timing.prompt_tokens, seen.timing.cached_tokens) == (161, 160)


def test_a_refusal_is_told_in_the_servers_own_words() -> None:
    body = captured("vllm-too-long.json")
    seen = whole(body.encode(), status=400)
    message = json.loads(body)["error"]["message"]
    assert seen.timing.error == f"HTTP 400: {message}"


@pytest.mark.parametrize("name", ["vllm-completion-stream.txt", "vllm-chat-stream.txt"])
def test_a_stream_that_breaks_off_is_a_failed_request(name: str) -> None:
    assert answer(*arrivals(name)[:4]).timing.error == "the stream ended without a finish reason"
