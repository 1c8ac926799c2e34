"""A driver that answers from a script, and the driver lane over it."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, ENERGY, POWER, TEMPERATURE, Ring, RingRecord
from pytest_llmperf.telemetry.records.source import DeviceFacts, SourceError, Why
from pytest_llmperf.telemetry.sampler.driver_lane import DriverLane
from pytest_llmperf.telemetry.sources.pid_namespaces import Matches
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pytest_llmperf.measurement.device_trace import DeviceProcess

    Answer = int | SourceError
    Make = Callable[..., "Lane"]

GIB = 2**30
L4 = DeviceFacts(2, "GPU-1", "NVIDIA L4", 0, "nvml", "cuda", total_bytes=24 * GIB, memory_api="NVML memory v2")
SECOND = replace(L4, slot=3, uuid="GPU-2")


class Scripted:
    """Answers one after the other, the last for ever; ``reads`` counts them."""

    def __init__(self, lane: int, slot: int, *answers: Answer) -> None:
        self.answers = list(answers)
        self.reads = self.driver_ns = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self.missing: dict[tuple[int, int], str] = {}
        self._lane, self._slot = lane, slot

    def read(self, t_ns: int) -> Sequence[RingRecord]:
        self.reads += 1
        self.meanwhile()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SourceError):
            raise answer
        return [RingRecord(t_ns, answer, self._slot, 0, self._lane)]

    def close(self) -> None:
        """Nothing is held open."""


@dataclass
class ScriptedDriver:
    """A driver of these devices. What it answers for each of them stands in ``level``, ``power``, … by slot."""

    facts: Sequence[DeviceFacts] = (L4,)
    lists: dict[int, Sequence[DeviceProcess] | SourceError] = field(default_factory=dict)
    level: dict[int, Scripted] = field(init=False)
    power: dict[int, Scripted] = field(init=False)
    temperature: dict[int, Scripted] = field(init=False)
    counter: dict[int, Scripted] = field(init=False)
    failure: SourceError | None = None
    listed: int = 0
    while_listing: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        def script(lane: int, value: int) -> dict[int, Scripted]:
            return {f.slot: Scripted(lane, f.slot, value) for f in self.facts}

        self.level, self.power = script(DEVICE_MEMORY, GIB), script(POWER, 70_000)
        self.temperature, self.counter = script(TEMPERATURE, 40), script(ENERGY, 5_000)

    def devices(self) -> Sequence[DeviceFacts]:
        if self.failure:
            raise self.failure
        return self.facts

    def memory(self, slot: int) -> Scripted:
        return self.level[slot]

    def sensors(self, slot: int) -> Scripted:
        return self.power[slot]

    def state(self, slot: int) -> Scripted:
        return self.temperature[slot]

    def energy(self, slot: int) -> Scripted:
        return self.counter[slot]

    def processes(self, slot: int) -> Sequence[DeviceProcess]:
        self.listed += 1
        self.while_listing()
        answer = self.lists.get(slot, ())
        if isinstance(answer, SourceError):
            raise answer
        return answer


ENGINE, OTHER_ENGINE = 100, 200


class Matcher:
    """Knows whose the pids are without a look at them."""

    def __init__(self, **known: object) -> None:
        self._known = known

    def match(self, pids: Sequence[int], roots: Iterable[int]) -> Matches:
        return Matches(tuple(roots), **self._known)  # type: ignore[arg-type]


class _Endable(DriverLane):
    def run(self) -> None:
        with contextlib.suppress(SystemExit):
            super().run()


class Lane:
    """A lane with the devices of a driver sampled; its thread does not run unless it is started."""

    def __init__(self, ring: Ring, driver: ScriptedDriver, matcher: Matcher) -> None:
        self.ring = ring
        self.told: list[tuple[int, int, str]] = []
        self.lane = _Endable(ring, self._fault, lambda: {ENGINE: (), OTHER_ENGINE: ()}, matcher)  # type: ignore[arg-type]
        for facts in self.lane.devices(lambda: driver):
            self.lane.sample(facts)

    def _fault(self, slot: int, lane: int, error: SourceError) -> int:
        self.told.append((slot, lane, str(error)))
        return len(self.told) - 1

    def edge(self, *, align: bool = False) -> list[RingRecord]:
        """What the lane reads at an edge."""
        before = self.ring.head
        self.lane.edge(align=align)
        return self.ring.slice(before, self.ring.head)

    def start(self) -> None:
        self.lane.start()

    def in_thread(self, what: Callable[[], None]) -> None:
        """Has the running lane do it, and waits."""
        done = threading.Event()
        self.lane.order(what)
        self.lane.order(done.set)
        until(done.is_set)


@pytest.fixture
def lane() -> Iterator[Make]:
    made = []
    with tempfile.TemporaryFile() as file:
        ring = Ring.create(file.fileno(), 2**14)

        def make(driver: ScriptedDriver | None = None, **matches: object) -> Lane:
            made.append(Lane(ring, driver or ScriptedDriver(), Matcher(**matches)))
            return made[-1]

        yield make
        for one in made:
            if one.lane.is_alive():
                one.lane.order(sys.exit)
                one.lane.join(PATIENCE_S)
        ring.close()


def kinds(records: Sequence[RingRecord]) -> list[int]:
    return [record.lane for record in records]


def failure(why: Why) -> SourceError:
    return SourceError(f"it is {why.value}", why)
