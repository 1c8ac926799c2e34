"""The connections of the relay: each one of the app is paired with one to the server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from pytest_llmperf.traffic.client.opening import open_connection
from pytest_llmperf.traffic.relay.exchanges import Exchanges

if TYPE_CHECKING:
    from pytest_llmperf.traffic.client.exchange import Target
    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls

_WAITING_BYTES = 1 << 18
_CONNECT_TIMEOUT_S = 120.0
_REFUSED = (
    b"the address of this relay has a token in its path, which the request lacks: use llm_client.base_url as it is\n"
)
_REFUSAL = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: "
    + f"{len(_REFUSED)}\r\n\r\n".encode()
    + _REFUSED
)
_RESET = struct.pack("ii", 1, 0)
# One buffer serves all connections: what is read is copied out of it before the next read.
_BUFFER = memoryview(bytearray(1 << 16))


class _Side(asyncio.BufferedProtocol):
    """One connection of a pair. It stops reading while the other one cannot send fast enough."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.receive(bytes(_BUFFER[:nbytes]), time.monotonic_ns())

    def receive(self, data: bytes, at_ns: int) -> None:
        """Takes what arrived at ``at_ns``."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def close_peer(self, error: Exception | None) -> None:
        """Ends the other connection as this one has ended: by a reset, or by a close after all data are sent."""
        peer, self.peer = self.peer, None
        transport = peer.transport if peer is not None else None
        if peer is None or transport is None:
            return
        peer.peer = None
        if error is None:
            transport.close()
            return
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


class AppSide(_Side):
    """The connection of the app. It opens the connection to the server at once, before the app has sent anything, and
    another one where the server has ended that between two calls.

    With a ``token`` that waits for a request whose path begins with it; one without it is answered here.
    """

    def __init__(self, recorded: RecordedCalls, target: Target, token: str = "") -> None:
        super().__init__()
        self._target = target
        self._exchanges = Exchanges(recorded, target.authority, token)
        self._opens_late = bool(token)
        self._waiting: list[bytes] = []
        self._finished = False
        self._unreachable = ""
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._opens_late:
            self._begin_connecting()

    def _begin_connecting(self) -> None:
        self._opens_late = False
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await open_connection(lambda: ServerSide(self, self._exchanges), self._target)
        except OSError as error:
            self._unreachable = describe_cause(error)
            self._refuse()
        finally:
            self._connecting = None

    def let_go(self) -> None:
        """Parts from a server that has ended its connection between two calls: the next call opens another one.

        A client that kept the connection could not have known in time: between it and the server stands the relay.
        """
        self.peer = None
        self._opens_late = True
        if self.transport is not None:
            self.transport.resume_reading()

    def pair_with(self, server: ServerSide, transport: asyncio.Transport) -> None:
        """Pairs this connection with the one to the server, and forwards what has arrived meanwhile."""
        assert self.transport is not None
        if self.transport.is_closing():
            server.peer = None
            transport.abort()
            return
        self.peer = server
        transport.write(b"".join(self._waiting))
        self._waiting.clear()
        if self._finished:
            self._forward_end()
        self.transport.resume_reading()

    def receive(self, data: bytes, at_ns: int) -> None:
        """Forwards requests to the server, or holds them back until it is connected."""
        server = self.peer.transport if self.peer is not None else None
        wire = self._exchanges.take_request(data, at_ns)
        if self._exchanges.refused:
            self._turn_away()
        elif server is not None:
            server.write(wire)
        else:
            if wire.strip() and self._opens_late:
                self._begin_connecting()
            self._hold(wire)

    def _turn_away(self) -> None:
        """Answers a request without the token, and ends the connection."""
        assert self.transport is not None
        self.transport.write(_REFUSAL)
        self.transport.close()

    def close_if_idle(self) -> None:
        """Closes the connection, as a server may between two calls; one with a call under way goes on."""
        if self._exchanges.idle and not any(self._waiting) and self.transport is not None:
            self.transport.close()

    def _hold(self, wire: bytes) -> None:
        """Holds data back until the connection to the server is open or has failed."""
        self._waiting.append(wire)
        if self._unreachable:
            self._refuse()
        elif sum(map(len, self._waiting)) > _WAITING_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def _refuse(self) -> None:
        """Closes the connection of the app, once a call has arrived that fails because the server is unreachable."""
        if (any(self._waiting) or self._finished) and self.transport is not None:
            self._exchanges.end_unreachable(time.monotonic_ns(), self._unreachable)
            self.transport.abort()

    def eof_received(self) -> bool:
        """Forwards the end of the request data. Whether the app still reads shows by what the server does."""
        self._finished = True
        self._exchanges.end_requests()
        if self.peer is not None:
            self._forward_end()
        return not self._unreachable

    def _forward_end(self) -> None:
        assert self.peer is not None
        transport = self.peer.transport
        assert transport is not None
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the open calls and the connection to the server."""
        self._exchanges.end_by_app(time.monotonic_ns())
        if self._connecting is not None:
            self._connecting.cancel()
        self.close_peer(error)


class ServerSide(_Side):
    """The connection to the server: what arrives is forwarded first and parsed afterwards."""

    def __init__(self, app: AppSide, exchanges: Exchanges) -> None:
        super().__init__()
        self.peer = self._app = app
        self._exchanges = exchanges
        self._is_apart = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._app.pair_with(self, cast("asyncio.Transport", transport))

    def receive(self, data: bytes, at_ns: int) -> None:
        """Forwards data to the app, then parses it."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
        self._exchanges.take_answer(data, at_ns)

    def eof_received(self) -> bool:
        """Parts from the app if it may go on: a call that it sends from now on must not go to this connection."""
        if self.peer is self._app and self._exchanges.outlives_server:
            self._is_apart, self.peer = True, None
            self._app.let_go()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Ends the open calls and the connection of the app."""
        if self._is_apart:
            return
        cause = f"the connection to the server broke: {describe_cause(error)}" if isinstance(error, OSError) else ""
        self._exchanges.end_by_server(time.monotonic_ns(), cause)
        self.close_peer(error)


def describe_cause(error: OSError) -> str:
    """Describes why a connection failed, in a few words; an error without a number is its own text."""
    reason = getattr(error, "reason", "")  # of TLS, whose errno means something else
    if reason:
        return str(reason).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    return os.strerror(error.errno).lower() if error.errno else str(error) or type(error).__name__
