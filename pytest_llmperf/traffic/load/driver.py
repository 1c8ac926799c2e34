"""Drives a load: begins each script when it is due or when a user is free, and follows its turns to the end."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.load.connections import Flight

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.system.timer import Alarm
    from pytest_llmperf.traffic.load.wire import Order

# A single failure at the start is no rate of failures.
_FEWEST_ENDED = 20


class Driver:
    """Sends what comes in by :meth:`add` until there is no more, the time is over, or too much has failed.

    ``begins`` is when each user of a closed loop comes, None in an open one; all times in ns. ``answer_text`` gives
    what a flight has answered, for the next turn of a chat; it may take milliseconds and is run aside.
    """

    def __init__(
        self,
        alarm: Alarm,
        send: Callable[[Flight], None],
        head: Callable[[int], bytes],
        answer_text: Callable[[Flight], str],
        *,
        begins: Sequence[int] | None,
        duration_ns: int | None,
        max_error_rate: float | None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarm = alarm
        self._send = send
        self._head = head
        self._answer_text = answer_text
        self._begins = begins
        self._duration_ns = duration_ns
        self._max_error_rate = max_error_rate
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
        self.begun_ns = begun_ns
        if self._duration_ns is not None:
            self._alarm.at(begun_ns + self._duration_ns, self._send_no_more)
        for begin_ns in self._begins or ():
            self._alarm.at(begun_ns + begin_ns, self._user_comes)
        self._go_on()

    def add(self, order: Order) -> None:
        if not self._over:
            self._orders.append(order)
        if self.begun_ns:
            self._go_on()

    def no_more(self) -> None:
        """All has been added."""
        self._complete = True
        if self.begun_ns:
            self._go_on()

    def stop(self, why: str) -> None:
        """Sends nothing any more; what is on its way may end. The first reason counts."""
        self.stopped = self.stopped or why
        self._send_no_more()

    def give_up(self) -> None:
        """Waits for nothing any more."""
        if not self.finished.done():
            self.finished.set_result(None)

    def took(self, flight: Flight) -> None:
        """A flight has ended."""
        self.ended += 1
        if flight.fault or not 200 <= (flight.answer.status or 0) < 300:
            self.failed += 1
            self._look_at_failures()
        elif flight.order.further and not self._over:
            task = self._loop.create_task(self._next_turn(flight))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        flight.order.body = b""
        self._script_ends()

    # ----------------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        while self._orders and self._free and self._begins is not None:
            self._free -= 1
            self._begin(self._orders.popleft(), None)
        if self._begins is None:
            self._begin_what_is_due()
        if self._complete and not self._orders and not self._busy and not self.finished.done():
            self.finished.set_result(None)

    def _begin_what_is_due(self) -> None:
        while self._orders:
            due_ns = self.begun_ns + (self._orders[0].due_ns or 0)
            if due_ns > time.monotonic_ns():
                if not self._armed:
                    self._armed = True
                    self._alarm.at(due_ns, self._rings)
                return
            self._begin(self._orders.popleft(), due_ns)

    def _rings(self) -> None:
        self._armed = False
        self._go_on()

    def _user_comes(self) -> None:
        self._free += 1
        self._go_on()

    def _begin(self, order: Order, due_ns: int | None) -> None:
        self._busy += 1
        self._fly(Flight(order.number, self._head(len(order.body)) + order.body, order, due_ns))

    def _fly(self, flight: Flight) -> None:
        self.sent += 1
        self._send(flight)

    def _script_ends(self) -> None:
        self._busy -= 1
        self._free += 1
        self._go_on()

    def _send_no_more(self) -> None:
        self._over = True
        self._orders.clear()
        self._complete = True
        self._go_on()

    def _look_at_failures(self) -> None:
        most = self._max_error_rate
        if most is not None and self.ended >= _FEWEST_ENDED and self.failed > most * self.ended:
            self.stop(f"{self.failed} of {self.ended} requests had failed, more than max_error_rate={most:.3g}")

    async def _next_turn(self, flight: Flight) -> None:
        due_ns = flight.end_ns + flight.order.think_ns
        request = await self._loop.run_in_executor(None, self._turn_after, flight)
        follower = Flight(flight.number + 1, request, flight.order, due_ns if flight.order.think_ns else None)
        self._alarm.at(due_ns, lambda: self._script_ends() if self._over else self._fly(follower))

    def _turn_after(self, flight: Flight) -> bytes:
        """The request of the turn that follows: the chat so far, with the answer that was really given."""
        order = flight.order
        content, max_tokens = order.further.pop(0)
        body: dict[str, Any] = json.loads(order.body)
        said = [{"role": "assistant", "content": self._answer_text(flight)}, {"role": "user", "content": content}]
        body["messages"] += said
        body["max_tokens"] = max_tokens
        order.body = json.dumps(body).encode()
        return self._head(len(order.body)) + order.body
