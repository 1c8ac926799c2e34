"""All that read answers over HTTP read them alike, however they are split: the client, the load client, the relay."""

from __future__ import annotations

import asyncio
import io
from http.client import HTTPException
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from pytest_llmperf.system.http.responses import StrictResponse
from pytest_llmperf.traffic.client.exchange import Exchange, Target, TransportError
from pytest_llmperf.traffic.load.connections import Flight, LoadConnection, LoadPool
from pytest_llmperf.traffic.load.wire import Order
from pytest_llmperf.traffic.relay.connections import AppSide, ServerSide
from pytest_llmperf.traffic.relay.exchanges import Exchanges
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls
from tests.helpers.http_wires import ANSWERS, Wire, split_at_random
from tests.helpers.relay_wires import call

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from _typeshed import WriteableBuffer

TARGET = Target.parse("http://127.0.0.1:1/v1")
PREFIX = "the answer is not HTTP/1.1: "
SPLITS = 8


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


def read_by_load(pieces: Sequence[bytes], monkeypatch: pytest.MonkeyPatch) -> Read:
    pool = SimpleNamespace(remove=lambda _: None, end=None, loop=SimpleNamespace(call_soon=lambda *_: None))
    connection = LoadConnection(cast("LoadPool", pool))
    connection.transport = cast("asyncio.Transport", SimpleNamespace(write=lambda _: None, abort=lambda: None))
    flight = Flight(0, b"", Order(0, b"{}"), None)
    connection.send(flight)
    for at_ns, piece in enumerate([*pieces, b""], 1):
        monkeypatch.setattr("time.monotonic_ns", lambda at_ns=at_ns: at_ns)
        if connection.flight is None:
            break
        if piece:
            connection.data_received(piece)
        else:
            connection.connection_lost(None)
    monkeypatch.undo()
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


def split(data: bytes, seed: int) -> list[bytes]:
    if not seed:
        return [data] if data else []
    if seed == 1 and len(data) < 10_000:
        return [data[at : at + 1] for at in range(len(data))]
    return split_at_random(data, Random(seed))


@pytest.mark.parametrize("name", ANSWERS)
def test_all_readers_read_an_answer_alike_however_it_is_split(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = ANSWERS[name]
    for seed in range(SPLITS):
        pieces = split(wire.data, seed)
        client = read_by_client(pieces)
        check(client, wire)
        if not seed:  # what comes later than the end is another matter
            assert client.reusable is (wire.reusable and not wire.fault)
        assert read_by_load(pieces, monkeypatch) == client
        assert read_by_relay(pieces) == client._replace(reusable=None)
        by_python, _ = read_by_python(pieces)
        assert by_python.fault == client.fault
        assert by_python.status == client.status or client.fault  # one that comes with the head comes instead of it
        assert bytes(byte for _, byte in by_python.content) == wire.content[: len(by_python.content)]
        assert wire.fault or len(by_python.content) == len(wire.content)


def check(read: Read, wire: Wire) -> None:
    fault = wire.fault if not wire.fault or wire.fault.startswith("the server") else PREFIX + wire.fault
    assert (bytes(byte for _, byte in read.content), read.fault) == (wire.content, fault)


def find_moment(read: Callable[[bytes], bool], data: bytes) -> int | None:
    """The number of the byte with which a reader knows the end of an answer, or that there will be none."""
    return next((at for at in range(len(data)) if read(data[at : at + 1])), None)


@pytest.mark.parametrize("name", [name for name, wire in ANSWERS.items() if len(wire.data) < 1000])
def test_the_client_and_the_relay_know_the_end_with_the_same_byte(name: str) -> None:
    wire = ANSWERS[name]
    exchange, recorded = Exchange(TARGET, "/completions", b"{}"), RecordedCalls()
    exchange.begin()
    recorded.open(0)
    exchanges = Exchanges(recorded, "upstream:80")
    exchanges.take_request(call(), 0)

    def by_client(byte: bytes) -> bool:
        try:
            return exchange.receive(byte, 1)
        except TransportError:
            return True

    def by_relay(byte: bytes) -> bool:
        exchanges.take_answer(byte, 1)
        return not recorded.in_flight

    assert find_moment(by_client, wire.data) == find_moment(by_relay, wire.data)


SMALL = (b"\r", b"\n", b"\r\n", b":", b" ", b"0", b"5", b"f", b";", b"\0", b"_", b"-", b"")


def change(data: bytes, random: Random) -> bytes:
    """Changes, adds, leaves out or repeats a few bytes."""
    for _ in range(random.randint(1, 4)):
        at, size = random.randrange(len(data) + 1), random.choice((0, 0, 1, 2, 9))
        new = random.choice(
            (b"\r", b"\n", b"\r\n", b":", b" ", b"0", b"5", b"f", b";", b"\0", b"_", b"-", b"", data[at:][:9])
        )
        data = data[:at] + new + data[at + size :]
    return data


def test_changed_answers_are_read_alike_or_refused_alike_whatever_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(16)
    wires = [wire.data for wire in ANSWERS.values() if len(wire.data) < 1000]
    for _ in range(500):
        data = change(random.choice(wires), random)
        whole = read_by_client([data] if data else [])
        pieces = split_at_random(data, random)
        client = read_by_client(pieces)
        assert (client.status, client.fault) == (whole.status, whole.fault), data
        assert [byte for _, byte in client.content] == [byte for _, byte in whole.content], data
        assert read_by_load(pieces, monkeypatch) == client, data
        assert read_by_relay(pieces) == client._replace(reusable=None), data


class AppTransport:
    """The connection of an app, which keeps what is written to it."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def resume_reading(self) -> None:
        """There is nothing to resume."""

    def is_closing(self) -> bool:
        return False


def test_the_bytes_of_every_answer_pass_the_relay_unchanged() -> None:
    async def forward(pieces: Sequence[bytes]) -> bytes:
        recorded = RecordedCalls()
        recorded.open(0)
        app, written = AppSide(recorded, TARGET), AppTransport()
        app.transport = cast("asyncio.Transport", written)
        server = ServerSide(app, app._exchanges)
        server.connection_made(cast("asyncio.Transport", AppTransport()))
        app.receive(call(), 0)
        for at_ns, piece in enumerate(pieces, 1):
            server.receive(piece, at_ns)
        return written.written

    for wire in ANSWERS.values():
        for seed in range(3):
            assert asyncio.run(forward(split(wire.data, seed))) == wire.data
