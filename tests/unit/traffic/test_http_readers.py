"""All that read answers over HTTP read them alike, however they are split: the client, the load client, the relay."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, cast

import pytest

from pytest_llmperf.traffic.client.exchange import Exchange, TransportError
from pytest_llmperf.traffic.relay.connections import AppSide, ServerSide
from pytest_llmperf.traffic.relay.exchanges import Exchanges
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls
from tests.helpers.http_readers import TARGET, Read, read_by_client, read_by_load, read_by_python, read_by_relay
from tests.helpers.http_wires import ANSWERS, Wire, split_at_random
from tests.helpers.relay_wires import call

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PREFIX = "the answer is not HTTP/1.1: "
SPLITS = 8


def split(data: bytes, seed: int) -> list[bytes]:
    if not seed:
        return [data] if data else []
    if seed == 1 and len(data) < 10_000:
        return [data[at : at + 1] for at in range(len(data))]
    return split_at_random(data, Random(seed))


@pytest.mark.parametrize("name", ANSWERS)
def test_all_readers_read_an_answer_alike_however_it_is_split(name: str) -> None:
    wire = ANSWERS[name]
    for seed in range(SPLITS):
        pieces = split(wire.data, seed)
        client = read_by_client(pieces)
        check(client, wire)
        if not seed:  # what comes later than the end is another matter
            assert client.reusable is (wire.reusable and not wire.fault)
        assert read_by_load(pieces) == client
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
