"""The slow readings of a driver: telemetry/driver_lane.py, over a scripted driver."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.telemetry.records.ring import (
    ENERGY,
    ENGINE_SHARE,
    FAULT,
    LISTED,
    POWER,
    STEADY,
    TEMPERATURE,
    TICK,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sampler import driver_lane
from tests.helpers.driver_double import GIB, L4, SECOND, ScriptedDriver, failure, kinds, lane
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.helpers.driver_double import Make

__all__ = ["lane"]


# ------------------------------------------------------------------------------------------------------------ at edges


def test_everything_is_read_at_an_edge_of_every_sampled_device(lane: Make) -> None:
    records = lane(ScriptedDriver((L4, SECOND))).edge()
    assert sorted((r.lane, r.key, r.value) for r in records if r.lane != LISTED and r.lane != ENGINE_SHARE) == sorted(
        (kind, slot, value) for slot in (2, 3) for kind, value in ((POWER, 70_000), (TEMPERATURE, 40))
    )
    assert [(r.key, r.value, r.flags) for r in records if r.lane == LISTED] == [(2, GIB, STEADY), (3, GIB, STEADY)]


def test_a_device_that_was_left_is_not_read_any_more(lane: Make) -> None:
    both = lane(ScriptedDriver((L4, SECOND)))
    both.lane.stop_sampling(L4.slot)
    both.lane.stop_sampling(7)
    assert {record.key for record in both.edge()} == {SECOND.slot}


def test_a_driver_that_cannot_be_used_is_asked_again_the_next_time(lane: Make) -> None:
    driver = ScriptedDriver()
    one = lane(driver)
    driver.failure = failure(Why.UNAVAILABLE)
    with pytest.raises(SourceError, match="it is unavailable"):
        one.lane.devices(lambda: driver)
    driver.failure = None
    assert one.lane.devices(lambda: pytest.fail("the driver is opened once")) == [L4]


@pytest.mark.parametrize("why", [Why.ABSENT, Why.LOST, Why.UNAVAILABLE])
def test_what_a_device_does_not_have_is_told_of_once_and_the_rest_goes_on(why: Why, lane: Make) -> None:
    driver = ScriptedDriver()
    driver.power[2].answers = [failure(why)]
    one = lane(driver)
    first, second = one.edge(), one.edge()
    assert [r for r in first if r.lane == FAULT] == [RingRecord(first[-1].t_ns, 0, 2, POWER, FAULT)]
    assert kinds(second) == [ENGINE_SHARE, ENGINE_SHARE, LISTED, TEMPERATURE]
    assert (one.told, driver.power[2].reads) == ([(2, POWER, f"it is {why.value}")], 1)


def test_a_part_of_a_reading_that_a_device_does_not_have_is_told_of_once(lane: Make) -> None:
    driver = ScriptedDriver()
    driver.power[2].missing[ENERGY, 0] = "there is no counter"
    one = lane(driver)
    first, second = one.edge(), one.edge()
    assert [r.detail for r in first if r.lane == FAULT] == [ENERGY]
    assert (kinds(second).count(FAULT), one.told) == (0, [(2, ENERGY, "there is no counter")])


def test_a_reading_that_failed_once_is_asked_for_again(lane: Make) -> None:
    driver = ScriptedDriver()
    driver.temperature[2].answers = [failure(Why.TRANSIENT), 50]
    one = lane(driver)
    assert TEMPERATURE not in kinds(one.edge())
    assert [r.value for r in one.edge() if r.lane == TEMPERATURE] == [50]
    assert one.told == [(2, TEMPERATURE, "it is transient")]


def test_a_device_in_the_hosts_memory_has_the_level_of_the_host(lane: Make) -> None:
    unified = replace(L4, unified=True, total_bytes=None)
    (end,) = [r for r in lane(ScriptedDriver((unified,))).edge() if r.lane == LISTED]
    assert end.value not in (0, GIB)


def test_a_device_without_a_level_has_its_processes_listed_all_the_same(lane: Make) -> None:
    blind = replace(L4, total_bytes=None, no_memory="it may not be read")
    driver = ScriptedDriver((blind,), lists={2: [DeviceProcess(5, used_bytes=GIB)]})
    records = lane(driver).edge()
    assert [(r.value, r.detail) for r in records if r.lane == LISTED] == [(0, 1)]
    assert driver.level[2].reads == 0


# ------------------------------------------------------------------------------------------------- ticks of the counter


def ticks(records: Sequence[RingRecord]) -> list[int]:
    return [r.value for r in records if r.lane == ENERGY and r.flags & TICK]


def test_with_align_the_edge_ends_when_the_counter_moved_on_twice(lane: Make) -> None:
    driver = ScriptedDriver()
    driver.counter[2].answers = [100, 100, 200, 200, 200, 300, 300, 400]
    assert ticks(lane(driver).edge(align=True)) == [200, 300]
    assert driver.counter[2].answers == [300, 400]


def test_without_align_nobody_waits_for_the_counter(lane: Make) -> None:
    driver = ScriptedDriver()
    lane(driver).edge()
    assert driver.counter[2].reads == 0


def test_every_devices_counter_is_waited_for(lane: Make) -> None:
    driver = ScriptedDriver((L4, SECOND))
    driver.counter[2].answers = [1, 2, 3]
    driver.counter[3].answers = [10, 10, 10, 20, 20, 30]
    records = lane(driver).edge(align=True)
    assert ticks([r for r in records if r.key == 2]) == [2, 3]
    assert ticks([r for r in records if r.key == 3]) == [20, 30]
    assert driver.counter[2].reads == 3


def test_a_counter_that_stands_still_is_waited_for_only_so_long(lane: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_lane, "TICK_PATIENCE_S", 0.02)
    driver = ScriptedDriver()
    assert ticks(lane(driver).edge(align=True)) == []
    assert driver.counter[2].reads >= 1


def test_a_device_without_a_counter_is_waited_for_no_more(lane: Make) -> None:
    driver = ScriptedDriver()
    driver.counter[2].answers = [failure(Why.TRANSIENT), failure(Why.ABSENT), 5]
    one = lane(driver)
    for reads in (1, 2, 2):
        one.edge(align=True)
        assert driver.counter[2].reads == reads
    assert one.told == [(2, ENERGY, "it is transient"), (2, ENERGY, "it is absent")]


# ---------------------------------------------------------------------------------------------------------- the thread


def test_the_running_lane_reads_what_is_due_and_obeys_between(lane: Make) -> None:
    driver = ScriptedDriver()
    one = lane(driver)
    one.start()
    until(lambda: driver.power[2].reads >= 3 and driver.temperature[2].reads >= 1 and driver.listed >= 1)
    one.in_thread(lambda: one.lane.stop_sampling(L4.slot))
    reads = driver.power[2].reads
    beat = one.ring.published_ns
    until(lambda: one.ring.published_ns > beat)
    assert driver.power[2].reads == reads


def test_a_call_that_does_not_return_is_named_in_the_ring(lane: Make) -> None:
    hung, free = threading.Event(), threading.Event()
    driver = ScriptedDriver()
    one = lane(driver)

    def hang() -> None:
        one.lane.begin_call("nvmlDeviceGetComputeRunningProcesses_v3")
        hung.set()
        until(free.is_set)
        one.lane.end_call()

    driver.while_listing = hang
    one.start()
    until(hung.is_set)
    call, since = one.ring.call
    one.lane.end_call()  # of the memory lane, in another thread
    assert one.ring.call == (call, since) == ("nvmlDeviceGetComputeRunningProcesses_v3", since)
    driver.while_listing = lambda: None
    free.set()
    until(lambda: one.ring.call == ("", 0))


def test_a_level_that_does_not_return_is_named_too(lane: Make) -> None:
    driver = ScriptedDriver()
    one = lane(driver)
    seen: list[str] = []
    driver.level[2].meanwhile = lambda: seen.append(one.ring.call[0])
    one.start()
    until(lambda: bool(seen))
    assert seen[0] == "nvmlDeviceGetMemoryInfo"
