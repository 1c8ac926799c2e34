"""The simulated engine reads requests as the relay does, and its answers are those that our clients read."""

from __future__ import annotations

import asyncio
import time
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmperf.engines.simulated.http import Connection
from pytest_llmperf.system.http.answer import TimedAnswer
from tests.helpers.http_wires import REFUSED, REQUESTS, split_at_random
from tests.helpers.relay_wires import call
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Sequence


class Wire:
    """Takes what a connection writes."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


async def answer(connection: Connection, method: str, path: str, body: bytes, _: int) -> None:
    """Says what was asked; a path that ends in ``stream`` is answered in events."""
    if path.endswith("stream"):
        connection.write(connection.event(b"one\r\n\r\n"))
        await asyncio.sleep(0)
        connection.write(connection.last_event(b"two"))
    else:
        connection.respond_text(f"{method} {path} {body.decode()}")


def send(*pieces: bytes) -> Wire:
    async def run() -> Wire:
        connection, wire = Connection(answer), Wire()
        connection.connection_made(cast("asyncio.Transport", wire))
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
        before, deadline = -1, time.monotonic() + PATIENCE_S
        while before != len(wire.written):
            assert time.monotonic() < deadline
            before = len(wire.written)
            for _ in range(10):
                await asyncio.sleep(0)
        return wire

    return asyncio.run(run())


def read(wire: bytes, method: str = "POST") -> tuple[int | None, bytes, bool, bytes]:
    """Status and body of the first answer, whether its connection may be used again, and the bytes after it."""
    for at in range(1, len(wire) + 1):
        answer = TimedAnswer(method)
        if answer.take(wire[:at], 1):
            return answer.status, b"".join(data for _, data in answer.pieces), answer.reusable, wire[at:]
    raise AssertionError("the answer is not complete")


def split(data: bytes, seed: int) -> Sequence[bytes]:
    return split_at_random(data, Random(seed)) if seed else [data]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_however_it_is_split(name: str) -> None:
    data, body = REQUESTS[name]
    for seed in range(4):
        wire = send(*split(data, seed))
        status, said, reusable, rest = read(wire.written)
        assert (status, said.endswith(b" " + body), reusable, wire.closed, rest) == (
            (200, True, "1.0" not in name, "1.0" in name, b"")
        )


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_the_relay_refuses_is_refused(name: str) -> None:
    data, fault = REFUSED[name]
    for seed in range(4):
        wire = send(*split(data, seed))
        status, said, reusable, rest = read(wire.written)
        assert (status, fault in said.decode(), reusable, wire.closed, rest) == (400, True, False, True, b"")


def test_requests_in_one_piece_are_answered_one_after_another() -> None:
    wire = send(call(b"1", path="/a") + call(b"", path="/stream") + call(b"2", path="/b"))
    first = read(wire.written)
    second = read(first[-1])
    third = read(second[-1])
    assert [first[1], second[1], third[1]] == [b"POST /a 1", b"one\r\n\r\ntwo", b"POST /b 2"]
    assert (third[-1], wire.closed) == (b"", False)


def test_what_comes_before_a_refusal_is_answered() -> None:
    wire = send(call(b"1", path="/stream") + b"\x16\x03\x01\r\n\r\n")
    first = read(wire.written)
    assert (first[0], read(first[-1])[0], wire.closed) == (200, 400, True)


def test_the_answer_to_a_head_request_has_no_body() -> None:
    wire = send(call(b"", path="/a", method="HEAD"))
    assert read(wire.written, "HEAD") == (200, b"", True, b"")


def test_a_client_of_http_1_0_gets_its_stream_without_chunks() -> None:
    wire = send(call(b"", path="/stream").replace(b"1.1", b"1.0"))
    assert (wire.written.partition(b"\r\n\r\n")[2], wire.closed) == (b"one\r\n\r\ntwo", True)


def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    head, _, _ = call(b"hello", fields="Expect: 100-continue\r\n").partition(b"hello")
    assert send(head).written == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert read(send(head, b"hello").written)[1].endswith(b"hello")


def test_a_client_that_wants_the_connection_closed_is_obeyed() -> None:
    wire = send(call(b"1", path="/a", fields="Connection: close\r\n"))
    assert (read(wire.written)[2], wire.closed) == (False, True)
