"""The connections of the load client: opened before they are needed, with each arrival stamped before it is parsed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, cast

from pytest_llmperf.system.http.answer import TimedAnswer
from pytest_llmperf.system.http.heads import HTTPError
from pytest_llmperf.traffic.client.connections import explain
from pytest_llmperf.traffic.client.opening import open_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.traffic.client.exchange import Target, TransportError
    from pytest_llmperf.traffic.load.wire import Order

_SILENCE_CHECK_S = 1.0


class Flight:
    """One request in flight and its answer.

    ``number`` is the number of the request in its load, ``request`` the bytes to send, ``due_ns`` the scheduled moment
    (None without one), ``fault`` why the answer is not complete, "" while it may be.
    """

    __slots__ = ("answer", "due_ns", "end_ns", "fault", "number", "order", "request", "retried", "sent_ns")

    def __init__(self, number: int, request: bytes, order: Order, due_ns: int | None) -> None:
        self.number = number
        self.request = request
        self.order = order
        self.due_ns = due_ns
        self.sent_ns = self.end_ns = 0
        self.answer = TimedAnswer()
        self.fault = ""
        self.retried = False


class LoadConnection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self, pool: LoadPool) -> None:
        self._pool = pool
        self.flight: Flight | None = None
        self.transport: asyncio.Transport | None = None
        self.used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, flight: Flight) -> None:
        assert self.transport is not None
        self.flight = flight
        self.transport.write(flight.request)

    def data_received(self, data: bytes) -> None:
        now = self._pool.heard_ns = time.monotonic_ns()
        flight = self.flight
        if flight is None:
            self.abort()
            return
        try:
            if flight.answer.take(data, now):
                self._finish(now)
        except HTTPError as error:
            self._finish(now, f"the answer is not HTTP/1.1: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        now = time.monotonic_ns()
        self._pool.remove(self)
        flight = self.flight
        if flight is None:
            return
        if flight.answer.last_ns is None and self.used and not flight.retried:
            self.flight = None
            self._pool.retry(flight)
        elif isinstance(error, OSError):
            self._finish(now, str(self._pool.explain(error)))
        else:
            self._finish(now, flight.answer.why_incomplete())

    def _finish(self, now: int, fault: str = "") -> None:
        flight = self.flight
        assert flight is not None
        self.flight = None
        flight.end_ns, flight.fault = now, fault
        # Whatever else has arrived is stamped before this answer is handled.
        self._pool.loop.call_soon(self._pool.end, self, flight)

    def abort(self, fault: str = "") -> None:
        """Closes the connection; its request, if any, ends with ``fault``."""
        if self.flight is not None:
            self._finish(time.monotonic_ns(), fault)
        if self.transport is not None:
            self.transport.abort()


class LoadPool:
    """Sends requests over a pool of connections.

    ``timeout`` bounds, in seconds, the connecting and every single silence of the server. ``reserve`` idle connections
    are kept open. ``on_end`` is called with each flight that has ended, ``on_silence`` with the reason when a request
    has waited for the timeout, and nothing has come to any other either. ``keep`` says whether a connection carries
    several requests.

    Attributes:
        opened: number of connections that were opened.
        heard_ns: when the last bytes came to any request; the moment of creation before any.
    """

    def __init__(
        self,
        target: Target,
        timeout: float,
        reserve: int,
        on_end: Callable[[Flight], None],
        on_silence: Callable[[str], None],
        *,
        keep: bool,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.opened = 0
        self.heard_ns = time.monotonic_ns()
        self._target = target
        self._timeout = timeout
        self._reserve = reserve
        self._on_end = on_end
        self._on_silence = on_silence
        self._keep = keep
        self._idle: list[LoadConnection] = []
        self._open: set[LoadConnection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Flight] = deque()
        self._closed = False

    async def prepare(self, connections: int) -> None:
        """Opens connections before any is needed. A server that refuses them shows in the requests, not here."""
        for _ in range(connections):
            self._begin_opening()
        if self._opening:
            await asyncio.wait(self._opening)
        self.loop.call_later(_SILENCE_CHECK_S, self._end_silent)

    def send(self, flight: Flight) -> None:
        """Sends a request over an idle connection, or over a new one; ``flight.sent_ns`` is the moment of this call."""
        flight.sent_ns = time.monotonic_ns()
        connection = self._take_idle()
        if connection is not None:
            connection.send(flight)
            self._refill()
        else:
            self._wait(flight)

    def cancel(self, fault: str = "cancelled") -> None:
        """Ends every request in flight with this fault."""
        waiting, self._waiting = list(self._waiting), deque()
        for flight in waiting:
            self._fail(flight, fault)
        for connection in list(self._open):
            if connection.flight is not None:
                connection.abort(fault)

    async def close(self) -> None:
        """Closes all connections; requests in flight end with the fault ``cancelled``."""
        self._closed = True
        for task in self._opening:
            task.cancel()
        for connection in list(self._open):
            connection.abort("cancelled")
        await asyncio.sleep(0)

    # ------------------------------------------------------------------------------------------ of the connections

    def end(self, connection: LoadConnection, flight: Flight) -> None:
        """Reuses or closes the connection of a flight that has ended."""
        if flight.fault or not (flight.answer.reusable and self._keep) or self._closed:
            connection.abort()
        elif connection.transport is not None and not connection.transport.is_closing():
            connection.used = True
            self._ready(connection)
        self._on_end(flight)

    def retry(self, flight: Flight) -> None:
        """Sends a request again whose kept connection the server had closed before it answered."""
        flight.retried = True
        self._wait(flight)

    def remove(self, connection: LoadConnection) -> None:
        """Removes a connection that has ended."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def explain(self, error: OSError) -> TransportError:
        """Describes an error of a socket to this server."""
        return explain(error, self._target, self._timeout)

    def _take_idle(self) -> LoadConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        return None

    def _ready(self, connection: LoadConnection) -> None:
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _wait(self, flight: Flight) -> None:
        self._waiting.append(flight)
        self._begin_opening()

    def _refill(self) -> None:
        for _ in range(self._reserve - len(self._idle) - len(self._opening)):
            self._begin_opening()

    def _begin_opening(self) -> None:
        task = self.loop.create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await open_connection(lambda: LoadConnection(self), self._target)
        except OSError as error:
            if self._waiting:
                self._fail(self._waiting.popleft(), str(self.explain(error)))
                if isinstance(error, TimeoutError):
                    self._note_silence()
            return
        self.opened += 1
        self._open.add(connection)
        self._ready(connection)

    def _fail(self, flight: Flight, fault: str) -> None:
        flight.end_ns, flight.fault = time.monotonic_ns(), fault
        self.loop.call_soon(self._on_end, flight)

    def _end_silent(self) -> None:
        """Ends requests to which the server has been silent for longer than the timeout."""
        if self._closed:
            return
        silent = time.monotonic_ns() - round(self._timeout * 1e9)
        ended = False
        for connection in list(self._open):
            flight = connection.flight
            if flight is not None and (flight.answer.last_ns or flight.sent_ns) < silent:
                connection.abort(str(self.explain(TimeoutError())))
                ended = True
        if ended:
            self._note_silence()
        self.loop.call_later(_SILENCE_CHECK_S, self._end_silent)

    def _note_silence(self) -> None:
        if time.monotonic_ns() - self.heard_ns >= self._timeout * 1e9:
            self._on_silence(f"the engine is silent: nothing came for {self._timeout:g} s")
