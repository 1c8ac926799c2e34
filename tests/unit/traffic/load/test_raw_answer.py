"""What comes off a socket, split in any way, reads as the strict parser reads it."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.client.exchange import Exchange, Target, TransportError
from pytest_llmperf.traffic.load import raw_answer
from pytest_llmperf.traffic.load.raw_answer import RawAnswer
from tests.helpers.scripted_server import STREAM_END, STREAM_HEAD, chunk, event, sized, text_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Target.parse("http://127.0.0.1:1/v1")
CRLF_EVENTS = STREAM_HEAD + chunk(b"data: 0\r\n\r\n") + chunk(b"data: [DONE]\r\n\r\n") + STREAM_END
ANSWERS = {
    "stream": text_stream("one", "two", "three"),
    "stream in one chunk": STREAM_HEAD + chunk(event({"a": 1}) + b"data: [DONE]\n\n") + STREAM_END,
    "stream with other line ends": CRLF_EVENTS,
    "stream with extensions and trailers": STREAM_HEAD + b"5;x=1\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
    "stream that talks of its end": STREAM_HEAD + chunk(event("data: [DONE]\n\n\r\n0\r\n\r\n")) + STREAM_END,
    "body": sized({"answer": "0\r\n\r\n"}),
    "empty body": b"HTTP/1.1 204 No Content\r\n\r\n",
    "after an informational answer": b"HTTP/1.1 100 Continue\r\n\r\n" + sized({"a": 1}),
}


def pieces_of(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def at_random(data: bytes, seed: int) -> list[bytes]:
    cuts = sorted({0, len(data), *Random(seed).choices(range(1, len(data)), k=6)})
    return [data[a:b] for a, b in pairwise(cuts)]


@pytest.mark.parametrize("data", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("how", [1, 2, 5, 17, 10_000, *(f"at random {seed}" for seed in range(20))])
def test_an_answer_is_whole_when_the_strict_parser_says_so_and_its_bytes_have_the_same_stamps(
    data: bytes, how: int | str
) -> None:
    pieces = pieces_of(data, how) if isinstance(how, int) else at_random(data, int(how.split()[-1]))
    strict, raw = Exchange(TARGET, "/x", b"{}"), RawAnswer()
    strict.begin()
    for at_ns, piece in enumerate(pieces, 1):
        whole = strict.receive(piece, at_ns)
        assert raw.take(piece, at_ns) == whole
        assert whole == (at_ns == len(pieces))
    body, fault = raw.parse_body()
    assert (raw.status, fault, raw.reusable) == (strict.status, "", strict.reusable)
    assert stamped_bytes(body) == stamped_bytes(strict.pieces)


def stamped_bytes(pieces: list[tuple[int, bytes]]) -> list[tuple[int, int]]:
    return [(at_ns, byte) for at_ns, piece in pieces for byte in piece]


@pytest.mark.parametrize("pieces_a_chunk", [1, 3])
def test_each_byte_of_a_stream_whose_events_end_as_a_body_does_is_parsed_once(
    monkeypatch: pytest.MonkeyPatch, pieces_a_chunk: int
) -> None:
    parsed = 0
    original = raw_answer._chunks

    def count(whole: bytes | bytearray, at: int) -> Iterator[tuple[int, int]]:
        nonlocal parsed
        for start, stop in original(whole, at):
            parsed += stop - start
            yield start, stop

    monkeypatch.setattr(raw_answer, "_chunks", count)
    wire = chunk(b"data: " + b"x" * 60 + b"\r\n\r\n")
    size = -(-len(wire) // pieces_a_chunk)
    raw = RawAnswer()
    for at_ns, piece in enumerate([STREAM_HEAD, *pieces_of(wire, size) * 500]):
        assert not raw.take(piece, at_ns)
    assert raw.take(STREAM_END, 10_000)
    assert parsed <= 2 * 500 * len(wire)


def test_a_large_chunk_that_ends_as_a_body_does_in_each_piece_is_not_the_end() -> None:
    raw = RawAnswer()
    data = b"x\r\n\r\n" * 50
    raw.take(STREAM_HEAD + b"%x\r\n" % len(data), 0)
    assert [raw.take(piece, 1) for piece in pieces_of(data + b"\r\n", 5)] == [False] * 51
    assert raw.take(STREAM_END, 2)
    assert b"".join(piece for _, piece in raw.parse_body()[0]) == data


def test_without_a_length_an_answer_ends_with_its_connection() -> None:
    raw = RawAnswer()
    assert not raw.take(b"HTTP/1.1 200 OK\r\n\r\nhel", 1)
    assert not raw.take(b"lo", 2)
    assert raw.ends_with_connection
    assert raw.parse_body() == ([(1, b"hel"), (2, b"lo")], "")
    assert not raw.reusable


def test_a_server_that_closes_is_not_asked_again_on_the_same_connection() -> None:
    raw = RawAnswer()
    assert raw.take(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 1)
    assert not raw.reusable


def test_what_came_of_a_stream_that_was_cut_is_kept_with_the_reason() -> None:
    raw = RawAnswer()
    whole = STREAM_HEAD + chunk(event({"a": 1})) + b"40\r\ndata: half"
    assert not raw.take(whole, 1)
    assert not raw.ends_with_connection
    body, fault = raw.parse_body()
    assert b"".join(data for _, data in body) == event({"a": 1}) + b"data: half"
    assert fault == "the server closed the connection in the middle of the answer"


def test_nothing_at_all_has_no_body() -> None:
    assert RawAnswer().parse_body() == ([], "")
    assert not RawAnswer().ends_with_connection


def test_a_length_of_5000_digits_is_refused() -> None:
    with pytest.raises(TransportError, match="its Content-Length has 5000 digits"):
        RawAnswer().take(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 1)


@pytest.mark.parametrize("size", [b"-f", b"+5", b"0x5", b"1_0", b""])
def test_a_size_that_only_python_takes_for_a_number_is_refused(size: bytes) -> None:
    raw = RawAnswer()
    raw.take(STREAM_HEAD + size + b"\r\nhello\r\n", 1)
    assert raw.parse_body() == ([], f"the answer is not HTTP/1.1: a chunk has the size {size!r}")


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 okay\r\n\r\n", b"x" * 70_000])
def test_what_is_no_http_is_refused(data: bytes) -> None:
    with pytest.raises(TransportError, match=r"not HTTP/1\.1"):
        RawAnswer().take(data, 1)


def test_a_chunk_without_a_size_is_refused_when_the_body_is_read() -> None:
    raw = RawAnswer()
    raw.take(STREAM_HEAD + b"zz\r\nhello", 1)
    assert raw.parse_body() == ([], "the answer is not HTTP/1.1: a chunk has the size b'zz'")
