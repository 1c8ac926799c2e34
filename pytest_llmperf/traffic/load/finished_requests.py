"""The finished requests of a load: kept as they came while requests are sent, and read afterwards."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.answers.reading import read_or_fail
from pytest_llmperf.traffic.load.wire import Strings, pack_timing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from pytest_llmperf.traffic.client.api import ReadAnswer
    from pytest_llmperf.traffic.load.connections import Flight

_BLOCK_BYTES = 2**20


class FinishedRequests:
    """Keeps flights as they came, up to ``most_bytes`` of answers; beyond that, another thread reads the oldest."""

    def __init__(self, read: ReadAnswer, *, streamed: bool, most_bytes: int) -> None:
        self._read = read
        self.strings = Strings()
        self._streamed = streamed
        self._most_bytes = most_bytes
        self._waiting: deque[Flight] = deque()
        self._waiting_bytes = 0
        self._packed: deque[bytes] = deque()
        self._working = False

    def add(self, flight: Flight, loop: asyncio.AbstractEventLoop) -> None:
        """Adds a flight that has ended."""
        flight.request = b""
        self._waiting.append(flight)
        self._waiting_bytes += _size(flight)
        if self._waiting_bytes > self._most_bytes and not self._working:
            self._working = True
            loop.run_in_executor(None, self._make_room)

    def read_answer(self, flight: Flight) -> Answer:
        """Reads the answer of a flight; ``timing.error`` says what is wrong with it."""
        arrival = Arrival(
            sent_ns=flight.sent_ns,
            end_ns=flight.end_ns,
            pieces=flight.answer.pieces,
            status=flight.answer.status,
            content_type=flight.answer.headers.get("content-type", ""),
            streamed=self._streamed,
            shared_prefix=flight.order.shared,
            fault=flight.fault,
            scheduled_ns=flight.due_ns,
            full_length=flight.order.full_length,
        )
        return read_or_fail(self._read, arrival)

    def pack_timings(self) -> Iterator[bytes]:
        """Yields the packed timings of all flights in blocks of about 1 MiB, and frees each flight that is in one."""
        block = bytearray()
        while self._packed or self._waiting:
            block += self._packed.popleft() if self._packed else self._pack(self._waiting.popleft())
            if len(block) > _BLOCK_BYTES:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def _make_room(self) -> None:
        while self._waiting and self._waiting_bytes > self._most_bytes // 2:
            flight = self._waiting.popleft()
            self._waiting_bytes -= _size(flight)
            self._packed.append(self._pack(flight))
        self._working = False

    def _pack(self, flight: Flight) -> bytes:
        return pack_timing(flight.number, self.read_answer(flight).timing, self.strings)


def _size(flight: Flight) -> int:
    return sum(len(data) for _, data in flight.answer.pieces)
