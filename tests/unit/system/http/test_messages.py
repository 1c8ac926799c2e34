"""The messages of one direction of a connection, with every byte on the wire accounted for."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.system.http import bodies
from pytest_llmperf.system.http.bodies import choose_answer_body, choose_request_body
from pytest_llmperf.system.http.heads import ANSWER, UNASKED_SWITCH, parse_answer_head, parse_request_head, write_head
from pytest_llmperf.system.http.messages import Messages
from tests.helpers.http_wires import ANSWERS, CHUNKED, CUT, END, HELLO, NONE, REFUSED, REQUESTS, split_at_random
from tests.helpers.relay_wires import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.system.http.bodies import Body
    from pytest_llmperf.system.http.heads import AnswerHead, RequestHead

WHOLE = {name: (wire.data, wire.content) for name, wire in ANSWERS.items() if not wire.fault and wire.reusable}


def read_answers(method: str = "POST") -> Messages[AnswerHead]:
    def begin(wire: bytes) -> tuple[AnswerHead, Body]:
        head = parse_answer_head(wire)
        return head, choose_answer_body(head, method)

    return Messages(begin, prefix=ANSWER)


def read_requests() -> Messages[RequestHead]:
    def begin(wire: bytes) -> tuple[RequestHead, Body]:
        head = parse_request_head(wire)
        return head, choose_request_body(head)

    return Messages(begin, skips_empty_lines=True)


def read(found: Messages[Any], *pieces: bytes) -> tuple[bytes, list[bytes]]:
    """All of the wire, and the content of each message that has ended."""
    wire, contents, content = b"", [], b""
    for piece in pieces:
        for part in found.feed(piece):
            wire += part.wire
            content += b"".join(part.content)
            if part.ended:
                contents.append(content)
                content = b""
    return wire, contents


KINDS: dict[str, tuple[Callable[[], Messages[Any]], bytes, bytes]] = {
    **{f"answer {name}": (read_answers, *case) for name, case in WHOLE.items()},
    **{f"request {name}": (read_requests, *case) for name, case in REQUESTS.items()},
}


@pytest.mark.parametrize("name", KINDS)
def test_messages_follow_one_another_however_they_are_split(name: str) -> None:
    create, wire, content = KINDS[name]
    expected = wire * 3, [b""] * (3 * wire.count(b"HTTP/1.1 10")) + [content] * 3
    for seed in range(12):
        found = create()
        pieces = split_at_random(wire * 3, Random(seed)) if seed else [wire * 3]
        whole, contents = read(found, *pieces)
        assert (whole, sorted(contents)) == (expected[0], sorted(expected[1]))
        assert found.idle


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_passed_on_as_it_is(name: str) -> None:
    wire, fault = REFUSED[name]
    for seed in range(12):
        found = read_requests()
        pieces = split_at_random(wire, Random(seed)) if seed else [wire]
        assert read(found, *pieces, b"and more")[0] == wire + b"and more"
        assert (found.fault, found.idle) == (fault, False)


@pytest.mark.parametrize(
    "name", [name for name, wire in ANSWERS.items() if wire.fault not in ("", CUT, NONE, UNASKED_SWITCH)]
)
def test_an_answer_that_is_refused_is_passed_on_as_it_is(name: str) -> None:
    wire = ANSWERS[name]
    for seed in range(4):
        found = read_answers()
        pieces = split_at_random(wire.data, Random(seed)) if seed else [wire.data]
        assert read(found, *pieces, b"and more")[0] == wire.data + b"and more"
        assert found.fault == wire.fault


def test_empty_lines_before_a_request_are_passed_over() -> None:
    wire = b"\r\n\r\n" + call(b"hello") + b"\r\n" + call(b"bye")
    for at in range(1, len(wire)):
        assert read(read_requests(), wire[:at], wire[at:]) == (wire, [b"hello", b"bye"])


def test_the_answer_to_a_head_request_has_no_body() -> None:
    wire = ANSWERS["sized"].data.removesuffix(b"hello")
    assert read(read_answers("HEAD"), wire * 2) == (wire * 2, [b"", b""])


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    found = read_answers()
    wire, ended = read(found, b"HTTP/1.0 200 OK\r\n\r\nhello", b" world")
    assert wire.endswith(b"hello world")
    assert ended == []
    assert found.ends_with_connection


def test_a_head_is_held_until_it_is_whole() -> None:
    found = read_requests()
    assert list(found.feed(call()[:20])) == []
    assert found.held == call()[:20]
    (part, *_) = found.feed(call()[20:])
    assert part.head is not None
    assert found.held == b""


def test_a_whole_chunk_may_be_taken_the_short_way() -> None:
    found = read_answers()
    assert found.take_chunk(HELLO) is None
    list(found.feed(CHUNKED))
    assert found.take_chunk(HELLO) == b"hello"
    for other in (HELLO[:-1], HELLO + HELLO, END, b"5\nhello\r\n", b"+5\r\nhello\r\n", b"\n", b"hello"):
        assert found.take_chunk(other) is None
    list(found.feed(HELLO[:3]))
    assert found.take_chunk(HELLO) is None
    assert read(found, HELLO[3:], HELLO + END)[1] == [b"hello" * 2]
    assert found.take_chunk(HELLO) is None


@pytest.mark.parametrize("size", [1, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("event", [b"data: x\r\n\r\n", b"data: x\n\n", b"0\r\n\r\n", b"\r\n"])
def test_each_size_is_parsed_once_however_a_stream_is_split(
    monkeypatch: pytest.MonkeyPatch, event: bytes, size: int
) -> None:
    parsed: list[bytes] = []
    original = bodies._parse_size

    def count(line: bytes) -> int:
        parsed.append(line)
        return original(line)

    monkeypatch.setattr(bodies, "_parse_size", count)
    wire = CHUNKED + b"%x\r\n%b\r\n" % (len(event), event) * 500 + END
    assert read(read_answers(), *(wire[at : at + size] for at in range(0, len(wire), size))) == (wire, [event * 500])
    assert len(parsed) == 501


def test_fields_are_found_whatever_their_case() -> None:
    head = parse_request_head(b"POST /v1/completions?x=1 HTTP/1.1\r\nCONTENT-length:  5 \r\nX: a\r\nx:b\r\n\r\n")
    assert (head.method, head.path, head.target) == ("POST", "/v1/completions", "/v1/completions?x=1")
    assert head.fields == {"content-length": "5", "x": "a, b"}
    assert head.framing == (5, False)


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\n", "\x00", "\x1b[2J", "ä", "secret\r"])
def test_a_header_that_would_be_two_is_not_written_nor_shown(value: str) -> None:
    with pytest.raises(
        ValueError, match=r"^the header 'Authorization' must be a text of ASCII characters in one line$"
    ):
        write_head("POST / HTTP/1.1", [("Authorization", value)])


@pytest.mark.parametrize("name", ["", "X Y", "X:", "Ä", "X\r\nY"])
def test_a_name_that_is_none_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="must be a text of ASCII characters in one line"):
        write_head("POST / HTTP/1.1", [(name, "1")])


def test_what_is_written_is_read() -> None:
    fields = [("Host", "a:1"), ("Content-Length", "5"), ("X", "")]
    head = parse_request_head(write_head("POST /v1?a=b HTTP/1.1", fields))
    assert head == ("POST", "/v1?a=b", {name.lower(): value for name, value in fields}, (5, False), False, True)
