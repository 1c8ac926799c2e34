"""What the simulated engine's server does with each request: from its body to the last byte of its answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, NoReturn, TextIO

from pytest_llmperf.engines.simulated.api import chat
from pytest_llmperf.engines.simulated.api.paths import COUNTING, GENERATION, POOLING
from pytest_llmperf.engines.simulated.api.request import Ask, Reply, RequestError, parse_body
from pytest_llmperf.engines.simulated.counts import SimulatedCounts
from pytest_llmperf.engines.simulated.memory import hold
from pytest_llmperf.engines.simulated.model.content import compose
from pytest_llmperf.engines.simulated.model.json_values import SchemaError
from pytest_llmperf.engines.simulated.model.prefix_cache import PrefixCache
from pytest_llmperf.engines.simulated.model.schedule import find_ttft, schedule
from pytest_llmperf.engines.simulated.slot_queue import SlotQueue, Work
from pytest_llmperf.engines.simulated.step_clock import StepClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pytest_llmperf.engines.simulated.api.pooling import PoolingAsk
    from pytest_llmperf.engines.simulated.api.request import Writer
    from pytest_llmperf.engines.simulated.http import Connection
    from pytest_llmperf.engines.simulated.model.script import AnswerScript, ScriptedAnswer
    from pytest_llmperf.engines.simulated.model.settings import Simulation

CRASH_STATUS = 70
FAILED_LOAD_STATUS = 3


@dataclass
class _Record:
    """A line of the log. ``written_ns`` holds (time, tokens) of every write that carries tokens."""

    request: int
    path: str
    arrived_ns: int
    status: int = 200
    outcome: str = "disconnected"
    written_ns: list[tuple[int, int]] = field(default_factory=list)
    ended_ns: int = 0


@dataclass(frozen=True)
class _Exchange:
    """One request and the way to answer it; ``describe_error`` gives the body of a refusal in the form of its API."""

    connection: Connection
    record: _Record
    describe_error: Callable[[int, str, str | None], Mapping[str, Any]]

    def refuse(self, status: int, message: str, code: str | None = None, *, retry_after: str = "") -> None:
        """Answers with an error."""
        self.record.status, self.record.outcome = status, "failed"
        headers = [("retry-after", retry_after)] if retry_after else []
        self.connection.respond(status, self.describe_error(status, message, code), headers=headers)


class ScheduledServer:
    """Answers requests as ``simulation`` and ``script`` say; ``log`` takes a line for each that was understood."""

    def __init__(self, simulation: Simulation, script: AnswerScript, log: TextIO | None = None) -> None:
        self._simulation = simulation
        self._script = script
        self._log = log
        self._slots = SlotQueue(simulation.slots, simulation.queue_limit)
        self._clock = StepClock(simulation.batch_slowdown)
        self._cache = PrefixCache()
        self._counts = SimulatedCounts()
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
            async with hold(self._simulation.memory):
                await asyncio.sleep(max(0.0, self._simulation.startup_time - (time.monotonic_ns() - began_ns) / 1e9))
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
            connection.respond(503, chat.describe_error(503, "Loading model"))
        elif method == "POST" and (path in GENERATION or path in POOLING or path in COUNTING):
            await self._answer_model(connection, path, body, arrived_ns)
        elif method == "POST" and path in ("/unload", "/load", "/reset_prefix_cache", "/reset_script"):
            await self._manage(connection, path)
        elif method == "GET":
            self._tell(connection, path)
        else:
            connection.respond(404, chat.describe_error(404, f"no {method} {path} here"))

    # --- what it tells and is told

    def _tell(self, connection: Connection, path: str) -> None:
        model = {"id": self._simulation.model, "object": "model", "created": 0, "owned_by": "pytest-llmperf"}
        if path == "/health":
            connection.respond(200, {"status": "ok"})
        elif path == "/v1/models":
            connection.respond(200, {"object": "list", "data": [model]})
        elif path == f"/v1/models/{self._simulation.model}":
            connection.respond(200, model)
        elif path == "/metrics":
            connection.respond_text(self._counts.write_page(self._slots.running, self._slots.waiting))
        elif path == "/slots":
            connection.respond(200, {"slots": self._slots.describe(), "waiting": self._slots.waiting})
        elif path == "/prefix_cache":
            connection.respond(200, {"cached_tokens": self._cache.cached_tokens})
        else:
            connection.respond(404, chat.describe_error(404, f"no GET {path} here"))

    async def _manage(self, connection: Connection, path: str) -> None:
        if path == "/load":
            self._wanted.set()
            await self._loaded.wait()
            connection.respond(200, {"status": "loaded"})
            return
        if path == "/reset_script":
            self._script.restart()
            connection.respond(200, {"status": "restarted"})
            return
        self._cache.clear()
        if path == "/unload":
            self._loaded.clear()
            self._wanted.clear()
            self._unwanted.set()
        connection.respond(200, {"status": "unloaded" if path == "/unload" else "empty"})

    # --- requests to the model

    async def _answer_model(self, connection: Connection, path: str, body: bytes, arrived_ns: int) -> None:
        describe_error = GENERATION[path].describe_error if path in GENERATION else chat.describe_error
        try:
            asked, simulation = parse_body(body, self._simulation)
            if path in COUNTING:
                connection.respond(200, COUNTING[path](asked, simulation))
                return
            ask = GENERATION[path].read(asked, simulation) if path in GENERATION else POOLING[path](asked, simulation)
        except RequestError as error:
            connection.respond(error.status, describe_error(error.status, str(error), error.code))
            return
        self._wanted.set()
        await self._loaded.wait()
        self._requests += not ask.is_warmup
        record = _Record(0 if ask.is_warmup else self._requests, path, arrived_ns)
        try:
            await self._answer_understood(ask, _Exchange(connection, record, describe_error))
        finally:
            self._write(record)

    async def _answer_understood(self, ask: Ask | PoolingAsk, exchange: _Exchange) -> None:
        scripted = self._find_scripted(ask, exchange.record.path)
        if scripted is not None and scripted.settings:
            ask = replace(ask, simulation=replace(ask.simulation, **scripted.settings))
        if scripted is not None and scripted.status:
            exchange.refuse(scripted.status, scripted.message, retry_after=scripted.retry_after)
        elif ask.simulation.fails(exchange.record.request):
            exchange.refuse(ask.simulation.error_status, "simulated failure")
        elif self._slots.is_full:
            exchange.refuse(429, f"the queue is full: queue_limit={self._simulation.queue_limit}")
        elif isinstance(ask, Ask):
            await self._generate(ask, scripted, exchange)
        else:
            await self._pool(ask, exchange)

    def _find_scripted(self, ask: Ask | PoolingAsk, path: str) -> ScriptedAnswer | None:
        if ask.is_warmup:
            return None
        if isinstance(ask, Ask):
            return self._script.take(path, ask.wanted.role, ask.wanted.text)
        return self._script.take(path, "user", "\n".join(ask.texts))

    def _take_cold_start(self) -> float:
        """What the very first request takes beside the usual, in seconds."""
        extra, self._is_cold = self._simulation.first_request * self._is_cold, False
        return extra

    # --- text

    async def _generate(self, ask: Ask, scripted: ScriptedAnswer | None, exchange: _Exchange) -> None:
        try:
            content = compose(ask.wanted, ask.simulation, scripted)
        except SchemaError as error:
            exchange.refuse(400, str(error))
            return
        record, connection = exchange.record, exchange.connection
        cached = self._cache.take(ask.prompt) if self._simulation.prefix_cache else 0
        self._counts.prompt_tokens += ask.prompt_tokens
        self._counts.cached_tokens += cached
        ttft = find_ttft(ask.simulation, ask.prompt_tokens, cached) + self._take_cold_start()
        reply = Reply(ask, content, record.request, int(time.time()), cached)
        writer = GENERATION[record.path].make_writer(reply)
        if ask.stream and (beginning := writer.begin()):
            connection.write(connection.event(beginning))
        work = Work(record.request, record.path, ask.prompt_tokens)
        async with self._slots.take(work) as has_waited, hold(ask.simulation.memory_per_request):
            began_ns = time.monotonic_ns() if has_waited else record.arrived_ns
            with self._clock.run_from(began_ns / 1e9) as start:
                try:
                    if not await self._emit(reply, writer, exchange, work, (start, ttft)):
                        return
                except asyncio.CancelledError:
                    await asyncio.sleep(ask.simulation.notices_after)
                    raise
            self._finish(reply, writer, exchange)

    async def _emit(
        self, reply: Reply, writer: Writer, exchange: _Exchange, work: Work, timing: tuple[float, float]
    ) -> bool:
        """Writes the chunks in their time; False if the answer has been ended before its last."""
        (start, ttft), simulation = timing, reply.ask.simulation
        record, connection = exchange.record, exchange.connection
        for emission in schedule(simulation, record.request, reply.content.lengths, ttft):
            tokens = emission.last - emission.first
            # all is made ready before the wait, so that nothing but the write comes after the deadline
            frame = connection.event(writer.write(emission)) if reply.ask.stream else b""
            await self._clock.sleep_until(start + emission.offset_s)
            if reply.ask.stream:
                record.written_ns.append((time.monotonic_ns(), tokens))
                connection.write(frame)
            work.generated_tokens += tokens
            self._counts.generated_tokens += tokens
            self._emitted += 0 if reply.ask.is_warmup else tokens
            if 0 < self._simulation.crash_after <= self._emitted:
                self._crash(record)
            if 0 < simulation.cut_after <= work.generated_tokens:
                record.outcome = "cut"
                connection.close()
                return False
            if 0 < simulation.fail_after <= work.generated_tokens:
                self._fail(reply, writer, exchange)
                return False
        return True

    @staticmethod
    def _fail(reply: Reply, writer: Writer, exchange: _Exchange) -> None:
        message = "simulated failure"
        if not reply.ask.stream:
            exchange.refuse(500, message)
            return
        exchange.record.outcome = "failed"
        exchange.connection.write(exchange.connection.last_event(writer.fail(message)))

    @staticmethod
    def _finish(reply: Reply, writer: Writer, exchange: _Exchange) -> None:
        record, connection = exchange.record, exchange.connection
        if reply.ask.stream:
            last = connection.last_event(writer.end())
            record.ended_ns = time.monotonic_ns()
            connection.write(last)
        else:
            record.ended_ns = time.monotonic_ns()
            record.written_ns.append((record.ended_ns, reply.content.tokens))
            connection.respond(200, writer.make_whole())
        record.outcome = "answered"

    # --- embeddings and the like

    async def _pool(self, ask: PoolingAsk, exchange: _Exchange) -> None:
        record, simulation = exchange.record, ask.simulation
        self._counts.prompt_tokens += ask.tokens
        taken = simulation.embedding_time + simulation.prefill * ask.tokens + self._take_cold_start()
        work = Work(record.request, record.path, ask.tokens)
        async with self._slots.take(work) as has_waited, hold(simulation.memory_per_request):
            began_ns = time.monotonic_ns() if has_waited else record.arrived_ns
            with self._clock.run_from(began_ns / 1e9) as start:
                await self._clock.sleep_until(start + taken * simulation.draw_slowness(record.request))
            record.ended_ns = time.monotonic_ns()
            exchange.connection.respond(200, ask.payload)
            record.outcome = "answered"

    # --- ends

    def _crash(self, record: _Record) -> NoReturn:
        record.outcome = "crashed"
        self._write(record)
        print(f"simulated engine: crash_after: {self._emitted} tokens were sent", file=sys.stderr, flush=True)
        os._exit(CRASH_STATUS)

    def _write(self, record: _Record) -> None:
        self._counts.requests[record.outcome] += 1
        if self._log is not None:
            record.ended_ns = record.ended_ns or time.monotonic_ns()
            self._log.write(json.dumps(asdict(record)) + "\n")
            self._log.flush()
