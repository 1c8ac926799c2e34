"""A sampler without a process: real rings, filled by the test, and orders answered from a script."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry import devices as devices_module
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, FAULT, POWER, Ring, RingRecord
from pytest_llmperf.telemetry.sampler.client import SamplerError
from tests.helpers.process_lists import GIB, L4, MS, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.telemetry.records.source import DeviceFacts, Why

SECOND = 10**9


class SamplerDouble:
    """What :class:`Devices` asks of a sampler. ``at_edge`` is called when everything is to be read."""

    def __init__(self, rings: list[Ring]) -> None:
        self.memory, self.driver, self.exporters = rings
        self.memory.set_pace(5 * MS, 0)
        self.started_ns = 1
        self.facts: list[DeviceFacts] = [L4]
        self.names: dict[int, str] = {}
        self.faults: list[dict[str, Any]] = []
        self.failures: dict[str, str] = {}
        self.hung = self.died = ""
        self.alive = True
        self.at_edge: Callable[[], object] = lambda: None
        self.orders: list[tuple[str, dict[str, Any]]] = []

    # ------------------------------------------------------------------------------------------ what is asked of it

    def ask(self, what: str, timeout_s: float = 5.0, **details: Any) -> dict[str, Any]:
        self.orders.append((what, details))
        if what in self.failures:
            raise SamplerError(self.failures[what])
        if what == "edge":
            self.at_edge()
        return {
            "devices": [asdict(facts) for facts in self.facts],
            "names": {str(pid): name for pid, name in self.names.items()},
            "faults": list(self.faults),
            "exporters": 1,
        }

    def why_hanging(self) -> str:
        return self.hung

    def why_ended(self) -> str:
        return self.died

    # ------------------------------------------------------------------------------------------ what happened there

    def processes(self, level: float, *processes: Any, shares: Any = (), at_ns: int = 0, slot: int = L4.slot) -> None:
        """A list of processes, of now where no time is given."""
        now = at_ns or time.monotonic_ns()
        records = listed(0, level, *processes, shares=shares, slot=slot)
        self.driver.publish(now, [record._replace(t_ns=now) for record in records])

    def levels(
        self, start_ns: int, end_ns: int, level: Callable[[int], float] = lambda _: 5.0, slot: int = L4.slot
    ) -> None:
        """Levels in GiB every 5 ms, by the time in ns."""
        times = range(start_ns, end_ns, 5 * MS)
        self.memory.publish(end_ns, [RingRecord(t, round(level(t) * GIB), slot, 0, DEVICE_MEMORY) for t in times])

    def level(self, level: float) -> None:
        """The level of now."""
        now = time.monotonic_ns()
        self.levels(now, now + 1, lambda _: level)

    def power(self, watts: float) -> None:
        now = time.monotonic_ns()
        self.driver.publish(now, [RingRecord(now, round(watts * 1000), L4.slot, 0, POWER)])

    def fail(self, ring: Ring, at_ns: int, lane: int, text: str, why: Why, slot: int = L4.slot) -> None:
        """A reading failed: told of in the ring and among the faults."""
        number = len(self.faults)
        self.faults.append({"slot": slot, "lane": lane, "why": str(why.value), "text": text})
        ring.publish(at_ns, [RingRecord(at_ns, number, slot, lane, FAULT)])


@pytest.fixture
def sampler() -> Iterator[SamplerDouble]:
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        rings = [Ring.create(file.fileno(), 2**14) for file in files]
        yield SamplerDouble(rings)
        for ring in rings:
            ring.close()


@pytest.fixture
def devices(sampler: SamplerDouble, monkeypatch: pytest.MonkeyPatch) -> Devices:
    """Opened, and without the second of patience before it looks whether a device is quiet."""
    monkeypatch.setattr(devices_module, "CALM_S", 0.0)
    found = Devices(sampler)  # type: ignore[arg-type]
    found.open()
    return found


@pytest.fixture
def window() -> Window:
    """Ten seconds ago, for two seconds."""
    now = time.monotonic_ns()
    return Window(now - 10 * SECOND, now - 8 * SECOND)
