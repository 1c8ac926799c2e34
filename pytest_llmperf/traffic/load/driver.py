"""Sends the scripts of a load: each when it is due or when a user is free, and its turns one after another."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.load.connections import Flight

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.system.timer import Timer
    from pytest_llmperf.traffic.answers.answer import Answer
    from pytest_llmperf.traffic.load.wire import Order, Plan

# A rate of failures needs some requests: a single failure at the start must not stop the load.
_FEWEST_ENDED = 20


class LoadDriver:
    """Sends the orders that :meth:`add` takes, until all are done, the duration is over, or too many have failed.

    ``send`` sends a flight; ``head`` returns the head of a request for the size of its body. ``read_answer`` reads an
    answer for the next turn of a chat; it may take milliseconds and runs in another thread.

    Attributes:
        sent, ended, failed: numbers of requests so far.
        begun_ns: start of the load; 0 before it.
        stopped: why the load was stopped early, or "".
        finished: done once no request is in flight and none will be sent.
    """

    def __init__(
        self,
        timer: Timer,
        plan: Plan,
        send: Callable[[Flight], None],
        head: Callable[[int], bytes],
        read_answer: Callable[[Flight], Answer],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer = timer
        self._send = send
        self._head = head
        self._read_answer = read_answer
        self._user_starts_ns = plan.user_starts_ns
        self._duration_ns = plan.duration_ns
        self._max_error_rate = plan.max_error_rate
        self._length = plan.length
        self._orders: deque[Order] = deque()
        self._complete = False
        self._over = False
        self._armed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._free = 0
        self._busy = 0
        self.sent = self.ended = self.failed = 0
        self.begun_ns = 0
        self.stopped = ""
        self.finished: asyncio.Future[None] = self._loop.create_future()

    def start(self, begun_ns: int) -> None:
        """Starts the load at a moment of ``time.monotonic_ns()``."""
        self.begun_ns = begun_ns
        if self._duration_ns is not None:
            self._timer.call_at(begun_ns + self._duration_ns, self._end_sending)
        for start_ns in self._user_starts_ns or ():
            self._timer.call_at(begun_ns + start_ns, self._add_user)
        self._go_on()

    def add(self, order: Order) -> None:
        """Takes an order, before or after the start."""
        if not self._over:
            self._orders.append(order)
        if self.begun_ns:
            self._go_on()

    def complete(self) -> None:
        """Marks the last order as added: the load ends with those it has."""
        self._complete = True
        if self.begun_ns:
            self._go_on()

    def stop(self, why: str) -> None:
        """Sends no further request and lets those in flight end. The first ``why`` is kept."""
        self.stopped = self.stopped or why
        self._end_sending()

    def finish(self) -> None:
        """Ends the load without waiting for requests in flight."""
        if not self.finished.done():
            self.finished.set_result(None)

    def end_flight(self, flight: Flight) -> None:
        """Counts a flight that has ended, and goes on with the next turn or script."""
        self.ended += 1
        if flight.fault or not 200 <= (flight.answer.status or 0) < 300:
            self.failed += 1
            self._check_failures()
        elif flight.order.further and not self._over:
            task = self._loop.create_task(self._send_next_turn(flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        flight.order.body = b""
        self._end_script()

    # ----------------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self._orders and self._free and self._user_starts_ns is not None:
            self._free -= 1
            self._begin(self._orders.popleft(), None)
        if self._user_starts_ns is None:
            self._begin_due_scripts()
        if self._complete and not self._orders and not self._busy and not self.finished.done():
            self.finished.set_result(None)

    def _begin_due_scripts(self) -> None:
        while self._orders:
            due_ns = self.begun_ns + (self._orders[0].due_ns or 0)
            if due_ns > time.monotonic_ns():
                if not self._armed:
                    self._armed = True
                    self._timer.call_at(due_ns, self._on_timer)
                return
            self._begin(self._orders.popleft(), due_ns)

    def _on_timer(self) -> None:
        self._armed = False
        self._go_on()

    def _add_user(self) -> None:
        self._free += 1
        self._go_on()

    def _begin(self, order: Order, due_ns: int | None) -> None:
        self._busy += 1
        self._send_flight(Flight(order.number, self._head(len(order.body)) + order.body, order, due_ns))

    def _send_flight(self, flight: Flight) -> None:
        self.sent += 1
        self._send(flight)

    def _end_script(self) -> None:
        self._busy -= 1
        self._free += 1
        self._go_on()

    def _end_sending(self) -> None:
        self._over = True
        self._orders.clear()
        self._complete = True
        self._go_on()

    def _check_failures(self) -> None:
        most = self._max_error_rate
        if most is not None and self.ended >= _FEWEST_ENDED and self.failed > most * self.ended:
            self.stop(f"{self.failed} of {self.ended} requests had failed, more than max_error_rate={most:.3g}")

    async def _send_next_turn(self, flight: Flight) -> None:
        think_ns = flight.order.further[0][2]
        due_ns = flight.end_ns + think_ns
        request = await self._loop.run_in_executor(None, self._build_next_turn, flight)
        if request is None:
            self.failed += 1
            self._check_failures()
            self._end_script()
            return
        follower = Flight(flight.number + 1, request, flight.order, due_ns if think_ns else None)
        self._timer.call_at(due_ns, lambda: self._end_script() if self._over else self._send_flight(follower))

    def _build_next_turn(self, flight: Flight) -> bytes | None:
        """Builds the request of the next turn: the chat so far, with the answer that the server gave.

        None if that is no answer: with it the chat ends.
        """
        order, answer = flight.order, self._read_answer(flight)
        if answer.timing.error is not None:
            return None
        content, max_tokens, _ = order.further.pop(0)
        body: dict[str, Any] = json.loads(order.body)
        said = [{"role": "assistant", "content": answer.text}, {"role": "user", "content": content}]
        body["messages"] += said
        *outer, name = self._length
        limits = body
        for field in outer:
            limits = limits[field]
        limits[name] = max_tokens
        order.body = json.dumps(body).encode()
        return self._head(len(order.body)) + order.body
