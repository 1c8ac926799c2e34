"""All that reads answers over HTTP in this package: the client, the load client, the relay, and Python's own client."""

from __future__ import annotations

import io
from http.client import HTTPException
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from pytest_llmperf.system.http.responses import StrictResponse
from pytest_llmperf.traffic.client.exchange import Exchange, Target, TransportError
from pytest_llmperf.traffic.load.connections import Flight, LoadConnection, LoadPool
from pytest_llmperf.traffic.load.wire import Order
from pytest_llmperf.traffic.relay.exchanges import Exchanges
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls
from tests.helpers.relay_wires import call

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Sequence

    from _typeshed import WriteableBuffer

TARGET = Target.parse("http://127.0.0.1:1/v1")


class Read(NamedTuple):
    """What a reader made of an answer: each byte of its content with its stamp."""

    status: int | None
    content: list[tuple[int, int]]
    fault: str
    reusable: bool | None


def stamp_bytes(pieces: Sequence[tuple[int, bytes]]) -> list[tuple[int, int]]:
    return [(at_ns, byte) for at_ns, piece in pieces for byte in piece]


def read_by_client(pieces: Sequence[bytes]) -> Read:
    exchange = Exchange(TARGET, "/completions", b"{}")
    exchange.begin()
    fault = ""
    try:
        for at_ns, piece in enumerate([*pieces, b""], 1):
            if exchange.receive(piece, at_ns):
                break
    except TransportError as error:
        fault = str(error)
    return Read(exchange.status, stamp_bytes(exchange.pieces), fault, exchange.reusable)


def read_by_load(pieces: Sequence[bytes]) -> Read:
    pool = SimpleNamespace(remove=lambda _: None, end=None, loop=SimpleNamespace(call_soon=lambda *_: None))
    connection = LoadConnection(cast("LoadPool", pool))
    connection.transport = cast("asyncio.Transport", SimpleNamespace(write=lambda _: None, abort=lambda: None))
    flight = Flight(0, b"", Order(0, b"{}"), None)
    connection.send(flight)
    with pytest.MonkeyPatch.context() as patch:
        for at_ns, piece in enumerate([*pieces, b""], 1):
            patch.setattr("time.monotonic_ns", lambda at_ns=at_ns: at_ns)
            if connection.flight is None:
                break
            if piece:
                connection.data_received(piece)
            else:
                connection.connection_lost(None)
    assert connection.flight is None
    return Read(flight.answer.status, stamp_bytes(flight.answer.pieces), flight.fault, flight.answer.reusable)


def read_by_relay(pieces: Sequence[bytes]) -> Read:
    recorded = RecordedCalls()
    recorded.open(0)
    exchanges = Exchanges(recorded, "upstream:80")
    exchanges.take_request(call(), 0)
    for at_ns, piece in enumerate(pieces, 1):
        exchanges.take_answer(piece, at_ns)
    exchanges.end_by_server(len(pieces) + 1)
    [found] = recorded.take(99, final=False)
    return Read(found.status, stamp_bytes(found.pieces), found.fault, None)


class Arrivals(io.RawIOBase):
    """The file of a socket at which pieces arrive one by one."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        piece = self._pieces.pop(0) if self._pieces else b""
        view = memoryview(buffer).cast("B")
        view[: len(piece)] = piece[: len(view)]
        if len(piece) > len(view):
            self._pieces.insert(0, piece[len(view) :])
        return min(len(piece), len(view))


def read_by_python(pieces: Sequence[bytes]) -> tuple[Read, list[bool]]:
    """What Python's client makes of an answer with our response, and whether the connection was ended."""
    ended: list[bool] = []
    shutdown = lambda _: ended.append(True)  # noqa: E731
    connection = SimpleNamespace(makefile=lambda _: io.BufferedReader(Arrivals(pieces)), shutdown=shutdown)
    response = StrictResponse(cast("socket.socket", connection), method="POST")
    content, fault, status = b"", "", None
    try:
        response.begin()
        status = response.status
        while piece := response.read1(7):
            content += piece
    except HTTPException as error:
        fault = str(error)
    return Read(status, [(0, byte) for byte in content], fault, None), ended
