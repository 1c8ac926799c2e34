"""How long what is read had been waiting, and how long a request was under way, by the kernel's clock."""

from __future__ import annotations

import socket
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.client.arrivals import ask_for_arrivals, find_longest_wait, measure_sending, receive
from pytest_llmperf.traffic.client.exchange import Exchange, Target
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says when bytes came")
Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Both ends of a connection, the first of which knows when bytes came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        ask_for_arrivals(ours)
        if sys.platform == "linux":
            until(lambda: _send_and_wait(ours, theirs, b"x", 0.0) is not None)  # the kernel begins a moment later
        yield ours, theirs


def _send_and_wait(ours: socket.socket, theirs: socket.socket, data: bytes, seconds: float) -> int | None:
    theirs.sendall(data)
    time.sleep(seconds)
    came, _, waited_ns = receive(ours)
    assert came == data
    return waited_ns


@on_linux
def test_bytes_that_were_read_late_say_how_late(pair: Pair) -> None:
    waited_ns = _send_and_wait(*pair, b"data: x\n\n", 0.05)
    assert waited_ns is not None
    assert waited_ns >= 49 * MS


@on_linux
@pytest.mark.parametrize("event", [b"data: x\n\n", b"data: x\r\n\r\n", b"data: x\r\r", b'4\r\n{"a": 1}\n\r\n'])
def test_of_many_events_only_the_last_is_known_so_that_the_wait_is_not(pair: Pair, event: bytes) -> None:
    assert _send_and_wait(*pair, 3 * event, 0.0) is not None
    assert _send_and_wait(*pair, 4 * event, 0.0) is None


def test_a_wait_that_is_not_known_leaves_the_longest_unknown() -> None:
    assert find_longest_wait([1, 3, 2]) == 3
    assert find_longest_wait([1, None]) is None
    assert find_longest_wait([]) is None


@on_linux
@pytest.mark.parametrize(("url", "is_known"), [("http://127.0.0.1:1", True), ("http://a.server:1", False)])
def test_a_request_that_was_long_under_way_says_so_unless_a_name_was_looked_up(
    pair: Pair, url: str, *, is_known: bool
) -> None:
    exchange = Exchange(Target.parse(url), "/x", b"")
    exchange.begin()
    late_ns = measure_sending(pair[0], exchange, exchange.sent_ns + 500 * MS)
    assert (late_ns is not None) == is_known
    assert late_ns is None or 300 * MS < late_ns <= 500 * MS
