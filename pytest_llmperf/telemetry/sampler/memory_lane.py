"""The lane that reads memory at the full rate, and the pace at which the lanes read."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from pytest_llmperf.system.scheduling import ask_for_short_slices
from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, FAULT, GONE, Ring, RingRecord
from pytest_llmperf.telemetry.records.source import SourceError, Why

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.telemetry.records.source import LevelSource, Source

IDLE_PERIOD_NS = 50_000_000
# Slightly more often than asked: wake-ups are late by varying tens of µs, so that otherwise a spike that lasts exactly
# one period would sometimes be missed.
EAGERNESS = 1.02
# A tick is repeated after this many times the CPU time it took, and the time it spent in the driver, at the earliest:
# 3 % of a core, and 0.7 % of the time in calls that others may wait for; the driver lane takes the rest of 1 %.
CPU_COST_BOUND = 33
DRIVER_COST_BOUND = 143
SLOW_COST_BOUND = 1000
# Costs are taken once in so many ticks, as asking for them costs too, and the pace is set after so many of those.
COSTED_TICKS = 4
COSTS_PER_PACE = 16


class Pace:
    """The distance of ticks: as asked, or longer if ticks would take too much of the time.

    ``cost_ns`` is the CPU time of a tick and its wake-up, ``driver_ns`` its time in driver calls: means of the last few
    hundred ticks.
    """

    def __init__(self, asked_ns: int) -> None:
        self.period_ns = asked_ns
        self.cost_ns = 0
        self.driver_ns = 0
        self._asked_ns = asked_ns
        self._costs: list[int] = []
        self._driver: list[int] = []

    def note(self, cost_ns: int, driver_ns: int = 0) -> bool:
        """Adds the costs of one tick in ns; returns True if it set ``period_ns`` anew, as it does after every 16th."""
        self._costs.append(cost_ns)
        self._driver.append(driver_ns)
        if len(self._costs) < COSTS_PER_PACE:
            return False
        self.cost_ns += (_typical(self._costs) - self.cost_ns) // 4
        self.driver_ns += (_typical(self._driver) - self.driver_ns) // 4
        self.period_ns = max(self._asked_ns, CPU_COST_BOUND * self.cost_ns, DRIVER_COST_BOUND * self.driver_ns)
        self._costs, self._driver = [], []
        return True


class SlowPace:
    """When a slow reading is due again: after its period, or 1000 times its typical driver time if that is longer.

    There are three of these beside the memory lane, each with 0.1 % of the time.
    """

    def __init__(self, period_ns: int) -> None:
        self.due_ns = 0
        self._period_ns = period_ns
        self._costs: deque[int] = deque(maxlen=5)

    def note_end(self, begun_ns: int, ended_ns: int, driver_ns: int) -> None:
        """Notes a reading that has just ended and sets ``due_ns``. Its typical time is the median of the last five."""
        self._costs.append(driver_ns)
        typical = sorted(self._costs)[len(self._costs) // 2] if len(self._costs) > 2 else 0
        period = max(self._period_ns, SLOW_COST_BOUND * typical)
        self.due_ns = next_deadline(self.due_ns or begun_ns, period, ended_ns)


def _typical(costs: list[int]) -> int:
    """The mean without the highest eighth, which leaves out ticks that were interrupted."""
    kept = sorted(costs)[: len(costs) - len(costs) // 8]
    return sum(kept) // len(kept)


def next_deadline(last_ns: int, period_ns: int, now_ns: int) -> int:
    """One period after the last deadline; deadlines that have already passed are skipped. All in ns."""
    missed = max(0, (now_ns - last_ns) // period_ns)
    return last_ns + (missed + 1) * period_ns


class MemoryLane(threading.Thread):
    """The loop: wait for the next deadline, read all sources, publish.

    It reads process trees first and then devices, whose driver may hang: the ring then names the call. ``fault`` gives
    a failure its number.
    """

    def __init__(self, ring: Ring, pace: Pace, fault: Callable[[int, int, SourceError], int]) -> None:
        super().__init__(name="memory-lane", daemon=True)
        self._ring = ring
        self._pace = pace
        self._fault = fault
        self._branches: dict[int, Source] = {}
        self._devices: dict[int, LevelSource] = {}
        self._orders: deque[Callable[[], None]] = deque()
        self._extra: list[RingRecord] = []

    def watch(self, key: int, branch: Source | None) -> None:
        """Reads a branch from the next tick on; None stands for one whose root does not exist."""
        self._orders.append(lambda: self._watch(key, branch))

    def stop_watching(self, key: int) -> None:
        """Closes a branch at the next tick; does nothing if it is not watched."""
        self._orders.append(lambda: self._close(self._branches.pop(key, None)))

    def sample(self, slot: int, device: LevelSource) -> None:
        """Reads a device by this source from the next tick on, in place of an earlier one."""
        self._orders.append(lambda: self._sample(slot, device))

    def stop_sampling(self, slot: int) -> None:
        """Closes the source of a device at the next tick; does nothing if it is not sampled."""
        self._orders.append(lambda: self._close(self._devices.pop(slot, None)))

    def _watch(self, key: int, branch: Source | None) -> None:
        if branch is None:
            self._extra.append(RingRecord(time.monotonic_ns(), 0, key, flags=GONE))
        else:
            self._branches[key] = branch

    def _sample(self, slot: int, device: LevelSource) -> None:
        self._close(self._devices.get(slot))
        self._devices[slot] = device

    @staticmethod
    def _close(source: Source | None) -> None:
        if source is not None:
            source.close()

    def run(self) -> None:
        """Ticks until the process ends."""
        ask_for_short_slices()
        self._ring.set_pace(self._pace.period_ns, self._pace.cost_ns)
        deadline, number, used_ns = time.monotonic_ns(), 0, time.thread_time_ns()
        while True:
            driver_ns = self.tick(time.monotonic_ns())
            number += 1
            if number % COSTED_TICKS == 0:
                used_ns = self._note_costs(used_ns, driver_ns)
            now = time.monotonic_ns()
            deadline = next_deadline(deadline, self._period_ns(), now)
            time.sleep((deadline - now) / 1e9)

    def _period_ns(self) -> int:
        busy = self._branches or self._devices
        return self._pace.period_ns if busy else max(IDLE_PERIOD_NS, self._pace.period_ns)

    def _note_costs(self, before_ns: int, driver_ns: int) -> int:
        """Notes the cost of the last ticks since ``before_ns``; returns the CPU time used so far, in ns."""
        used_ns = time.thread_time_ns()
        if self._pace.note((used_ns - before_ns) // COSTED_TICKS, driver_ns):
            self._ring.set_pace(self._pace.period_ns, self._pace.cost_ns)
        return used_ns

    def tick(self, t_ns: int) -> int:
        """Carries out orders, reads everything once, publishes; returns the time spent in the driver, in ns."""
        while self._orders:
            self._orders.popleft()()
        records, self._extra = self._extra, []
        for key, branch in self._branches.items():
            found = branch.read(t_ns)
            records += found
            if found and found[0].flags & GONE:
                self.stop_watching(key)
        driver_ns = self._read_devices(t_ns, records) if self._devices else 0
        self._ring.publish(t_ns, records)
        return driver_ns

    def _read_devices(self, t_ns: int, records: list[RingRecord]) -> int:
        driver_ns = 0
        self._ring.enter("nvmlDeviceGetMemoryInfo", t_ns)
        for slot, device in self._devices.items():
            try:
                records += device.read(t_ns)
                driver_ns += device.driver_ns
            except SourceError as error:
                number = self._fault(slot, DEVICE_MEMORY, error)
                records.append(RingRecord(t_ns, number, slot, DEVICE_MEMORY, FAULT))
                if error.why is not Why.TRANSIENT:
                    self.stop_sampling(slot)
        self._ring.leave()
        return driver_ns
