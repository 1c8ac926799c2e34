"""The load client: ``python -m pytest_llmperf.traffic.load.main ORDERS_FD RESULTS_FD LOOP``.

It reads a plan and requests from one pipe, sends them when they are due, keeps what arrives as it is, takes it apart
afterwards, and writes timings to the other pipe. SIGINT ends the load and keeps what has come. The end of the pipe of
orders is the end of whoever started it, and its own.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.system.child_process import is_orphan
from pytest_llmperf.system.scheduling import ask_for_short_slices
from pytest_llmperf.system.timer import Alarm
from pytest_llmperf.traffic.client.exchange import Target, header_lines
from pytest_llmperf.traffic.load.connections import Flight, LoadPool
from pytest_llmperf.traffic.load.driver import Driver
from pytest_llmperf.traffic.load.finished_requests import Keeper
from pytest_llmperf.traffic.load.loop_lag import Heartbeat
from pytest_llmperf.traffic.load.wire import END, PLAN, PROGRESS, SUMMARY, TIMINGS, Frames, Order, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Of requests that wait to be sent; beyond it no more are read.
_AHEAD_BYTES = 64 * 2**20
_LEAD_NS = 20_000_000
_PROGRESS_S = 0.25
_GRACE_S = 0.05
# A thread that takes answers apart must not keep the one that stamps.
_SWITCH_INTERVAL_S = 0.0002
_FAILED = 70


class Orders(asyncio.Protocol):
    """The pipe of orders, of which no more is read while enough of them wait."""

    def __init__(self, take: Callable[[bytes, bytes], None]) -> None:
        self._frames = Frames()
        self._take = take
        self._waiting = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        for kind, payload in self._frames.take(data):
            self._waiting += len(payload)
            self._take(kind, payload)
        if self._waiting > _AHEAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    @property
    def full(self) -> bool:
        return self._paused

    def used(self, size: int) -> None:
        """So many bytes of orders wait no longer."""
        self._waiting -= size
        if self._paused and self._waiting < _AHEAD_BYTES // 2:
            self._paused = False
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        os._exit(1)  # nobody is left to whom anything could be told


class LoadClient:
    """One load, from the plan to the summary."""

    def __init__(self, results: int, event_loop: str) -> None:
        self._results = results
        self._event_loop = event_loop
        self._loop = asyncio.get_running_loop()
        self._plan: asyncio.Future[Mapping[str, Any]] = self._loop.create_future()
        self._ready = asyncio.Event()
        self._early: list[Order] = []
        self._complete = False
        self._driver: Driver | None = None

    async def run(self, orders_fd: int) -> None:
        self._orders = Orders(self._obey)
        await self._loop.connect_read_pipe(lambda: self._orders, os.fdopen(orders_fd, "rb"))
        plan = await self._plan
        alarm, target = Alarm(self._loop), Target.parse(plan["url"])
        self._keeper = Keeper(streamed=plan["streamed"], most_bytes=plan["kept_bytes"])
        self._pool = LoadPool(target, plan["timeout"], plan["reserve"], self._ended, keep=plan["keep"])
        driver = Driver(
            alarm,
            self._send,
            _head(target, plan),
            lambda flight: self._keeper.answer(flight).text,
            begins=plan["begins"],
            duration_ns=plan["duration_ns"],
            max_error_rate=plan["max_error_rate"],
        )
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt, driver)
        await self._ready.wait()
        await self._pool.prepare(plan["connections"])
        await self._drive(driver, alarm)

    async def _drive(self, driver: Driver, alarm: Alarm) -> None:
        heartbeat = Heartbeat(alarm)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._driver = driver
        for order in self._early:
            driver.add(order)
        self._early.clear()
        if self._complete:
            driver.no_more()
        heartbeat.start()
        driver.start(time.monotonic_ns() + _LEAD_NS)
        self._report_progress(driver)
        await driver.finished
        health = {**heartbeat.read(), "event_loop": self._event_loop, "connections": self._pool.opened}
        await self._pool.close()
        alarm.close()
        await self._loop.shutdown_default_executor()
        self._deliver({"begun_ns": driver.begun_ns, "stopped": driver.stopped, "health": health})

    # ----------------------------------------------------------------------------------------------------- orders

    def _obey(self, kind: bytes, payload: bytes) -> None:
        if kind == PLAN:
            self._plan.set_result(json.loads(payload))
        elif kind == END:
            self._complete = True
            if self._driver is not None:
                self._driver.no_more()
        elif self._driver is not None:
            self._driver.add(Order.unpack(payload))
        else:
            self._early.append(Order.unpack(payload))
        if self._complete or self._orders.full:
            self._ready.set()

    def _interrupt(self, driver: Driver) -> None:
        driver.stop("it was interrupted")
        self._pool.cancel()
        self._ready.set()
        self._loop.call_later(_GRACE_S, driver.give_up)

    # --------------------------------------------------------------------------------------------------- requests

    def _send(self, flight: Flight) -> None:
        if flight.number == flight.order.number:
            self._orders.used(len(flight.order.body))
        self._pool.send(flight)

    def _ended(self, flight: Flight) -> None:
        if self._driver is not None:
            self._driver.took(flight)
        self._keeper.take(flight, self._loop)

    # ---------------------------------------------------------------------------------------------------- results

    def _report_progress(self, driver: Driver) -> None:
        if not driver.finished.done():
            self._write(PROGRESS, {"sent": driver.sent, "ended": driver.ended, "failed": driver.failed})
            self._loop.call_later(_PROGRESS_S, self._report_progress, driver)

    def _deliver(self, summary: Mapping[str, Any]) -> None:
        for block in self._keeper.blocks():
            if is_orphan():
                os._exit(1)
            _write_all(self._results, frame(TIMINGS, block))
        self._write(SUMMARY, {**summary, "strings": self._keeper.strings.known})

    def _write(self, kind: bytes, content: Mapping[str, Any]) -> None:
        _write_all(self._results, frame(kind, json.dumps(content).encode()))


def _head(target: Target, plan: Mapping[str, Any]) -> Callable[[int], bytes]:
    accept = "text/event-stream" if plan["streamed"] else "application/json"
    lines = [f"{name}: {value}\r\n" for name, value in header_lines(target, plan["api_key"], accept, keep=plan["keep"])]
    head = f"POST {target.path}{plan['path']} HTTP/1.1\r\n{''.join(lines)}Content-Length: "
    return lambda size: f"{head}{size}\r\n\r\n".encode("ascii")


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _die(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A client that goes on after a failure would only look alive."""
    loop.default_exception_handler(context)
    error = context.get("exception")
    print(f"{type(error).__name__}: {error}" if error else context["message"], file=sys.stderr, flush=True)
    os._exit(_FAILED)


async def _main(orders: int, results: int, event_loop: str) -> None:
    asyncio.get_running_loop().set_exception_handler(_die)
    await LoadClient(results, event_loop).run(orders)


def main(arguments: list[str]) -> None:
    orders, results, wanted = int(arguments[0]), int(arguments[1]), arguments[2]
    ask_for_short_slices()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    factory, name = None, "asyncio"
    if wanted != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass  # an optional extra; the report says which loop it was
        else:
            factory, name = uvloop.new_event_loop, f"uvloop {metadata.version('uvloop')}"
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_main(orders, results, name))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
