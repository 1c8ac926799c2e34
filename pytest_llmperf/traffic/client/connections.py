"""What moves the bytes of an exchange: blocking sockets that are kept, or asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.traffic.client.arrivals import ask_for_arrivals, find_longest_wait, measure_sending, receive
from pytest_llmperf.traffic.client.exchange import (
    Exchange,
    Target,
    TransportCancelledError,
    TransportError,
    TransportTimeoutError,
)
from pytest_llmperf.traffic.client.opening import open_connection, open_socket

if TYPE_CHECKING:
    from collections.abc import Coroutine


def explain(error: OSError, target: Target, timeout: float) -> TransportError:
    """Describes an error of a socket in one line, for the request that met it."""
    if isinstance(error, TimeoutError):
        return TransportTimeoutError(f"{target.origin} was silent for {timeout:g} s")
    if isinstance(error, ConnectionError) and error.errno:
        cause = os.strerror(error.errno).lower()
    else:
        cause = " ".join((error.strerror or str(error) or type(error).__name__).split())
    return TransportError(f"{target.origin}: {cause}")


class ConnectionPool:
    """Blocking exchanges with one server over connections that are kept between them. Threads may share it.

    ``timeout`` (seconds) bounds the connecting and every single silence of the server, unless the exchange has its own.
    """

    def __init__(self, target: Target, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()
        # The exchanges under way, each with its connection once it has one, and those that were cancelled.
        self._running: dict[Exchange, socket.socket | None] = {}
        self._cancelled: set[Exchange] = set()
        self._closed = False

    def perform(self, exchange: Exchange) -> None:
        """Carries out the exchange. One that dies of a stale connection begins again on a fresh one.

        Raises:
            TransportError: no complete answer; what came is in the exchange.
        """
        self._running[exchange] = None
        try:
            self._perform(exchange)
        except TransportError:
            if exchange in self._cancelled:
                raise TransportCancelledError from None
            raise
        finally:
            with self._lock:
                del self._running[exchange]
                self._cancelled.discard(exchange)

    def cancel(self) -> None:
        """Ends the exchanges that are under way in other threads, by the end of their connections."""
        with self._lock:
            self._cancelled.update(self._running)
            for connection in self._running.values():
                if connection is not None:
                    _end(connection)

    def _perform(self, exchange: Exchange) -> None:
        idle = self._take_idle()
        if idle is not None:
            try:
                return self._converse(exchange, idle)
            except TransportTimeoutError:
                raise
            except TransportError:
                if exchange.started or exchange in self._cancelled:
                    raise
        return self._converse(exchange, None)

    def _note_connection(self, exchange: Exchange, connection: socket.socket) -> None:
        with self._lock:
            self._running[exchange] = connection
            if exchange in self._cancelled:
                _end(connection)

    def _take_idle(self) -> socket.socket | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not _has_more(connection):
                return connection
            connection.close()

    def _converse(self, exchange: Exchange, connection: socket.socket | None) -> None:
        request = exchange.begin()
        timeout = self._timeout if exchange.timeout_s is None else exchange.timeout_s
        complete = False
        try:
            connection = connection or self._connect(timeout)
            self._note_connection(exchange, connection)
            connection.settimeout(timeout)
            connection.sendall(request)
            exchange.seen_sending_ns = measure_sending(connection, exchange, time.monotonic_ns())
            waited: list[int | None] = []
            while not complete:
                data, at_ns, waited_ns = receive(connection)
                waited.append(waited_ns)
                complete = exchange.receive(data, at_ns)
            exchange.seen_reading_ns = find_longest_wait(waited)
        except OSError as error:
            raise explain(error, self._target, timeout) from None
        finally:
            if connection is not None:
                if complete and exchange.reusable and not self._closed:
                    self._idle.append(connection)
                else:
                    connection.close()

    def _connect(self, timeout: float) -> socket.socket:
        plain = open_socket(self._target, timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ask_for_arrivals(plain)
            if self._target.ssl_context is None:
                return plain
            return self._target.ssl_context.wrap_socket(plain, server_hostname=self._target.host)
        except BaseException:
            plain.close()
            raise

    def close(self) -> None:
        self._closed = True
        while (connection := self._take_idle()) is not None:
            connection.close()


def _end(connection: socket.socket) -> None:
    """Ends a connection that another thread reads from, which sees it as closed."""
    with contextlib.suppress(OSError):
        # That of the plain socket: one with TLS must not be changed while it is read.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _has_more(connection: socket.socket) -> bool:
    """Whether an idle connection has ended, or has bytes that the next answer would be taken to begin with."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


class _Receiver(asyncio.Protocol):
    """Hands every arrival to the exchange.

    An arrival is stamped within the event loop's own read and looked at only in its next round: whatever else has
    arrived by then has its stamp already.
    """

    def __init__(self, exchange: Exchange, request: bytes) -> None:
        self._loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._request = request
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)
        transport.write(self._request)
        connection = transport.get_extra_info("socket")
        self._exchange.seen_sending_ns = measure_sending(connection, self._exchange, time.monotonic_ns())

    def data_received(self, data: bytes) -> None:
        self._loop.call_soon(self._take, data, time.monotonic_ns())

    def eof_received(self) -> None:
        self._loop.call_soon(self._take, b"", time.monotonic_ns())

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self.done.done():
            self.done.set_exception(error)
        self._take(b"", time.monotonic_ns())
        self.closed.set_result(None)

    def _take(self, data: bytes, at_ns: int) -> None:
        if self.done.done():
            return
        try:
            if self._exchange.receive(data, at_ns):
                self.done.set_result(None)
        except Exception as error:  # else the request would wait for the end of its timeout
            self.done.set_exception(error)

    async def wait(self, timeout: float) -> None:
        """Until the answer is complete, or nothing has come for ``timeout`` seconds."""
        while not self.done.done():
            quiet = (time.monotonic_ns() - self._exchange.end_ns) / 1e9
            if quiet >= timeout:
                raise TimeoutError
            await asyncio.wait([self.done], timeout=timeout - quiet)
        self.done.result()


async def perform(exchange: Exchange, timeout: float) -> None:
    """Carries out the exchange on a connection of its own in the running event loop, and closes it.

    ``timeout`` (seconds) bounds the connecting and every single silence of the server, unless the exchange has its own.

    Raises:
        TransportError: no complete answer; what came is in the exchange.
    """
    target, request = exchange.target, exchange.begin()
    timeout = timeout if exchange.timeout_s is None else exchange.timeout_s
    try:
        async with asyncio.timeout(timeout):
            opened, receiver = await open_connection(lambda: _Receiver(exchange, request), target)
            transport = cast("asyncio.Transport", opened)
        try:
            await receiver.wait(timeout)
        finally:
            receiver.done.cancel()
            transport.abort()
            await receiver.closed
    except OSError as error:
        raise explain(error, target, timeout) from None


def run_in_own_loop(work: Coroutine[Any, Any, None]) -> None:
    """Runs ``work`` to its end in another thread; when the caller is interrupted, ``work`` is cancelled."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    with ThreadPoolExecutor(1, "llmperf-client") as executor:
        try:
            executor.submit(loop.run_until_complete, task).result()
        except BaseException:
            loop.call_soon_threadsafe(task.cancel)
            raise
        finally:
            executor.shutdown()
            loop.close()
