from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.energy import measure_energy
from pytest_llmperf.telemetry.records.ring import ENERGY, POWER, TEMPERATURE, TICK, RingRecord

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import Energy

MS = 1_000_000
SLOT = 3


@dataclass
class ScriptedSensor:
    """A device that takes 100 W, and from ``start_ms`` to ``end_ms`` 600 and 300 W in turns; all by a manual clock.

    The counter shows what was consumed up to its last tick. ``phase_ms`` shifts the ticks against the window.
    """

    tick_ms: int
    start_ms: int
    end_ms: int
    phase_ms: int = 0
    half_wave_ms: int = 170

    def __post_init__(self) -> None:
        mj = (self.watts(t) for t in range(self.end_ms + 5000))
        self._consumed_mj = [0, *itertools.accumulate(mj)]

    def watts(self, t_ms: int) -> int:
        if not self.start_ms <= t_ms < self.end_ms:
            return 100
        return 300 if (t_ms - self.start_ms) // self.half_wave_ms % 2 else 600

    def joules(self, start_ms: int, end_ms: int) -> float:
        """What really was consumed."""
        return (self._consumed_mj[end_ms] - self._consumed_mj[start_ms]) / 1000

    def last_tick(self, t_ms: int) -> int:
        return (t_ms - self.phase_ms) // self.tick_ms * self.tick_ms + self.phase_ms

    def counter(self, t_ms: int) -> RingRecord:
        """A plain reading."""
        consumed = self.joules(0, max(0, self.last_tick(t_ms)))
        return RingRecord(t_ms * MS, round(1000 * (5000 + consumed)), SLOT, 0, ENERGY)

    def power(self, t_ms: int) -> RingRecord:
        return RingRecord(t_ms * MS, 1000 * self.watts(t_ms), SLOT, 0, POWER)

    def tick_from(self, t_ms: int) -> RingRecord:
        """The first tick that a reader sees who begins to look at this time."""
        return self.counter(self.last_tick(t_ms) + self.tick_ms)._replace(flags=TICK)

    def sampled(self, until_ms: int, every_ms: int = 100, offset_ms: int = 37) -> list[RingRecord]:
        """Counter and power as the sampler reads them all the time."""
        times = range(offset_ms, until_ms, every_ms)
        return [self.counter(t) for t in times] + [self.power(t) for t in times]


def window(start_ms: int, end_ms: int) -> Window:
    return Window(start_ms * MS, end_ms * MS)


def measured(seconds: float, tick_ms: int, phase_ms: int, idle_watts: float | None = 100.0) -> tuple[Energy, float]:
    """A test as it is run: wait for a tick, then the test, then wait for another; with what it really consumed."""
    begun_ms = 3000
    tick = ScriptedSensor(tick_ms, 0, 0, phase_ms).tick_from(begun_ms).t_ns // MS
    start, end = tick + 4, tick + 4 + round(seconds * 1000)
    sensor = ScriptedSensor(tick_ms, start, end, phase_ms)
    edges = [sensor.tick_from(begun_ms), sensor.tick_from(end)]
    records = sensor.sampled(end + 1000) + edges
    return measure_energy(records, window(start, end), idle_watts=idle_watts), sensor.joules(start, end)


@pytest.mark.parametrize("seconds", [2.0, 3.3, 5.0, 10.0])
@pytest.mark.parametrize("tick_ms", [20, 100])
def test_between_ticks_the_energy_is_right_to_the_percent(seconds: float, tick_ms: int) -> None:
    for phase_ms in range(0, tick_ms, 7):
        result, truth = measured(seconds, tick_ms, phase_ms)
        assert result.joules == pytest.approx(truth, rel=0.002)
        assert (result.reason, result.fault) == ("", "")


def test_idle_power_is_taken_off_for_the_whole_window() -> None:
    result, truth = measured(2.0, 100, 0)
    assert result.above_idle_joules == pytest.approx(truth - 200, rel=0.005)
    assert result.idle_watts == 100


def test_without_idle_power_there_is_nothing_above_it_and_the_power_of_that_time_is_taken() -> None:
    result, truth = measured(2.0, 100, 0, idle_watts=None)
    assert result.joules == pytest.approx(truth, rel=0.02)
    assert (result.above_idle_joules, result.idle_watts) == (None, None)


def test_the_mean_of_the_instant_power_is_given_beside_the_energy() -> None:
    result, truth = measured(10.0, 100, 0)
    assert result.instant_watts == pytest.approx(truth / 10, rel=0.1)


def test_how_it_was_measured_is_said_in_one_line() -> None:
    result, _ = measured(2.0, 20, 0)
    assert result.how == (
        "energy counter from tick to tick, corrected for 0.02 s beside the window; ±5 % by the sensor"
    )


def steady(*counter: RingRecord, watts: int = 300, until_ms: int = 20_000) -> list[RingRecord]:
    """A device that takes the same power all the time, with these readings of its counter."""
    return [*counter, *(RingRecord(t * MS, 1000 * watts, SLOT, 0, POWER) for t in range(0, until_ms, 100))]


def reading(t_ms: int, joules: float, flags: int = 0) -> RingRecord:
    return RingRecord(t_ms * MS, round(1000 * joules), SLOT, 0, ENERGY, flags)


def test_a_tick_just_after_the_start_is_taken_where_none_was_seen_before() -> None:
    records = steady(reading(1100, 1000, TICK), reading(3050, 1585, TICK))
    result = measure_energy(records, window(1000, 3000), idle_watts=100)
    # 585 J between the ticks, 300 W for the 0.1 s that is missing; at the end 300 W for 0.05 s too much.
    assert result.joules == pytest.approx(585 + 30 - 15)


def test_a_tick_just_before_the_end_is_taken_where_none_was_seen_after_it() -> None:
    records = steady(reading(950, 1000, TICK), reading(2800, 1560, TICK))
    result = measure_energy(records, window(1000, 3000), idle_watts=100)
    # 560 J between the ticks; 300 W for 0.05 s too much at the start, 300 W for the 0.2 s that are missing.
    assert result.joules == pytest.approx(560 - 15 + 60)


def test_of_several_ticks_the_nearest_outside_of_the_window_count() -> None:
    ticks = [reading(900 + 20 * n, 6 * n, TICK) for n in range(120)]
    result = measure_energy(steady(*ticks), window(1010, 3010), idle_watts=300)
    assert result.joules == pytest.approx(600)
    assert result.tick_seconds == pytest.approx(0.02)
    assert "a tick every 0.02 s" in result.how


def test_ticks_between_which_the_counter_moved_unseen_say_nothing_of_their_distance() -> None:
    records = steady(reading(990, 0, TICK), reading(2000, 303), reading(3010, 606, TICK))
    result = measure_energy(records, window(1000, 3000), idle_watts=300)
    assert result.joules == pytest.approx(600)
    assert result.tick_seconds is None


def test_rare_readings_of_the_same_value_do_not_hide_the_distance_of_ticks() -> None:
    counter = [reading(1000 * n, 300 * (n // 5), TICK if n and n % 5 == 0 else 0) for n in range(100)]
    result = measure_energy(steady(*counter, watts=60, until_ms=100_000), window(20_000, 80_000), idle_watts=60)
    assert result.joules == pytest.approx(3600)
    assert result.tick_seconds == pytest.approx(5)


# ------------------------------------------------------------------------------------------------ without aligned ticks


def test_a_long_window_is_measured_by_plain_readings_with_their_error_bound() -> None:
    for phase_ms in range(0, 100, 13):
        sensor = ScriptedSensor(100, 3000, 13_000, phase_ms)
        result = measure_energy(sensor.sampled(14_000), window(3000, 13_000), idle_watts=100)
        assert result.joules == pytest.approx(sensor.joules(3000, 13_000), rel=0.02)
        assert result.how == (
            "energy counter read every 0.1 s, not aligned to its ticks: ±1 %, "
            "corrected for 0.10 s beside the window; ±5 % by the sensor"
        )


def test_a_short_window_is_not_measured_without_ticks_at_its_edges() -> None:
    sensor = ScriptedSensor(100, 3000, 7000)
    result = measure_energy(sensor.sampled(9000), window(3000, 7000), idle_watts=100)
    assert (result.joules, result.above_idle_joules, result.how) == (None, None, "")
    assert result.reason == (
        "not aligned: no tick of the energy counter was seen at the edges of the window, "
        "and without them it takes 5 s, read without a gap"
    )


@pytest.mark.parametrize("gap", [range(2000, 4000), range(12_000, 14_000)])
def test_a_long_window_is_not_measured_when_nothing_was_read_at_an_edge(gap: range) -> None:
    sensor = ScriptedSensor(100, 3000, 13_000)
    records = [record for record in sensor.sampled(15_000) if record.t_ns // MS not in gap]
    result = measure_energy(records, window(3000, 13_000), idle_watts=100)
    assert (result.joules, result.reason[:11]) == (None, "not aligned")


def test_a_tick_long_before_the_test_is_not_its_edge() -> None:
    sensor = ScriptedSensor(20, 3000, 6000)
    records = [*sensor.sampled(8000), sensor.tick_from(2000), sensor.tick_from(6000)]
    assert measure_energy(records, window(3000, 6000), idle_watts=100).reason.startswith("not aligned")


def test_repeated_values_of_an_exporter_are_not_taken_for_readings() -> None:
    def page(t_ms: int) -> RingRecord:
        flags = TICK if t_ms % 3000 == 0 and t_ms else 0
        return reading(t_ms, 0.3 * (t_ms // 3000 * 3000), flags)

    records = steady(*(page(t) for t in range(0, 100_000, 100)), until_ms=100_000)
    few = measure_energy(records, window(20_000, 40_000), idle_watts=300)
    assert few.reason.startswith("not aligned")
    enough = measure_energy(records, window(20_000, 60_000), idle_watts=300)
    assert enough.joules == pytest.approx(12_000, rel=0.001)
    assert enough.tick_seconds == pytest.approx(3)


# -------------------------------------------------------------------------------------------------- why there is none


def test_a_short_window_is_refused() -> None:
    result, _ = measured(0.8, 20, 0)
    assert result.joules is None
    assert result.reason == (
        "a window of 0.8 s is too short for the energy sensor, which observes only part of the time: "
        "at least 2 s are needed; more rounds make the window longer"
    )


def test_a_part_of_a_gpu_has_no_energy_of_its_own() -> None:
    sensor = ScriptedSensor(20, 3000, 6000)
    whole = "energy is measured for the whole GPU, of which the engine has a MIG instance"
    result = measure_energy(sensor.sampled(8000), window(3000, 6000), idle_watts=100, shared=whole)
    assert (result.joules, result.reason) == (None, whole)


def test_no_reading_of_the_counter_is_said_so() -> None:
    others = [RingRecord(t * MS, 50, SLOT, 0, TEMPERATURE) for t in range(0, 9000, 100)]
    result = measure_energy(steady() + others, window(3000, 6000), idle_watts=100)
    assert (result.joules, result.reason) == (None, "no energy counter was read")
    assert result.instant_watts == 300


def test_a_counter_that_goes_backwards_is_not_believed() -> None:
    records = steady(reading(2990, 900, TICK), reading(4000, 1200), reading(4100, 3), reading(6010, 1300, TICK))
    result = measure_energy(records, window(3000, 6000), idle_watts=100)
    assert result.joules is None
    assert result.reason == "the energy counter went backwards: the driver was reloaded during the test"


def test_a_counter_that_went_backwards_before_the_test_is_believed() -> None:
    records = steady(reading(1000, 5000), reading(2990, 900, TICK), reading(6010, 1806, TICK))
    assert measure_energy(records, window(3000, 6000), idle_watts=300).joules == pytest.approx(900)


def test_a_counter_that_stands_still_is_not_taken_for_nothing_consumed() -> None:
    still = steady(*(reading(t, 900) for t in range(0, 9000, 100)))
    assert measure_energy(still, window(3000, 6000), idle_watts=100).reason == "the energy counter was not seen to move"
    stuck = steady(reading(2990, 900, TICK), reading(6010, 900, TICK))
    assert measure_energy(stuck, window(3000, 6000), idle_watts=100).reason == "the energy counter did not move"
    crept = steady(reading(2800, 900, TICK), reading(6200, 901, TICK))
    assert measure_energy(crept, window(3000, 6000), idle_watts=100).reason.startswith(
        "the energy counter moved by less than"
    )


def test_ticks_beside_the_window_are_no_use_when_no_power_is_known() -> None:
    records = [reading(2990, 900, TICK), reading(6010, 1806, TICK)]
    assert measure_energy(records, window(3000, 6000), idle_watts=None).reason.startswith(
        "the energy counter's ticks lie outside"
    )
    assert measure_energy(records, window(3000, 6000), idle_watts=300).joules == pytest.approx(900)


def test_two_sensors_that_disagree_are_a_fault_that_names_both() -> None:
    records = steady(reading(3000, 0, TICK), reading(6000, 500, TICK), watts=300)
    result = measure_energy(records, window(3000, 6000), idle_watts=100)
    assert result.joules == 500
    assert result.fault == (
        "the energy counter says 500 J, but an instant power of 300 W on average over 3 s is 900 J: "
        "one of the two sensors is wrong"
    )


@pytest.mark.parametrize("joules", [730, 1190])
def test_sensors_that_agree_to_a_quarter_are_no_fault(joules: int) -> None:
    records = steady(reading(3000, 0, TICK), reading(6000, joules, TICK), watts=300)
    assert measure_energy(records, window(3000, 6000), idle_watts=100).fault == ""


def test_a_handful_of_power_readings_is_no_second_opinion() -> None:
    counter = [reading(3000, 0, TICK), reading(6000, 500, TICK)]
    power = [RingRecord(t * MS, 300_000, SLOT, 0, POWER) for t in range(3000, 6000, 400)]
    result = measure_energy(counter + power, window(3000, 6000), idle_watts=100)
    assert (result.fault, result.instant_watts) == ("", 300)


def test_a_long_time_beside_the_window_is_taken_off_by_its_own_power() -> None:
    counter = [reading(n * 10_000, 3000 * n, TICK if n else 0) for n in range(40)]
    result = measure_energy(steady(*counter, until_ms=400_000), window(105_000, 255_000), idle_watts=50)
    assert result.joules == pytest.approx(45_000)
