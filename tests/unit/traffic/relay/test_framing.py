from __future__ import annotations

import pytest

from pytest_llmperf.traffic.relay.framing import FramingError, Head, Messages, choose_answer_body, choose_request_body
from tests.helpers.relay_wires import EVENTS, STREAM, call, chunked_call, sized_answer

TRAILED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"
    b"5;name=value\r\nhello\r\nA\r\n, worlds!!\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n"
)
ANSWERS = {
    "sized": (sized_answer(b"hello"), b"hello"),
    "empty": (sized_answer(b""), b""),
    "no content": (b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n", b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
    "stream": (STREAM, b"".join(EVENTS)),
    "with extensions and trailers": (TRAILED, b"hello, worlds!!"),
    "with bare line feeds": (b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", b"hello"),
    "without a reason": (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
}
REQUESTS = {
    "sized": (call(b"hello"), b"hello"),
    "chunked": (chunked_call(b"one", b"two"), b"onetwo"),
    "without a body": (call(b"", method="GET"), b""),
    "after an empty line": (b"\r\n" + call(b"hello"), b"hello"),
}


def messages(kind: str = "answers", method: str = "POST") -> Messages:
    return Messages(choose_request_body if kind == "requests" else lambda head: choose_answer_body(head, method))


def read(found: Messages, *pieces: bytes) -> tuple[bytes, list[bytes]]:
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


CASES = [("answers", *case) for case in ANSWERS.values()] + [("requests", *case) for case in REQUESTS.values()]
NAMES = [f"answer {name}" for name in ANSWERS] + [f"request {name}" for name in REQUESTS]


@pytest.mark.parametrize(("kind", "wire", "content"), CASES, ids=NAMES)
def test_a_message_split_anywhere_reads_the_same(kind: str, wire: bytes, content: bytes) -> None:
    for at in range(1, len(wire)):
        assert read(messages(kind), wire[:at], wire[at:]) == (wire, [content])


@pytest.mark.parametrize(("kind", "wire", "content"), CASES, ids=NAMES)
def test_a_message_byte_by_byte_reads_the_same(kind: str, wire: bytes, content: bytes) -> None:
    assert read(messages(kind), *(wire[at : at + 1] for at in range(len(wire)))) == (wire, [content])


@pytest.mark.parametrize(("kind", "wire", "content"), CASES, ids=NAMES)
def test_messages_follow_one_another_in_one_piece(kind: str, wire: bytes, content: bytes) -> None:
    if wire.startswith(b"\r\n"):
        wire = wire[2:]
    assert read(messages(kind), wire * 3) == (wire * 3, [content] * 3)


def test_the_answer_to_a_head_request_has_no_body() -> None:
    wire = sized_answer(b"hello")[:-5]
    assert read(messages(method="HEAD"), wire * 2) == (wire * 2, [b"", b""])


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    found = messages()
    wire, ended = read(found, b"HTTP/1.0 200 OK\r\n\r\nhello", b" world")
    assert wire.endswith(b"hello world")
    assert ended == []
    assert found.ends_with_connection


def test_a_head_is_held_until_it_is_whole() -> None:
    found = messages("requests")
    assert list(found.feed(call()[:20])) == []
    assert found.within_head
    (part, *_) = found.feed(call()[20:])
    assert part.head is not None
    assert not found.within_head


@pytest.mark.parametrize(
    ("kind", "wire", "fault"),
    [
        ("requests", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "it does not begin with a request line"),
        ("requests", b"\x16\x03\x01 TLS\r\n\r\n", "it does not begin with a request line"),
        ("requests", b"x" * (1 << 20) + b"y", "its head does not end"),
        (
            "answers",
            b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
            "its Content-Length is not a number",
        ),
        ("requests", b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\nabc", "its Content-Length is not a number"),
        ("answers", b"SSH-2.0\r\n\r\n", "it does not begin with a status line"),
        (
            "answers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            "the size of a chunk is not a number",
        ),
        (
            "answers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
            "the size of a chunk is not a number",
        ),
        (
            "answers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
            "a chunk is longer than its size",
        ),
        (
            "answers",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (1 << 17),
            "a line between its chunks does not end",
        ),
    ],
)
def test_what_is_no_http_is_passed_on_as_it_is(kind: str, wire: bytes, fault: str) -> None:
    for cut in (1, 5, len(wire) - 1):
        found = messages(kind)
        assert read(found, wire[:cut], wire[cut:], b"and more")[0] == wire + b"and more"
        assert found.fault == fault


def test_fields_are_found_whatever_their_case() -> None:
    head = Head.parse(b"POST /v1/completions?x=1 HTTP/1.1\r\nCONTENT-length:  5 \r\nHost: a:1\r\n\r\n")
    assert head.parse_request_line() == ("POST", "/v1/completions")
    assert head.parse_length() == 5
    assert head.fields[b"host"] == b"a:1"
    with pytest.raises(FramingError, match="status line"):
        head.parse_status()
