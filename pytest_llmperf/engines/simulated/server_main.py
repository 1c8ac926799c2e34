"""The simulated engine's server: the OpenAI API over HTTP, with tokens that leave on a schedule.

    python -m pytest_llmperf.engines.simulated.server_main --announce FILE [--set KEY=VALUE ...] [--log FILE]

It binds, writes its base URL into the announce file, loads, and answers until SIGTERM or SIGINT. The
log is the truth that a client can be checked against: one JSON line per request with the time each chunk was
written, in nanoseconds of the monotonic clock that all processes of a host share.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import mmap
import os
import select
import selectors
import signal
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from pytest_llmperf.engines.simulated.answers import (
    DONE,
    Ask,
    Reply,
    RequestError,
    error_payload,
    read_request,
)
from pytest_llmperf.engines.simulated.http import Connection
from pytest_llmperf.engines.simulated.prefix_cache import PrefixCache
from pytest_llmperf.engines.simulated.schedule import Simulation, SimulationError, schedule, words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

CRASH_STATUS = 70
FAILED_LOAD_STATUS = 3

_COMPLETIONS = {"/v1/chat/completions": True, "/v1/completions": False}


@dataclass
class _Record:
    """A line of the log. ``written_ns`` holds (time, tokens) of every write that carries tokens."""

    request: int
    arrived_ns: int
    status: int = 200
    outcome: str = "disconnected"
    written_ns: list[tuple[int, int]] = field(default_factory=list)
    ended_ns: int = 0


class ScheduledServer:
    """Answers requests as ``simulation`` says; ``log`` takes a line for each that was understood."""

    def __init__(self, simulation: Simulation, log: TextIO | None = None) -> None:
        self._simulation = simulation
        self._log = log
        self._slots = asyncio.Semaphore(simulation.slots)
        self._cache = PrefixCache()
        self._up = False
        self._loaded, self._unwanted, self._wanted = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._requests = 0
        self._emitted = 0
        self._is_cold = True

    async def load_and_hold(self, began_ns: int) -> NoReturn:
        """Loads for ``startup_time`` from ``began_ns`` on, and holds the memory until a request to unload comes.

        Then it waits for a request, and loads again.
        """
        while True:
            async with _held(self._simulation.memory):
                await _sleep_until(began_ns, self._simulation.startup_time)
                if self._simulation.crash_on_start:
                    print("simulated engine: crash_on_start: cannot load the model", file=sys.stderr, flush=True)
                    os._exit(FAILED_LOAD_STATUS)
                self._up = True
                self._wanted.clear()
                self._loaded.set()
                await self._unwanted.wait()
            self._unwanted.clear()
            await self._wanted.wait()
            began_ns = time.monotonic_ns()

    async def answer(self, connection: Connection, method: str, path: str, body: bytes, arrived_ns: int) -> None:
        """Answers one request, whose last byte came at ``arrived_ns``."""
        if not self._up:
            connection.respond(503, error_payload(503, "Loading model", "unavailable_error"))
        elif (method, path) == ("GET", "/health"):
            connection.respond(200, {"status": "ok"})
        elif (method, path) == ("GET", "/v1/models"):
            model = {
                "id": self._simulation.model,
                "object": "model",
                "created": 0,
                "owned_by": "pytest-llmperf",
            }
            connection.respond(200, {"object": "list", "data": [model]})
        elif (method, path) == ("POST", "/unload"):
            self._loaded.clear()
            self._wanted.clear()
            self._unwanted.set()
            self._cache.clear()
            connection.respond(200, {"status": "unloaded"})
        elif (method, path) == ("POST", "/load"):
            self._wanted.set()
            await self._loaded.wait()
            connection.respond(200, {"status": "loaded"})
        elif (method, path) == ("POST", "/reset_prefix_cache"):
            self._cache.clear()
            connection.respond(200, {"status": "empty"})
        elif (method, path) == ("GET", "/prefix_cache"):
            connection.respond(200, {"cached_tokens": self._cache.cached_tokens})
        elif method == "POST" and path in _COMPLETIONS:
            await self._complete(connection, _COMPLETIONS[path], body, arrived_ns)
        else:
            connection.respond(404, error_payload(404, f"no {method} {path} here", "not_found_error"))

    async def _complete(self, connection: Connection, chat: bool, body: bytes, arrived_ns: int) -> None:
        try:
            ask = read_request(chat, body, self._simulation)
        except RequestError as error:
            connection.respond(error.status, error.payload)
            return
        self._wanted.set()
        await self._loaded.wait()
        self._requests += not ask.is_warmup
        record = _Record(0 if ask.is_warmup else self._requests, arrived_ns)
        if self._is_cold:
            self._is_cold = False
            simulation = ask.simulation
            ask = replace(ask, simulation=replace(simulation, ttft=simulation.ttft + simulation.first_request))
        try:
            if ask.simulation.fails(record.request):
                record.status, record.outcome = ask.simulation.error_status, "failed"
                connection.respond(record.status, error_payload(record.status, "simulated failure", "server_error"))
            else:
                await self._generate(connection, ask, record)
        finally:
            self._write(record)

    async def _generate(self, connection: Connection, ask: Ask, record: _Record) -> None:
        answer = Reply(ask, record.request)
        if ask.stream and ask.chat and ask.simulation.role_chunk:
            connection.write(connection.event(answer.role()))
        has_to_wait = self._slots.locked()
        async with self._slots:
            start_ns = time.monotonic_ns() if has_to_wait else record.arrived_ns
            if self._simulation.prefix_cache:
                ask = _read_from_cache(ask, self._cache)
                answer = Reply(ask, record.request)
            async with _held(ask.simulation.memory_per_request):
                await self._emit(connection, ask, answer, record, start_ns)

    async def _emit(self, connection: Connection, ask: Ask, answer: Reply, record: _Record, start_ns: int) -> None:
        text = words(ask.simulation, ask.output_tokens)
        sent = 0
        for offset_s, tokens, kind in schedule(ask.simulation, record.request, ask.output_tokens):
            piece = "".join(text[sent : sent + tokens])
            sent += tokens
            # all is made ready before the wait, so that nothing but the write comes after the deadline
            frame = connection.event(answer.piece(piece, kind, sent)) if ask.stream else b""
            await _sleep_until(start_ns, offset_s)
            if ask.stream:
                record.written_ns.append((time.monotonic_ns(), tokens))
                connection.write(frame)
            self._emitted += 0 if ask.is_warmup else tokens
            if 0 < self._simulation.crash_after <= self._emitted:
                self._crash(record)
            if 0 < ask.simulation.cut_after <= sent:
                record.outcome = "cut"
                connection.close()
                return
        self._finish(connection, ask, answer, record, text)

    def _finish(self, connection: Connection, ask: Ask, answer: Reply, record: _Record, text: Sequence[str]) -> None:
        if ask.stream:
            connection.write(connection.event(answer.finish()))
            if ask.usage:
                connection.write(connection.event(answer.usage()))
            record.ended_ns = time.monotonic_ns()
            connection.write(connection.last_event(DONE))
        else:
            border = ask.simulation.reasoning_tokens
            record.ended_ns = time.monotonic_ns()
            record.written_ns.append((record.ended_ns, len(text)))
            connection.respond(200, answer.whole("".join(text[border:]), "".join(text[:border])))
        record.outcome = "answered"

    def _crash(self, record: _Record) -> NoReturn:
        record.outcome = "crashed"
        self._write(record)
        print(f"simulated engine: crash_after: {self._emitted} tokens were sent", file=sys.stderr, flush=True)
        os._exit(CRASH_STATUS)

    def _write(self, record: _Record) -> None:
        if self._log is not None:
            record.ended_ns = record.ended_ns or time.monotonic_ns()
            self._log.write(json.dumps(asdict(record)) + "\n")
            self._log.flush()


def _read_from_cache(ask: Ask, cache: PrefixCache) -> Ask:
    """The same request, with what of its prompt is known already, and a first token as much earlier."""
    cached = cache.take(ask.prompt)
    new = 1 - cached / max(1, ask.prompt_tokens)
    simulation = replace(ask.simulation, ttft=ask.simulation.ttft * new)
    return replace(ask, simulation=simulation, cached_tokens=cached)


async def _sleep_until(start_ns: int, offset_s: float) -> None:
    left = offset_s - (time.monotonic_ns() - start_ns) / 1e9
    await asyncio.sleep(max(0.0, left))


_TOUCHED_AT_ONCE = 4 * 2**20


@asynccontextmanager
async def _held(size: int) -> AsyncIterator[None]:
    """Holds ``size`` bytes of private memory, each page written; they go back to the system at the end."""
    if not size:
        yield
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        for start in range(0, size, _TOUCHED_AT_ONCE):
            pages = slice(start, min(start + _TOUCHED_AT_ONCE, size), mmap.PAGESIZE)
            area[pages] = b"\x01" * len(range(*pages.indices(size)))
            await asyncio.sleep(0)
        yield


class _PreciseSelector(selectors.DefaultSelector):
    """Wakes up within microseconds, where epoll alone counts its timeout in whole milliseconds."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            # the kernel may be late by a thousandth of the timeout, so a long one is waited for in steps
            select.select([self.fileno()], [], [], min(timeout, 0.05))
            timeout = 0
        return super().select(timeout)


async def _serve(simulation: Simulation, announce: Path, log: TextIO | None) -> NoReturn:
    began_ns = time.monotonic_ns()
    server = ScheduledServer(simulation, log)
    listener = await asyncio.get_running_loop().create_server(
        lambda: Connection(server.answer), "127.0.0.1", simulation.port, backlog=1024
    )
    port = listener.sockets[0].getsockname()[1]
    draft = announce.with_name(f"{announce.name}.{os.getpid()}")
    draft.write_text(f"http://127.0.0.1:{port}", encoding="utf-8")
    draft.replace(announce)
    await server.load_and_hold(began_ns)


def _read_arguments(argv: Sequence[str] | None) -> tuple[Simulation, Path, Path | None]:
    parser = argparse.ArgumentParser(prog="simulated_server", description="A server that simulates an LLM engine.")
    parser.add_argument("--announce", type=Path, required=True, metavar="FILE", help="where to write the base URL")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting; repeatable")
    parser.add_argument("--log", type=Path, metavar="FILE", help="where to append what was really sent, and when")
    arguments = parser.parse_args(argv)
    try:
        settings: dict[str, Any] = dict(pair.split("=", 1) for pair in arguments.set)
    except ValueError:
        parser.error(f"--set takes KEY=VALUE, not {arguments.set}")
    try:
        return Simulation.from_strings(settings), arguments.announce, arguments.log
    except SimulationError as error:
        parser.error(str(error))


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the server until a signal ends it."""
    simulation, announce, log_path = _read_arguments(argv)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    log = log_path.open("a", encoding="utf-8") if log_path else None
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_PreciseSelector())) as runner:
        runner.run(_serve(simulation, announce, log))


if __name__ == "__main__":
    main()
