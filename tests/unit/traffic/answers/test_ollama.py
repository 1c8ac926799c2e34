"""Answers of Ollama 0.32.15 in its own protocol, as they came over the wire, and what may go wrong with them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.measurement.request import ServerTimes
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.errors import describe_refusal
from pytest_llmperf.traffic.answers.ollama import read, split_lines
from tests.helpers.ollama_captures import NDJSON, stream, whole


def written(*lines: dict[str, Any] | bytes, **fields: Any) -> Answer:
    """A stream of these lines, 10 ms after each other."""
    pieces = [
        (10_000_000 * i, line if isinstance(line, bytes) else f"{json.dumps(line)}\n".encode())
        for i, line in enumerate(lines, 1)
    ]
    settings = {"status": 200, "content_type": NDJSON, **fields}
    return read(Arrival(sent_ns=0, end_ns=pieces[-1][0], pieces=pieces, **settings))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_lines_are_the_same_wherever_the_body_is_split(end: bytes, mark: bytes) -> None:
    body = mark + end.join((b"", '{"a": "é"}'.encode(), b" ", '{"b": "🙂"}'.encode(), b'{"c": 1}'))
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            found = split_lines([(1, body[:first]), (2, body[first:second]), (3, body[second:])])
            assert [line for _, line in found] == ['{"a": "é"}', '{"b": "🙂"}', '{"c": 1}']


DONE = {"done": True, "done_reason": "stop", "eval_count": 3, "prompt_eval_count": 5}

# ------------------------------------------------------------------------------------------------------- whole answers


def test_a_stream_has_a_chunk_for_each_line_with_text_and_the_counts_of_its_last_line() -> None:
    seen = read(stream("generate_stream.txt"))
    assert len(seen.timing.chunks) == 32
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens, seen.timing.cached_tokens) == (32, 15, None)
    assert (seen.finish_reason, seen.timing.error) == ("length", None)
    assert seen.usage == {"prompt_tokens": 15, "completion_tokens": 32, "total_tokens": 47}
    assert seen.text.startswith("The sky blue is a result of the Earth's atmosphere")
    assert seen.timing.tokens_per_chunk == [1] * 32
    assert seen.timing.ttft == 0.03035


def test_the_end_of_the_sequence_is_counted_and_not_seen() -> None:
    seen = read(stream("chat_stream.txt"))
    assert (len(seen.timing.chunks), seen.timing.output_tokens) == (11, 12)
    assert (seen.text, seen.finish_reason) == ("1. Red\n2. Blue\n3. Green", "stop")
    assert seen.timing.tokens_per_chunk == [1] * 11
    assert len(seen.timing.itl or ()) == 10
    assert seen.timing.e2e == 2.1184


def test_the_last_line_says_what_time_the_server_took() -> None:
    times = read(stream("chat_stream.txt")).timing.server
    assert times == ServerTimes(startup=1619860, prompt=29699000, decode=2335937000, total=2397216331)
    assert times.queue == 2397216331 - 1619860 - 29699000 - 2335937000


@pytest.mark.parametrize("name", ["generate_nostream.json", "chat_nostream.json"])
def test_a_whole_answer_has_counts_and_no_chunks(name: str) -> None:
    seen = read(whole(name))
    assert seen.timing.error is None
    assert seen.timing.chunks == ()
    assert not seen.timing.streamed
    assert seen.text
    assert seen.timing.output_tokens == seen.raw["eval_count"]
    assert seen.timing.prompt_tokens == seen.raw["prompt_eval_count"]


def test_a_stream_cut_anywhere_by_the_network_is_the_same_answer() -> None:
    arrival = stream("chat_stream.txt")
    pieces = [(at_ns, bytes([byte])) for at_ns, line in arrival.pieces for byte in line]
    assert read(replace(arrival, pieces=pieces)) == read(arrival)


@pytest.mark.parametrize(("name", "reason"), [("chat_load.json", "load"), ("unload_generate.json", "unload")])
def test_loading_and_unloading_are_no_answers_and_count_nothing(name: str, reason: str) -> None:
    seen = read(whole(name))
    assert (seen.finish_reason, seen.usage) == (reason, None)
    assert seen.timing.error == f"the model was only asked to {reason}: nothing was generated"
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens, seen.timing.server) == (None, None, None)


def test_a_count_that_is_left_out_is_zero() -> None:
    seen = written({"response": "", "done": True, "done_reason": "stop", "prompt_eval_count": 4, "total_duration": 9})
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens) == (0, 4)
    assert seen.timing.server == ServerTimes(total=9)
    assert seen.timing.server.queue == 9


def test_without_a_total_the_queue_is_not_known() -> None:
    assert ServerTimes(startup=1, prompt=2, decode=3).queue is None


def test_thinking_is_reasoning_in_both_protocols() -> None:
    seen = written({"thinking": "Hm", "response": ""}, {"message": {"thinking": "m", "content": ""}}, {"response": "A"})
    assert (seen.reasoning, seen.text) == ("Hmm", "A")
    assert [chunk.kind for chunk in seen.timing.chunks] == ["reasoning", "reasoning", "text"]


def test_a_tool_call_is_in_the_form_of_the_openai_api() -> None:
    call = {"function": {"name": "weather", "arguments": {"town": "Paris"}}}
    seen = written({"message": {"content": "", "tool_calls": [call]}}, {"message": {"content": ""}, **DONE})
    assert seen.tool_calls == [
        {"id": "", "type": "function", "function": {"name": "weather", "arguments": '{"town": "Paris"}'}}
    ]
    assert [chunk.kind for chunk in seen.timing.chunks] == ["tool"]


# --------------------------------------------------------------------------------------------------- answers that fail


def test_an_answer_that_repeats_itself_is_cut_off_by_the_server_and_no_success() -> None:
    seen = read(stream("repeat_abort_chat_stream.txt"))
    assert seen.timing.error == (
        'the answer ended without "done": true and without token counts: the server ends answers that repeat themselves'
    )
    assert (seen.timing.output_tokens, seen.finish_reason, seen.usage) == (None, None, None)


def test_a_whole_answer_that_was_cut_off_is_no_success() -> None:
    error = read(whole("repeat_abort_chat.json")).timing.error or ""
    assert error.startswith('the answer ended without "done": true')
    assert error.endswith("repeat themselves")


def test_a_stream_that_breaks_off_is_a_failed_request() -> None:
    seen = read(stream("generate_stream.txt", upto=10))
    assert seen.timing.error == 'the answer ended without "done": true and without token counts'
    assert read(stream("generate_stream.txt", upto=10, fault="the server went away")).timing.error == (
        "the server went away"
    )


def test_an_error_inside_a_stream_is_told_though_its_status_was_a_success() -> None:
    error = "an error was encountered while running the model: unexpected EOF"
    seen = written({"response": "The", "done": False}, {"error": error})
    assert (seen.text, seen.timing.status) == ("The", 200)
    assert seen.timing.error == f"the server reported an error: {error}"


def test_an_error_within_an_error_is_unpacked() -> None:
    message = "HTTP 400: request (757 tokens) exceeds the available context size (256 tokens), try increasing it"
    assert read(whole("trunc_chat_truncate_false.json")).timing.error == message
    arrival = stream("trunc_chat_stream_error.txt", status=400, content_type="application/json")
    assert read(arrival).timing.error == message


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("option_wrong_type_str.json", 'HTTP 500: option "num_predict" must be of type integer'),
        ("trunc_generate_shift_false.json", "HTTP 400: the prompt is longer than the context length currently"),
    ],
)
def test_a_refusal_is_told_in_the_servers_own_words(name: str, error: str) -> None:
    assert (read(whole(name)).timing.error or "").startswith(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("404 page not found", "404 page not found"),
        ('{"error": {"message": "no such model"}}', "no such model"),
        ('{"error": ""}', '{"error": ""}'),
        ('{"error": "[1]"}', "[1]"),
        ("[1]", "[1]"),
    ],
)
def test_whatever_a_server_refuses_with_becomes_one_line(body: str, words: str) -> None:
    assert describe_refusal(body) == words


def test_what_is_no_json_is_told_and_ends_the_reading() -> None:
    seen = written({"response": "A"}, b"<html>\n", {"response": "B", **DONE})
    assert seen.text == "A"
    assert seen.timing.error == "the server sent something that is not a JSON object: '<html>'"
