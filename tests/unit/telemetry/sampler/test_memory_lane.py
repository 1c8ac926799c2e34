from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, FAULT, GONE, HOST, Ring, RingRecord
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sampler.memory_lane import MemoryLane, Pace, SlowPace, next_deadline

if TYPE_CHECKING:
    from collections.abc import Iterator

MS = 1_000_000


def test_the_next_deadline_is_one_period_after_the_last() -> None:
    assert next_deadline(100, 10, 103) == 110


@pytest.mark.parametrize(("now", "expected"), [(110, 120), (139, 140), (140, 150)])
def test_deadlines_that_passed_are_skipped(now: int, expected: int) -> None:
    assert next_deadline(100, 10, now) == expected


def test_ticks_that_cost_little_come_as_asked() -> None:
    pace = Pace(5 * MS)
    for _ in range(1000):
        pace.note(MS // 20, MS // 100)
    assert pace.period_ns == 5 * MS


def test_ticks_that_cost_more_than_three_percent_of_the_time_come_less_often() -> None:
    pace = Pace(5 * MS)
    changes = [pace.note(MS) for _ in range(16 * 40)]
    assert changes.count(True) == 40
    assert pace.period_ns == pytest.approx(33 * MS, rel=0.01)
    for _ in range(16 * 40):
        pace.note(MS // 20)
    assert pace.period_ns == 5 * MS


def test_one_expensive_tick_does_not_change_the_pace() -> None:
    pace = Pace(5 * MS)
    for number in range(640):
        pace.note(2 * MS if number == 100 else MS // 20)
    assert pace.period_ns == 5 * MS


def test_calls_that_hold_the_driver_for_more_than_a_hundredth_of_the_time_come_less_often() -> None:
    pace = Pace(5 * MS)
    for _ in range(16 * 40):
        pace.note(MS // 20, MS // 5)
    assert pace.period_ns == pytest.approx(143 * MS // 5, rel=0.02)


def due_after(*costs: int) -> int:
    """When something with a period of 100 ms is due again first done at 1 s, with these costs in the driver."""
    rhythm = SlowPace(100 * MS)
    now = 1000 * MS
    for cost in costs:
        now = max(now, rhythm.due_ns)
        rhythm.note_end(now, now + cost, cost)
    return rhythm.due_ns // MS


def test_what_costs_little_is_due_after_its_period() -> None:
    assert due_after(MS // 20) == 1100
    assert due_after(MS // 20, MS // 20, MS // 20) == 1300


def test_what_was_late_is_due_at_the_next_beat() -> None:
    rhythm = SlowPace(100 * MS)
    rhythm.note_end(1000 * MS, 1001 * MS, MS // 20)
    rhythm.note_end(1270 * MS, 1271 * MS, MS // 20)
    assert rhythm.due_ns == 1300 * MS


def test_what_holds_the_driver_for_long_is_due_after_a_thousand_times_as_long() -> None:
    assert due_after(*[5 * MS] * 6) - due_after(*[5 * MS] * 5) == 5000


def test_one_call_that_took_long_does_not_stop_the_readings() -> None:
    assert due_after(50 * MS) == 1100
    assert due_after(MS // 20, MS // 20, MS // 20, 50 * MS, MS // 20) == 1500


class Device:
    """A device that answers with what stands in its script, the last for ever."""

    def __init__(self, *script: int | SourceError) -> None:
        self._script = list(script)
        self.closed = False
        self.driver_ns = 40

    def read(self, t_ns: int) -> list[RingRecord]:
        value = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(value, SourceError):
            raise value
        return [RingRecord(t_ns, value, 3, 0, DEVICE_MEMORY)]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def ring() -> Iterator[Ring]:
    with tempfile.TemporaryFile() as file:
        ring = Ring.create(file.fileno(), 64)
        yield ring
        ring.close()


@pytest.fixture
def lane(ring: Ring) -> MemoryLane:
    """It is not started: its ticks are called."""
    return MemoryLane(ring, Pace(2 * MS), lambda slot, kind, error: 7)


def test_a_device_is_read_at_every_tick_and_one_reading_that_failed_is_passed_over(
    lane: MemoryLane, ring: Ring
) -> None:
    lane.sample(3, Device(10, SourceError("not now", Why.TRANSIENT), 30))
    for t_ns in (100, 200, 300):
        lane.tick(t_ns)
    assert ring.read(0, 1000) == [
        RingRecord(100, 10, 3, 0, DEVICE_MEMORY),
        RingRecord(200, 7, 3, DEVICE_MEMORY, FAULT),
        RingRecord(300, 30, 3, 0, DEVICE_MEMORY),
    ]


def test_a_tick_tells_how_long_the_driver_took_for_all_devices(lane: MemoryLane) -> None:
    assert lane.tick(100) == 0
    lane.sample(3, Device(10))
    lane.sample(4, Device(SourceError("not now", Why.TRANSIENT), 10))
    assert [lane.tick(200), lane.tick(300)] == [40, 80]


def test_a_lost_device_is_told_of_once_and_left_alone(lane: MemoryLane, ring: Ring) -> None:
    device = Device(10, SourceError("it fell off the bus", Why.LOST))
    lane.sample(3, device)
    for t_ns in (100, 200, 300):
        lane.tick(t_ns)
    assert [record.lane for record in ring.read(0, 1000)] == [DEVICE_MEMORY, FAULT]
    assert device.closed


def test_a_tree_whose_root_has_ended_is_left_alone(lane: MemoryLane, ring: Ring) -> None:
    class Ended(Device):
        def read(self, t_ns: int) -> list[RingRecord]:
            return [RingRecord(t_ns, 0, 5, 0, HOST, GONE)]

    tree = Ended(0)
    lane.watch(5, tree)
    lane.tick(100)
    lane.tick(200)
    assert ring.read(0, 1000) == [RingRecord(100, 0, 5, 0, HOST, GONE)]
    assert tree.closed


def test_a_call_that_does_not_return_can_be_named_from_outside(ring: Ring) -> None:
    ring.enter("nvmlDeviceGetMemoryInfo", 123)
    assert ring.call == ("nvmlDeviceGetMemoryInfo", 123)
    ring.leave()
    assert ring.call == ("", 0)
    ring.enter("nvmlInit", 200)
    assert ring.call == ("nvmlInit", 200)
