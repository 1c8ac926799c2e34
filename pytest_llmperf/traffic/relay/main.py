"""The relay process: ``python -m pytest_llmperf.traffic.relay.main SOCKET_FD``.

It listens on loopback, passes every byte on as it comes, in both directions, and notes when it came. Orders come as
lines of JSON, ``{"do": "listen", ...}``, over the socket from the process that started this one, one at a time; each is
answered by the length of a pickle (8 bytes) and the pickle. The process ends with that connection, or with its parent.
"""

from __future__ import annotations

import asyncio
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

from pytest_llmperf.system.child_process import is_orphan
from pytest_llmperf.system.scheduling import ask_for_short_slices
from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.relay.connections import AppSide, cause_of
from pytest_llmperf.traffic.relay.recorded_calls import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = struct.Struct("!Q")
LOOPBACK = "127.0.0.1"
_PARENT_CHECK_S = 0.25
_POLL_S = 0.002


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
            server = await loop.create_server(lambda: AppSide(self.ledger, self.target), LOOPBACK, port, backlog=1024)
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
    await loop.create_connection(lambda: _Control(relay.obey, ended), sock=control)
    while not is_orphan() and not ended.done():
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
