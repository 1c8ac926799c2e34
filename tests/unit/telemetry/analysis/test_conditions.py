from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import Conditions, DeviceProcess
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.conditions import read_conditions
from pytest_llmperf.telemetry.records.event_reasons import EventReason
from pytest_llmperf.telemetry.records.ring import (
    KNOWN,
    MAPPED,
    MATCHED,
    MEMORY_TEMPERATURE,
    OURS,
    POWER,
    PROCESS,
    REASONS,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
    VISIBLE,
    RingRecord,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

MS = 1_000_000
SLOT = 2
WINDOW = Window(10_000 * MS, 20_000 * MS)
"""Ten seconds, from the tenth on."""


def curve(lane: int, points: Mapping[int, int], detail: int = 0) -> list[RingRecord]:
    """Readings by their time in ms."""
    return [RingRecord(t * MS, value, SLOT, detail, lane) for t, value in points.items()]


def listed(t_ms: int, pid: int, flags: int = 0, used: int = 0) -> RingRecord:
    return RingRecord(t_ms * MS, used, SLOT, pid, PROCESS, flags)


def state(
    *records: RingRecord,
    window: Window = WINDOW,
    known_pids: Collection[int] = (),
    names: Mapping[int, str] | None = None,
) -> Conditions:
    return read_conditions(records, window, known_pids=known_pids, names=names or {})


def test_nothing_read_is_nothing_known() -> None:
    assert state() == Conditions()
    assert state(*curve(POWER, {12_000: 300})) == Conditions()


def test_temperatures_are_those_nearest_to_the_window_on_either_side() -> None:
    found = state(
        *curve(TEMPERATURE, {8000: 40, 9900: 45, 15_000: 70, 20_100: 65, 21_000: 60}),
        *curve(MEMORY_TEMPERATURE, {9900: 50, 20_100: 80}),
    )
    assert (found.temperature_c, found.memory_temperature_c) == ((45, 65), (50, 80))


def test_temperatures_are_those_inside_where_none_was_read_outside() -> None:
    assert state(*curve(TEMPERATURE, {11_000: 45, 15_000: 70, 19_000: 66})).temperature_c == (45, 66)


def test_clock_and_utilization_are_the_mean_over_the_window() -> None:
    found = state(
        *curve(SM_CLOCK, {9000: 300, 11_000: 1900, 19_000: 1700, 21_000: 300}),
        *curve(UTILIZATION, {9000: 0, 11_000: 100, 19_000: 50, 21_000: 0}),
    )
    assert (found.sm_clock_mhz, found.utilization) == (1800, 0.75)


def test_clocks_inside_the_window_are_kept_one_by_one() -> None:
    found = state(*curve(SM_CLOCK, {9000: 300, 11_000: 1900, 19_000: 1700, 21_000: 300}))
    assert found.clock_samples == ((11_000 * MS, 1900), (19_000 * MS, 1700))


def test_times_held_back_go_from_the_first_sample_that_shows_them_to_the_first_that_does_not() -> None:
    hot, capped = EventReason.HARDWARE_THERMAL, EventReason.SOFTWARE_POWER_CAP
    found = state(
        *curve(REASONS, {11_000: 0, 12_000: hot, 13_000: hot | capped, 14_000: capped, 15_000: 0, 19_000: hot})
    )
    assert set(found.throttled_spans) == {
        (12_000 * MS, 14_000 * MS, "hardware thermal"),
        (13_000 * MS, 15_000 * MS, "software power cap"),
        (19_000 * MS, 20_000 * MS, "hardware thermal"),
    }


def test_records_may_come_in_any_order() -> None:
    points = curve(TEMPERATURE, {9900: 45, 15_000: 70, 20_100: 65})
    assert state(*reversed(points)).temperature_c == (45, 65)


# ----------------------------------------------------------------------------------------------------- clocks held back

THERMAL, BRAKE = EventReason.HARDWARE_THERMAL, EventReason.HARDWARE_POWER_BRAKE
SLOWDOWN = EventReason.HARDWARE_SLOWDOWN
REASON_BITS = {
    "software power cap": EventReason.SOFTWARE_POWER_CAP,
    "hardware slowdown": SLOWDOWN,
    "sync boost": EventReason.SYNC_BOOST,
    "software thermal": EventReason.SOFTWARE_THERMAL,
    "hardware thermal": THERMAL,
    "hardware power brake": BRAKE,
}


@pytest.mark.parametrize(("name", "bit"), [item for item in REASON_BITS.items() if item[1] != SLOWDOWN])
def test_the_time_of_a_reason_is_the_difference_of_its_counter(name: str, bit: int) -> None:
    points = {8000: 0, 9990: 1000 * MS, 15_000: 2000 * MS, 20_010: 4500 * MS, 21_000: 9000 * MS}
    assert state(*curve(THROTTLE, points, bit)).throttled_seconds == {name: 3.5}


def test_a_counter_that_stands_still_is_a_reason_that_did_not_occur() -> None:
    found = state(*curve(THROTTLE, {9990: 7, 20_010: 7}, THERMAL))
    assert (found.throttled_seconds, found.slowdown) == ({"hardware thermal": 0}, "")


def test_a_counter_cannot_give_more_than_the_window() -> None:
    found = state(*curve(THROTTLE, {9000: 0, 21_000: 12_000 * MS}, EventReason.SOFTWARE_THERMAL))
    assert found.throttled_seconds == {"software thermal": 10}


@pytest.mark.parametrize(("name", "bit"), REASON_BITS.items())
def test_without_a_counter_the_share_of_samples_counts(name: str, bit: int) -> None:
    masks = {9000: bit, 11_000: 0, 13_000: bit, 15_000: bit, 17_000: 0, 21_000: bit}
    found = state(*curve(REASONS, masks))
    assert found.throttled_seconds == dict.fromkeys(REASON_BITS, 0) | {name: 5}


@pytest.mark.parametrize("counter", [{9990: 100}, {9990: 5000 * MS, 20_010: 100}])
def test_a_counter_read_once_or_begun_anew_leaves_it_to_the_samples(counter: Mapping[int, int]) -> None:
    found = state(
        *curve(THROTTLE, counter, THERMAL),
        *curve(REASONS, {12_000: THERMAL, 16_000: THERMAL}),
    )
    assert found.throttled_seconds["hardware thermal"] == 10


def test_a_counter_goes_before_the_samples() -> None:
    found = state(
        *curve(THROTTLE, {9990: 0, 20_010: 0}, THERMAL),
        *curve(REASONS, {12_000: THERMAL, 16_000: THERMAL}),
    )
    assert found.throttled_seconds["hardware thermal"] == 0


def test_an_idle_device_is_not_held_back() -> None:
    found = state(*curve(REASONS, {12_000: 0, 16_000: 0}))
    assert (set(found.throttled_seconds.values()), found.slowdown) == ({0}, "")


@pytest.mark.parametrize(
    ("name", "bit"),
    [
        ("software thermal", EventReason.SOFTWARE_THERMAL),
        ("hardware thermal", THERMAL),
        ("hardware power brake", BRAKE),
    ],
)
def test_a_hundredth_of_the_window_slowed_down_takes_the_meaning_of_times(name: str, bit: int) -> None:
    assert state(*curve(THROTTLE, {9990: 0, 20_010: 99 * MS}, bit)).slowdown == ""
    assert state(*curve(THROTTLE, {9990: 0, 20_010: 100 * MS}, bit)).slowdown == (
        f"{name} held the clocks back for 0.1 of 10 s, so times and rates are not the engine's own"
    )


@pytest.mark.parametrize("bit", [EventReason.SOFTWARE_POWER_CAP, EventReason.SYNC_BOOST])
def test_a_power_cap_and_a_sync_boost_never_do(bit: int) -> None:
    found = state(*curve(THROTTLE, {9990: 0, 20_010: 10_000 * MS}, bit))
    assert (list(found.throttled_seconds.values()), found.slowdown) == ([10], "")


def test_hardware_slowdown_shows_in_samples_only() -> None:
    found = state(
        *curve(
            REASONS,
            {12_000: SLOWDOWN, 14_000: SLOWDOWN, 16_000: 0, 18_000: 0},
        )
    )
    assert found.slowdown == (
        "hardware slowdown held the clocks back for 5 of 10 s, so times and rates are not the engine's own"
    )


def test_a_single_sample_of_hardware_slowdown_is_the_device_waking_up() -> None:
    found = state(*curve(REASONS, {10_001: SLOWDOWN, 14_000: 0, 16_000: 0, 18_000: 0}))
    assert (found.throttled_seconds["hardware slowdown"], found.slowdown) == (2.5, "")
    alone = state(*curve(REASONS, {12_000: SLOWDOWN}))
    assert alone.slowdown.startswith("hardware slowdown held the clocks back for 10 of 10 s")


def test_a_single_sample_of_a_thermal_slowdown_counts() -> None:
    found = state(*curve(REASONS, {10_001: THERMAL, 14_000: 0, 16_000: 0, 18_000: 0}))
    assert found.slowdown.startswith("hardware thermal held the clocks back for 2.5 of 10 s")


# --------------------------------------------------------------------------------------------------------------- others


def test_a_process_that_came_later_is_named() -> None:
    found = state(
        listed(12_000, 700, VISIBLE | KNOWN, 5),
        listed(13_000, 700, VISIBLE | KNOWN, 9),
        listed(14_000, 700, VISIBLE | KNOWN, 4),
        names={700: "python train.py"},
    )
    assert found.newcomers == (DeviceProcess(700, "python train.py", 9),)
    assert found.slowdown == (
        "process 700 (python train.py) also computed on the device, so times and rates are not the engine's own"
    )


def test_several_newcomers_are_one_sentence_in_order_of_their_pids() -> None:
    found = state(listed(12_000, 800, VISIBLE), listed(12_000, 700, VISIBLE), names={700: "a"})
    assert found.newcomers == (DeviceProcess(700, "a"), DeviceProcess(800))
    assert found.slowdown.startswith("processes 700 (a), 800 also computed on the device, so")


@pytest.mark.parametrize("flag", [MATCHED, MAPPED, OURS])
def test_processes_of_this_run_are_no_newcomers(flag: int) -> None:
    assert state(listed(12_000, 700, flag | VISIBLE)) == Conditions()


def test_who_was_there_when_the_session_began_is_no_newcomer() -> None:
    assert state(listed(12_000, 700, VISIBLE), known_pids={700}) == Conditions()


def test_a_process_that_cannot_be_seen_is_a_stranger_where_the_engines_pids_are_found() -> None:
    found = state(listed(12_000, 41, MATCHED | VISIBLE), listed(12_000, 700))
    assert [process.pid for process in found.newcomers] == [700]


def test_a_process_that_cannot_be_seen_may_be_the_engine_where_no_pid_is_found() -> None:
    assert state(listed(12_000, 700), listed(12_000, 701)) == Conditions()


@pytest.mark.parametrize(("t_ms", "counts"), [(9999, False), (10_000, True), (20_100, True), (20_400, False)])
def test_only_lists_of_the_window_and_at_its_end_count(t_ms: int, counts: bool) -> None:
    assert bool(state(listed(t_ms, 700, VISIBLE)).newcomers) is counts


def test_slowdown_and_newcomer_are_one_sentence() -> None:
    found = state(*curve(THROTTLE, {9990: 0, 20_010: 5000 * MS}, THERMAL), listed(12_000, 700, VISIBLE))
    assert found.slowdown == (
        "hardware thermal held the clocks back for 5 of 10 s and process 700 also computed on the device, "
        "so times and rates are not the engine's own"
    )
