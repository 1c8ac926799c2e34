"""The relay process: ``python -m pytest_llmperf.traffic.relay.main SOCKET_FD``.

It listens where it is told to, forwards every byte in both directions as it arrives, and records when it arrived. The
parent sends orders as lines of JSON, ``{"do": "listen", ...}``, over the socket, one at a time; each is answered by the
length of a pickle (8 bytes) and the pickle. The process ends with that connection or with its parent.
"""

from __future__ import annotations

import asyncio
import errno
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
import weakref
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.system.child_process import end_with_parent, is_orphan
from pytest_llmperf.system.scheduling import ask_for_short_slices
from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.client.lag import LoopBeat
from pytest_llmperf.traffic.relay.connections import AppSide, describe_cause
from pytest_llmperf.traffic.relay.recorded_calls import RecordedCalls

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = struct.Struct("!Q")
LOOPBACK = "127.0.0.1"
_PARENT_CHECK_S = 0.25
_POLL_S = 0.002
_BEAT_S = 0.01


class RelayServer:
    """Listens for apps and carries out the orders of the parent; ``recorded`` holds the calls of all connections."""

    def __init__(self) -> None:
        self.recorded = RecordedCalls()
        self._beat = LoopBeat(_BEAT_S)
        self._beats = False
        self._token = ""
        self.target: Target
        self._connections: weakref.WeakSet[AppSide] = weakref.WeakSet()

    async def execute(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carries out an order and returns the answer, which has the key ``error`` if it failed."""
        match order["do"]:
            case "listen":
                self.target = Target.parse(order["url"])
                self.recorded.obeyed = order["obeyed"]
                self._token = order["token"]
                return await self._listen(order["host"], order["port"])
            case "serve":
                self.target = Target.parse(order["url"])
                for connection in list(self._connections):
                    connection.close_if_idle()
            case "open":
                self.recorded.open(time.monotonic_ns())
                self._set_beat(on=True)
            case "take":
                return await self._take(order["final"], order["patience_s"])
        return {}

    async def _listen(self, host: str, port: int) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(self._take_connection, host, port, backlog=1024)
        except OSError as error:
            # From Python 3.13 on asyncio passes over an address of no network of this host, and then has no number.
            return {"error": describe_cause(error) if error.errno else os.strerror(errno.EADDRNOTAVAIL).lower()}
        return {"port": server.sockets[0].getsockname()[1]}

    def _take_connection(self) -> AppSide:
        connection = AppSide(self.recorded, self.target, self._token)
        self._connections.add(connection)
        return connection

    async def _take(self, final: bool, patience_s: float) -> dict[str, Any]:
        """Takes the calls; an answer that the app has read may need a moment to be complete."""
        deadline = time.monotonic() + patience_s
        while self.recorded.in_flight and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        left_over = self.recorded.left_over
        calls = self.recorded.take(time.monotonic_ns(), final=final)
        for call in calls if self._beats else ():
            call.late_ns = self._beat.find_worst(call.sent_ns, call.end_ns)
        if final:
            self._set_beat(on=False)
        outside, self.recorded.outside = self.recorded.outside, 0
        prompts, self.recorded.prompts_outside = self.recorded.prompts_outside, []
        problems, self.recorded.problems = self.recorded.problems, []
        return {
            "calls": calls,
            "running_since": self.recorded.running_since,
            "left_over": left_over,
            "outside": outside,
            "prompts_outside": prompts,
            "problems": problems,
        }

    def _set_beat(self, *, on: bool) -> None:
        """Measures, while a test runs, how late this process is."""
        if on is not self._beats:
            self._beats = on
            (self._beat.start if on else self._beat.stop)()

    def note_problem(self, context: dict[str, Any]) -> None:
        """Records an error of the event loop by its type and place: its text may contain what was sent.

        An error of one connection is recorded with its calls; of those only a failure to accept connections counts.
        """
        error = context.get("exception")
        if isinstance(error, OSError) and "accept" not in context["message"]:
            return
        frames = traceback.extract_tb(error.__traceback__) if error is not None else []
        where = f" in {os.path.basename(frames[-1].filename)}, line {frames[-1].lineno}" if frames else ""
        self.recorded.problems.append(f"the relay failed: {type(error).__name__}{where}")


class _Control(asyncio.Protocol):
    """The connection to the parent: ``execute`` is called with each order, ``ended`` is set when it closes."""

    def __init__(self, execute: Callable[[dict[str, Any]], Any], ended: asyncio.Future[None]) -> None:
        self._execute = execute
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
        content = pickle.dumps(await self._execute(order))
        self._transport.write(LENGTH.pack(len(content)) + content)
        gc.collect()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


async def _run(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    relay, ended = RelayServer(), loop.create_future()
    loop.set_exception_handler(lambda _, context: relay.note_problem(context))
    await loop.create_connection(lambda: _Control(relay.execute, ended), sock=control)
    while not is_orphan() and not ended.done():
        await asyncio.wait([ended], timeout=_PARENT_CHECK_S)


def main(socket_fd: int) -> None:
    """Runs the process until its parent ends it."""
    end_with_parent()
    # Garbage is collected between tests only: a collection takes milliseconds when there are many calls.
    gc.freeze()
    gc.disable()
    ask_for_short_slices()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_run(socket.socket(fileno=socket_fd)))
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
