"""The host between two readings of its counters."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.measurement.host.state import ThreadTimes
from pytest_llmperf.telemetry.host_state import compare_counters, subtract_times
from pytest_llmperf.telemetry.sources.host_counters import HostCounters, ProcessorTimes, Throttling

BEFORE = HostCounters(
    at_ns=1_000_000_000,
    processors=ProcessorTimes(8, busy=100.0, steal=2.0, total=800.0),
    pressure={"cpu": 5.0, "memory": 0.0},
    throttling={"/a": Throttling(10, 1, 0.5), "/": Throttling(10, 0, 0.0)},
    swapped_in_bytes=4096,
    thermal_throttles=3,
)
AFTER = replace(
    BEFORE,
    at_ns=11_000_000_000,
    processors=ProcessorTimes(8, busy=160.0, steal=10.0, total=880.0),
    pressure={"cpu": 7.5, "memory": 0.0, "io": 1.0},
    throttling={"/a": Throttling(110, 51, 4.5), "/": Throttling(10, 0, 0.0)},
    swapped_in_bytes=12288,
    thermal_throttles=3,
    frequency_limit=0.5,
    on_battery=False,
    unknown={"pressure.io": "no file"},
)


def test_each_counter_is_what_it_grew_by() -> None:
    state = compare_counters(BEFORE, AFTER, ThreadTimes(1.0, 3.0), "")
    assert (state.seconds, state.processors, state.busy_cores) == (10.0, 8, 6.0)
    assert state.steal == pytest.approx(0.1)
    assert state.pressure == {"cpu": 0.25, "memory": 0.0}
    assert (state.throttled_periods, state.throttled_seconds) == (0.5, 4.0)
    assert (state.swapped_in_bytes, state.thermal_throttles) == (8192, 0)
    assert (state.frequency_limit, state.on_battery) == (0.5, False)
    assert state.other_cores == pytest.approx(5.9)
    assert state.unknown == {"pressure.io": "no file"}


def test_what_is_not_known_at_either_edge_is_not_known() -> None:
    nothing = HostCounters(at_ns=0)
    for one, two in ((nothing, AFTER), (BEFORE, HostCounters(at_ns=11_000_000_000))):
        state = compare_counters(one, two, None, "hidden")
        values = (state.busy_cores, state.steal, state.throttled_periods, state.throttled_seconds)
        assert {*values, state.swapped_in_bytes, state.thermal_throttles, state.other_cores} == {None}
        assert state.pressure == {}
        assert state.unknown["threads"] == "hidden"


def test_two_looks_at_once_tell_nothing() -> None:
    state = compare_counters(BEFORE, BEFORE, None, "hidden")
    assert (state.busy_cores, state.steal, state.pressure) == (None, None, {})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([(0, 0)], [(2_000_000_000, 1_000_000_000)], ThreadTimes(2.0, 1.0)),
        ([(5, 5), (0, 0)], [(5, 5), (1_000_000_000, 0)], ThreadTimes(1.0, 0.0)),
        ([(5, 5), None], [(5, 5), (1, 1)], None),
        ([(5, 5)], [None], None),
        ([(5, 5)], [(1, 1)], None),  # a sampler that was started anew
        ([], [], None),
    ],
)
def test_the_times_of_threads_are_subtracted_where_both_are_known(
    before: list[tuple[int, int] | None], after: list[tuple[int, int] | None], expected: ThreadTimes | None
) -> None:
    assert subtract_times(before, after) == expected


def test_the_share_waited_is_of_the_time_in_which_a_core_was_wanted() -> None:
    assert ThreadTimes(1.0, 3.0).share_waited == 0.75
    assert ThreadTimes(0.0, 0.0).share_waited == 0.0
