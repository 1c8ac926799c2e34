"""The connections of the relay: one to the server for each of the app's, and what comes on one passes to the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import time
from typing import TYPE_CHECKING, cast

from pytest_llmperf.traffic.relay.exchanges import Conversation

if TYPE_CHECKING:
    from pytest_llmperf.traffic.client.exchange import Target
    from pytest_llmperf.traffic.relay.recorded_calls import Ledger

_WAITING_BYTES = 1 << 18
_RESET = struct.pack("ii", 1, 0)
# One for all connections: what is read is copied out of it before the next read.
_BUFFER = memoryview(bytearray(1 << 16))


class _Side(asyncio.BufferedProtocol):
    """One of the two connections of a pair. What it cannot pass on fast enough, it stops reading."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: _Side | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        self.received(bytes(_BUFFER[:nbytes]), time.monotonic_ns())

    def received(self, data: bytes, at_ns: int) -> None:
        raise NotImplementedError

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def part(self, error: Exception | None) -> None:
        """Ends the other connection as this one has ended: reset, or closed after what is still to be sent."""
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
    """The side of the app. It is connected to the server as soon as it is there, before it has asked for anything."""

    def __init__(self, ledger: Ledger, target: Target) -> None:
        super().__init__()
        self._target = target
        self._conversation = Conversation(ledger, target.authority)
        self._waiting: list[bytes] = []
        self._finished = False
        self._unreachable = ""
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        target = self._target
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: ServerSide(self, self._conversation), target.host, target.port, ssl=target.ssl_context
            )
        except OSError as error:
            self._unreachable = cause_of(error)
            self._refuse()
        finally:
            self._connecting = None

    def connected(self, server: ServerSide, transport: asyncio.Transport) -> None:
        """What has come meanwhile is passed on."""
        assert self.transport is not None
        if self.transport.is_closing():
            server.peer = None
            transport.abort()
            return
        self.peer = server
        transport.write(b"".join(self._waiting))
        self._waiting.clear()
        if self._finished:
            self._pass_end_on()
        self.transport.resume_reading()

    def received(self, data: bytes, at_ns: int) -> None:
        server = self.peer.transport if self.peer is not None else None
        if server is None:
            self._hold(self._conversation.request(data, at_ns))
            return
        quick = self._conversation.at_once(data)
        if quick is not None:
            server.write(quick)
        wire = self._conversation.request(data, at_ns)
        if quick is None:
            server.write(wire)

    def _hold(self, wire: bytes) -> None:
        """Until there is a connection to the server, or will be none."""
        self._waiting.append(wire)
        if self._unreachable:
            self._refuse()
        elif sum(map(len, self._waiting)) > _WAITING_BYTES and self.transport is not None:
            self.transport.pause_reading()

    def _refuse(self) -> None:
        """There is nobody to talk to: it hangs up, but not before it has seen which call fails by that."""
        if (any(self._waiting) or self._finished) and self.transport is not None:
            self._conversation.unreachable(time.monotonic_ns(), self._unreachable)
            self.transport.abort()

    def eof_received(self) -> bool:
        """A client that has closed and one that only sends no more look alike from here: the server decides."""
        self._finished = True
        self._conversation.app_finished()
        if self.peer is not None:
            self._pass_end_on()
        return not self._unreachable

    def _pass_end_on(self) -> None:
        assert self.peer is not None
        transport = self.peer.transport
        assert transport is not None
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._conversation.app_left(time.monotonic_ns())
        if self._connecting is not None:
            self._connecting.cancel()
        self.part(error)


class ServerSide(_Side):
    """The side of the server: what comes is passed on first and looked at then."""

    def __init__(self, app: AppSide, conversation: Conversation) -> None:
        super().__init__()
        self.peer = self._app = app
        self._conversation = conversation

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._app.connected(self, cast("asyncio.Transport", transport))

    def received(self, data: bytes, at_ns: int) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)
        self._conversation.answer(data, at_ns)

    def connection_lost(self, error: Exception | None) -> None:
        cause = f"the connection to the server broke: {cause_of(error)}" if isinstance(error, OSError) else ""
        self._conversation.server_left(time.monotonic_ns(), cause)
        self.part(error)


def cause_of(error: OSError) -> str:
    """In a few words."""
    reason = getattr(error, "reason", "")  # of TLS, whose errno means something else
    if reason:
        return str(reason).replace("_", " ").lower()
    if isinstance(error, socket.gaierror):
        return str(error.strerror).lower()
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
