"""The lane of a driver's slow readings: sensors, state and processes, and all of them at the edges of a test.

It is a thread of its own because listing a device's processes may take milliseconds, and a driver that hangs never
returns. Its records go into a ring of their own.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENERGY,
    ENGINE_SHARE,
    FAULT,
    KNOWN,
    LISTED,
    OURS,
    POWER,
    PROCESS,
    STEADY,
    TEMPERATURE,
    TICK,
    VISIBLE,
    Ring,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import DeviceFacts, Gauge, LevelSource, SourceError, Why
from pytest_llmperf.telemetry.sampler.memory_lane import SlowPace
from pytest_llmperf.telemetry.sources.host import HostMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from pytest_llmperf.measurement.device_trace import DeviceProcess
    from pytest_llmperf.telemetry.records.source import DeviceBackend
    from pytest_llmperf.telemetry.sources.pid_namespaces import ProcessMatcher

SENSORS_PERIOD_NS = 100_000_000
STATE_PERIOD_NS = 500_000_000
LIST_PERIOD_NS = 1_000_000_000
TICK_POLL_S = 0.0025
TICK_PATIENCE_S = 0.3
TICKS = 2
STEADY_TRIES = 3
STEADY_BYTES = 2 << 20


def make_memory_source(backend: DeviceBackend, facts: DeviceFacts) -> LevelSource | None:
    """Makes the source of a device's memory level; None if its memory cannot be read. Each thread needs its own."""
    if facts.unified:
        return HostMemory(facts.slot)
    return backend.memory(facts.slot) if facts.total_bytes is not None else None


class WatchedDevice:
    """A device that is sampled, with its sources; a source that fails for good becomes None."""

    def __init__(self, backend: DeviceBackend, facts: DeviceFacts) -> None:
        self.facts = facts
        self.slot = facts.slot
        self.memory = make_memory_source(backend, facts)
        self.sensors: Gauge | None = backend.sensors(facts.slot)
        self.state: Gauge | None = backend.state(facts.slot)
        self.energy: Gauge | None = backend.energy(facts.slot)
        self.lists = True
        self.told: set[tuple[int, int]] = set()


class DriverLane(threading.Thread):
    """Runs orders (functions) as they come, and between them what is due for each sampled device.

    The backend calls :meth:`begin_call` before each of its calls of the driver, and :meth:`end_call` after it.
    """

    def __init__(
        self,
        ring: Ring,
        fault: Callable[[int, int, SourceError], int],
        engines: Callable[[], Mapping[int, Collection[int]]],
        matcher: ProcessMatcher,
    ) -> None:
        super().__init__(name="driver-lane", daemon=True)
        self.names: dict[int, str] = {}
        self._ring = ring
        self._fault = fault
        self._engines = engines
        self._matcher = matcher
        self._backend: DeviceBackend | None = None
        self._devices: dict[int, WatchedDevice] = {}
        self._orders: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._sensors, self._state, self._lists = map(SlowPace, (SENSORS_PERIOD_NS, STATE_PERIOD_NS, LIST_PERIOD_NS))
        self._entered_ns = 0
        self._spent_ns = 0

    def order(self, what: Callable[[], None]) -> None:
        """Runs a function in this thread soon; it may block."""
        self._orders.put(what)

    def run(self) -> None:
        """Carries out orders and due readings until the process ends."""
        self._ring.set_pace(SENSORS_PERIOD_NS, 0)
        while True:
            # With nothing to sample it still publishes, so that readers see that it runs.
            due = min(r.due_ns for r in (self._sensors, self._state, self._lists)) if self._devices else 0
            wait_s = max(0.0, (due - time.monotonic_ns()) / 1e9) if self._devices else SENSORS_PERIOD_NS / 1e9
            try:
                self._orders.get(timeout=wait_s)()
                continue
            except queue.Empty:
                self._routine()

    def _routine(self) -> None:
        for rhythm, what in (
            (self._sensors, self._read_sensors),
            (self._state, self._read_state),
            (self._lists, self._read_lists),
        ):
            begun, spent = time.monotonic_ns(), self._spent_ns
            if self._devices and begun >= rhythm.due_ns:
                what()
                rhythm.note_end(begun, time.monotonic_ns(), self._spent_ns - spent)
        self._ring.publish(time.monotonic_ns(), ())

    def begin_call(self, call: str) -> None:
        """Notes that a call of the driver begins; does nothing in other threads, whose calls are not this lane's."""
        if threading.current_thread() is self:
            self._entered_ns = time.monotonic_ns()
            self._ring.enter(call, self._entered_ns)

    def end_call(self) -> None:
        """Notes that the call has returned; does nothing in other threads."""
        if threading.current_thread() is self:
            self._spent_ns += time.monotonic_ns() - self._entered_ns
            self._ring.leave()

    # ---------------------------------------------------------------------------------------------------- orders

    def devices(self, backend: Callable[[], DeviceBackend]) -> list[DeviceFacts]:
        """All devices of the host; the first call opens the driver with ``backend``.

        Raises:
            SourceError: there is no usable driver.
        """
        self._backend = self._backend or backend()
        return list(self._backend.devices())

    def sample(self, facts: DeviceFacts) -> LevelSource | None:
        """Samples a device from now on; returns the source of its level for the memory lane, None if it has none."""
        assert self._backend is not None
        self._devices.setdefault(facts.slot, WatchedDevice(self._backend, facts))
        return make_memory_source(self._backend, facts)

    def stop_sampling(self, slot: int) -> None:
        """Stops sampling a device; does nothing if it is not sampled."""
        self._devices.pop(slot, None)

    def edge(self, *, align: bool) -> None:
        """Reads everything now, at an edge of a test; with ``align`` it also waits for the energy counters to tick."""
        self._read_lists()
        self._read_state()
        self._read_sensors()
        if align:
            self._wait_for_ticks()

    # --------------------------------------------------------------------------------------------------- readings

    def _read_sensors(self) -> None:
        for device in self._devices.values():
            device.sensors = self._ask(device, device.sensors, POWER)

    def _read_state(self) -> None:
        for device in self._devices.values():
            device.state = self._ask(device, device.state, TEMPERATURE)

    def _ask(self, device: WatchedDevice, source: Gauge | None, lane: int) -> Gauge | None:
        """Publishes one reading; returns the source, or None if it failed for good."""
        if source is None:
            return None
        now = time.monotonic_ns()
        try:
            self._ring.publish(now, source.read(now))
        except SourceError as error:
            self._record_failure(device, lane, error)
            if error.why is not Why.TRANSIENT:
                return None
        for of in source.missing.keys() - device.told:
            device.told.add(of)
            self._record_failure(device, of[0], SourceError(source.missing[of], Why.ABSENT))
        return source

    def _record_failure(self, device: WatchedDevice, lane: int, error: SourceError) -> None:
        now = time.monotonic_ns()
        self._ring.publish(now, [RingRecord(now, self._fault(device.slot, lane, error), device.slot, lane, FAULT)])

    def _wait_for_ticks(self) -> None:
        """Waits until each energy counter has ticked twice, which shows the distance of its ticks; 0.3 s at most."""
        last: dict[int, int] = {}
        waiting = {d.slot: d for d in self._devices.values() if d.energy is not None}
        seen = dict.fromkeys(waiting, 0)
        deadline = time.monotonic() + TICK_PATIENCE_S
        while waiting and time.monotonic() < deadline:
            for slot, device in tuple(waiting.items()):
                now = time.monotonic_ns()
                value = self._counter(device, now)
                if value is not None and value != last.setdefault(slot, value):
                    last[slot] = value
                    seen[slot] += 1
                    self._ring.publish(now, [RingRecord(now, value, slot, 0, ENERGY, TICK)])
                if value is None or seen[slot] == TICKS:
                    del waiting[slot]
            time.sleep(TICK_POLL_S)

    def _counter(self, device: WatchedDevice, now: int) -> int | None:
        assert device.energy is not None
        try:
            return device.energy.read(now)[0].value
        except SourceError as error:
            self._record_failure(device, ENERGY, error)
            if error.why is not Why.TRANSIENT:
                device.energy = None
            return None

    # -------------------------------------------------------------------------------------------------- processes

    def _read_lists(self) -> None:
        for device in self._devices.values():
            if device.lists:
                self._list(device)

    def _list(self, device: WatchedDevice) -> None:
        assert self._backend is not None
        try:
            level, steady, processes = self._level_and_processes(self._backend, device)
        except SourceError as error:
            device.lists = error.why is Why.TRANSIENT
            self._record_failure(device, PROCESS, error)
            return
        self._ring.publish(t := time.monotonic_ns(), self._listing(t, device.slot, level, steady, processes))

    def _level_and_processes(
        self, backend: DeviceBackend, device: WatchedDevice
    ) -> tuple[int, bool, Sequence[DeviceProcess]]:
        """The level, whether it was steady meanwhile, and the processes; tries again while the level changes."""
        before = self._level(device)
        for _ in range(STEADY_TRIES):
            processes = backend.processes(device.slot)
            after = self._level(device)
            if abs(after - before) < STEADY_BYTES:
                return after, True, processes
            before = after
        return before, False, processes

    def _level(self, device: WatchedDevice) -> int:
        if device.memory is None:
            return 0
        # These sources are read at the full rate elsewhere, so they do not note their calls themselves.
        self.begin_call("nvmlDeviceGetMemoryInfo")
        try:
            return next(r.value for r in device.memory.read(0) if r.lane == DEVICE_MEMORY)
        finally:
            self.end_call()

    def _listing(
        self, t_ns: int, slot: int, level: int, steady: bool, processes: Sequence[DeviceProcess]
    ) -> list[RingRecord]:
        found = self._matcher.match([p.pid for p in processes], self._engines())
        records, shares = [], dict.fromkeys(found.keys, (0, KNOWN))
        for process in processes:
            if process.name:
                self.names[process.pid] = process.name
            key, how = found.owners.get(process.pid, (None, 0))
            flags = how | (VISIBLE if process.pid in found.visible else 0) | (OURS if process.pid in found.ours else 0)
            flags |= 0 if process.used_bytes is None else KNOWN
            records.append(RingRecord(t_ns, process.used_bytes or 0, slot, process.pid, PROCESS, flags))
            if key is not None:
                held, known = shares[key]
                stated = known | how if flags & KNOWN else (known | how) & ~KNOWN
                shares[key] = (held + (process.used_bytes or 0), stated)
        records += [RingRecord(t_ns, held, slot, key, ENGINE_SHARE, flags) for key, (held, flags) in shares.items()]
        records.append(RingRecord(t_ns, level, slot, len(processes), LISTED, STEADY if steady else 0))
        return records
