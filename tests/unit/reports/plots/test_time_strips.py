"""What stands below the memory on its time axis: reports/plots/host_strip.py and kv_cache.py."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.plots.host_strip import draw_host_strip
from pytest_llmperf.reports.plots.kv_cache import draw_kv_cache
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT
from tests.helpers.crowded_plots import make_measurement
from tests.helpers.drawings import read_drawing
from tests.helpers.verdicts import verdict

MIB = 2**20


def at(second: float) -> float:
    return LEFT + (RIGHT - LEFT) * second / 10


def test_throttling_is_marked_where_it_was_with_its_main_reason() -> None:
    spans = [[2.0, 3.0, "software power cap"], [5.0, 9.0, "hardware thermal"]]
    drawn = read_drawing(draw_host_strip(make_measurement(throttle=spans)))
    found = [(line[0][0], line[1][0]) for line in drawn.lines("s")]
    assert found == [pytest.approx((at(2), at(3)), abs=1), pytest.approx((at(5), at(9)), abs=1)]
    assert drawn.label("hardware thermal")
    assert "software power cap for 1.00 s, hardware thermal for 4.00 s" in drawn.description


def test_a_clock_that_falls_goes_down() -> None:
    drawn = read_drawing(draw_host_strip(make_measurement(clocks={"L4": [[0.0, 2000], [5.0, 1000], [10.0, 1000]]})))
    ((first, second, third),) = drawn.lines("l")
    assert first[1] < second[1] == third[1]
    assert second[0] == pytest.approx(at(5), abs=1)
    assert drawn.label("1000–2000 MHz")


def test_each_device_has_a_row_and_pressure_one_below() -> None:
    clocks = {"L4": [[0.0, 2000], [10.0, 2000]], "L4 #2": [[0.0, 1500], [10.0, 1500]]}
    drawn = read_drawing(draw_host_strip(make_measurement(clocks=clocks, pressure=[[0.0, 0.5], [10.0, 0.5]])))
    heights = [line[0][1] for line in drawn.lines("l")]
    assert heights == sorted(heights)
    assert len(heights) == 3
    assert drawn.label("CPU, mean 50 %")


@pytest.mark.parametrize("series", [{}, {"clocks": {}, "throttle": [], "pressure": []}, {"clocks": {"L4": []}}])
def test_without_a_state_nothing_is_drawn(series: dict[str, Any]) -> None:
    assert draw_host_strip(make_measurement(**series)) == ""
    assert draw_host_strip({"window": {"seconds": 1.0}}) == ""


def test_kv_cache_holds_its_level_until_it_changes() -> None:
    used = make_measurement(kv=[[0.0, 0], [4.0, 80 * MIB], [6.0, 20 * MIB]])
    limit = verdict(Status.PASS, "memory.kv_cache", "memory.kv_cache", 100 * MIB, "100 MiB", 80 * MIB)
    drawn = read_drawing(draw_kv_cache(used, [limit]))
    (line,) = drawn.lines("l")
    xs = [x for x, _ in line]
    assert xs == pytest.approx([at(0), at(4), at(4), at(6), at(6), at(10)], abs=1)
    floor, high, low = line[0][1], line[2][1], line[4][1]
    assert (floor - high) == pytest.approx(4 * (floor - low), abs=4)
    ((dashed, _),) = drawn.lines("L")
    assert dashed[1] < high
    assert "memory.kv_cache 80.0 MiB, limit 100 MiB: PASS" in drawn.description


def test_a_kv_cache_that_was_not_read_is_not_drawn() -> None:
    assert draw_kv_cache(make_measurement(kv=[]), []) == ""
    assert read_drawing(draw_kv_cache(make_measurement(kv=[[0.0, 0]]), [])).label("peak 0 B")
