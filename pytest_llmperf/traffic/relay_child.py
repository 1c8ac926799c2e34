"""The relay process: ``python -m pytest_llmperf.traffic.relay_child SOCKET_FD``.

It listens on loopback, passes every byte on as it comes, in both directions, and notes when it came. Orders come as
lines of JSON, ``{"do": "listen", ...}``, over the socket from the process that started this one, one at a time; each is
answered by the length of a pickle (8 bytes) and the pickle. The process ends with that connection, or with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import pickle
import resource
import socket
import struct
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.telemetry.scheduling import ask_for_short_slices
from pytest_llmperf.traffic.exchange import Target
from pytest_llmperf.traffic.relay_conversation import Conversation
from pytest_llmperf.traffic.relay_ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = struct.Struct("!Q")
LOOPBACK = "127.0.0.1"
_PARENT_CHECK_S = 0.25
_POLL_S = 0.002
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


class _App(_Side):
    """The side of the app. It is connected to the server as soon as it is there, before it has asked for anything."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        self._target = relay.target
        self._conversation = Conversation(relay.ledger, self._target.authority)
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
                lambda: _Server(self, self._conversation), target.host, target.port, ssl=target.ssl_context
            )
        except OSError as error:
            self._unreachable = cause_of(error)
            self._refuse()
        finally:
            self._connecting = None

    def connected(self, server: _Server, transport: asyncio.Transport) -> None:
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


class _Server(_Side):
    """The side of the server: what comes is passed on first and looked at then."""

    def __init__(self, app: _App, conversation: Conversation) -> None:
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


class Relay:
    """What all connections share, and the orders."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.target: Target

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["do"]:
            case "listen":
                self.target = Target.parse(order["url"])
                return await self._listen(order["port"])
            case "serve":
                self.target = Target.parse(order["url"])
            case "open":
                self.ledger.open()
            case "take":
                return await self._take(order["final"], order["patience_s"])
        return {}

    async def _listen(self, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(lambda: _App(self), LOOPBACK, port, backlog=1024)
        except OSError as error:
            return {"error": cause_of(error)}
        return {"port": server.sockets[0].getsockname()[1]}

    async def _take(self, final: bool, patience_s: float) -> dict[str, Any]:
        """What a test that has just ended has read may need a moment to be complete."""
        deadline = time.monotonic() + patience_s
        while self.ledger.under_way and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        calls = self.ledger.take(time.monotonic_ns(), final=final)
        outside, self.ledger.outside = self.ledger.outside, 0
        problems, self.ledger.problems = self.ledger.problems, []
        return {"calls": calls, "outside": outside, "problems": problems}

    def note_problem(self, context: dict[str, Any]) -> None:
        """An error of ours has ended a connection. Its text may hold what was sent, so only its place is told.

        Those of connections stand with their calls, but for the one that lets none in any more.
        """
        error = context.get("exception")
        if isinstance(error, OSError) and "accept" not in context["message"]:
            return
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        where = f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
        self.ledger.problems.append(f"the relay failed: {type(error).__name__}{where}")


class _Control(asyncio.Protocol):
    """The connection to pytest."""

    def __init__(self, obey: Callable[[dict[str, Any]], Any], ended: asyncio.Future[None]) -> None:
        self._obey = obey
        self._ended = ended
        self._rest = b""
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            task = asyncio.get_running_loop().create_task(self._answer(json.loads(line)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, order: dict[str, Any]) -> None:
        content = pickle.dumps(await self._obey(order))
        self._transport.write(LENGTH.pack(len(content)) + content)
        gc.collect()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def _run(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    relay, ended = Relay(), loop.create_future()
    loop.set_exception_handler(lambda _, context: relay.note_problem(context))
    parent = os.getppid()
    await loop.create_connection(lambda: _Control(relay.obey, ended), sock=control)
    while os.getppid() == parent and not ended.done():
        await asyncio.wait([ended], timeout=_PARENT_CHECK_S)


def main(socket_fd: int) -> None:
    # Garbage is looked for between tests only: a look takes milliseconds when there are many calls.
    gc.freeze()
    gc.disable()
    ask_for_short_slices()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_run(socket.socket(fileno=socket_fd)))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
