"""The load client: ``python -m pytest_llmperf.traffic.load.main ORDERS_FD RESULTS_FD LOOP``.

It reads a plan and requests from one pipe, sends them when they are due, keeps what arrives as it is, parses it
afterwards, and writes timings to the other pipe. SIGINT ends the load; what has come is kept. When the pipe of orders
ends, the process that started this one has ended, and this one ends too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.system.child_process import end_with_parent, is_orphan
from pytest_llmperf.system.http.heads import write_head
from pytest_llmperf.system.known_keys import note_key
from pytest_llmperf.system.scheduling import ask_for_short_slices
from pytest_llmperf.system.timer import Timer
from pytest_llmperf.traffic.client.exchange import Target, add_headers, header_lines
from pytest_llmperf.traffic.load.connections import Flight, LoadPool
from pytest_llmperf.traffic.load.driver import LoadDriver
from pytest_llmperf.traffic.load.finished_requests import FinishedRequests
from pytest_llmperf.traffic.load.loop_lag import LoopLag
from pytest_llmperf.traffic.load.wire import END, PLAN, PROGRESS, SUMMARY, TIMINGS, Frames, Order, Plan, frame

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Orders that may wait to be sent; while there are more, no further ones are read.
_AHEAD_BYTES = 64 * 2**20
_LEAD_NS = 20_000_000
_PROGRESS_S = 0.25
_GRACE_S = 0.05
# A thread that parses answers must not keep the one that stamps from running.
_SWITCH_INTERVAL_S = 0.0002
_FAILED = 70


class Orders(asyncio.Protocol):
    """Reads the pipe of orders, and pauses while enough of them wait. ``take`` is called with each frame."""

    def __init__(self, take: Callable[[bytes, bytes], None]) -> None:
        self._frames = Frames()
        self._take = take
        self._waiting = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport, whose reading is paused and resumed."""
        self._transport = cast("asyncio.ReadTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Passes the frames on that are complete, and pauses reading if too many bytes wait."""
        for kind, payload in self._frames.take(data):
            self._waiting += len(payload)
            self._take(kind, payload)
        if self._waiting > _AHEAD_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    @property
    def full(self) -> bool:
        """Whether reading is paused."""
        return self._paused

    def release(self, size: int) -> None:
        """Subtracts ``size`` bytes of orders that have been sent."""
        self._waiting -= size
        if self._paused and self._waiting < _AHEAD_BYTES // 2:
            self._paused = False
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """Ends this process."""
        os._exit(1)  # the parent has ended


class LoadClient:
    """Runs one load, from the plan to the summary. ``results`` is the file descriptor that timings are written to."""

    def __init__(self, results: int, event_loop: str) -> None:
        self._results = results
        self._event_loop = event_loop
        self._loop = asyncio.get_running_loop()
        self._plan: asyncio.Future[Plan] = self._loop.create_future()
        self._ready = asyncio.Event()
        self._early: list[Order] = []
        self._complete = False
        self._driver: LoadDriver | None = None

    async def run(self, orders_fd: int) -> None:
        """Reads the plan and the orders, sends the load, and writes its timings."""
        self._orders = Orders(self._take_frame)
        await self._loop.connect_read_pipe(lambda: self._orders, os.fdopen(orders_fd, "rb"))
        plan = await self._plan
        note_key(plan.api_key)
        timer, target = Timer(self._loop), Target.parse(plan.url)
        self._finished = FinishedRequests(plan.reader.find(), streamed=plan.streamed, most_bytes=plan.kept_bytes)
        driver = LoadDriver(timer, plan, self._send, _head(target, plan), self._finished.read_answer)
        give_up = partial(self._give_up, driver)
        self._pool = LoadPool(target, plan.timeout, plan.reserve, self._end_flight, give_up, keep=plan.keep)
        self._loop.add_signal_handler(signal.SIGINT, self._interrupt, driver)
        await self._ready.wait()
        await self._pool.prepare(plan.connections)
        await self._drive(driver, timer)

    async def _drive(self, driver: LoadDriver, timer: Timer) -> None:
        lag = LoopLag(timer)
        gc.collect()
        gc.freeze()
        gc.disable()
        self._driver = driver
        for order in self._early:
            driver.add(order)
        self._early.clear()
        if self._complete:
            driver.complete()
        lag.start()
        driver.start(time.monotonic_ns() + _LEAD_NS)
        self._report_progress(driver)
        await driver.finished
        health = {**lag.read(), "event_loop": self._event_loop, "connections": self._pool.opened}
        await self._pool.close()
        timer.close()
        await self._loop.shutdown_default_executor()
        self._deliver({"begun_ns": driver.begun_ns, "stopped": driver.stopped, "health": health})

    # ----------------------------------------------------------------------------------------------------- orders

    def _take_frame(self, kind: bytes, payload: bytes) -> None:
        if kind == PLAN:
            self._plan.set_result(Plan.unpack(payload))
        elif kind == END:
            self._complete = True
            if self._driver is not None:
                self._driver.complete()
        elif self._driver is not None:
            self._driver.add(Order.unpack(payload))
        else:
            self._early.append(Order.unpack(payload))
        if self._complete or self._orders.full:
            self._ready.set()

    def _give_up(self, driver: LoadDriver, why: str) -> None:
        """Ends the load with what has come: the requests in flight fail, and no further one is sent."""
        driver.stop(why)
        self._pool.cancel(why)

    def _interrupt(self, driver: LoadDriver) -> None:
        driver.stop("it was interrupted")
        self._pool.cancel()
        self._ready.set()
        self._loop.call_later(_GRACE_S, driver.finish)

    # --------------------------------------------------------------------------------------------------- requests

    def _send(self, flight: Flight) -> None:
        if flight.number == flight.order.number:
            self._orders.release(len(flight.order.body))
        self._pool.send(flight)

    def _end_flight(self, flight: Flight) -> None:
        if self._driver is not None:
            self._driver.end_flight(flight)
        self._finished.add(flight, self._loop)

    # ---------------------------------------------------------------------------------------------------- results

    def _report_progress(self, driver: LoadDriver) -> None:
        if not driver.finished.done():
            waits = driver.sent > driver.ended
            silent_s = (time.monotonic_ns() - max(self._pool.heard_ns, driver.begun_ns)) / 1e9 if waits else 0.0
            counts = {"sent": driver.sent, "ended": driver.ended, "failed": driver.failed}
            self._write(PROGRESS, {**counts, "silent_s": max(0.0, silent_s)})
            self._loop.call_later(_PROGRESS_S, self._report_progress, driver)

    def _deliver(self, summary: Mapping[str, Any]) -> None:
        for block in self._finished.pack_timings():
            if is_orphan():
                os._exit(1)
            _write_all(self._results, frame(TIMINGS, block))
        self._write(SUMMARY, {**summary, "strings": self._finished.strings.known})

    def _write(self, kind: bytes, content: Mapping[str, Any]) -> None:
        _write_all(self._results, frame(kind, json.dumps(content).encode()))


def _head(target: Target, plan: Plan) -> Callable[[int], bytes]:
    accept = "text/event-stream" if plan.streamed else "application/json"
    headers = add_headers(header_lines(target, plan.api_key, accept, keep=plan.keep), plan.headers)
    head = write_head(f"POST {target.locate(plan.path)} HTTP/1.1", headers).removesuffix(b"\r\n")
    return lambda size: b"%sContent-Length: %d\r\n\r\n" % (head, size)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _die(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ends the process: a client that went on after an error of its own would time wrongly, unnoticed."""
    loop.default_exception_handler(context)
    error = context.get("exception")
    print(f"{type(error).__name__}: {error}" if error else context["message"], file=sys.stderr, flush=True)
    os._exit(_FAILED)


async def _main(orders: int, results: int, event_loop: str) -> None:
    asyncio.get_running_loop().set_exception_handler(_die)
    await LoadClient(results, event_loop).run(orders)


def main(arguments: list[str]) -> None:
    """Runs the process with the arguments of its command line, and ends it."""
    orders, results, wanted = int(arguments[0]), int(arguments[1]), arguments[2]
    end_with_parent()
    ask_for_short_slices()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    factory, name = None, "asyncio"
    if wanted != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass  # uvloop is an optional extra; the report says which loop ran
        else:
            from importlib import metadata

            factory, name = uvloop.new_event_loop, f"uvloop {metadata.version('uvloop')}"
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_main(orders, results, name))
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
