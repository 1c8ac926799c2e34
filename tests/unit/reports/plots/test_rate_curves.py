"""Curves over rates and concurrencies, several engines in one plot."""

from __future__ import annotations

from typing import Any

from pytest_llmperf.measurement.capacity.result import CapacityResult, MeasuredPoint, SweepResult
from pytest_llmperf.reports.plots.rate_curves import draw_rate_curves
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.drawings import read_drawing
from tests.helpers.streams import measured


def point(rate: float | None, ttft: float, concurrency: int | None = None, left_out: str = "") -> MeasuredPoint:
    values = {"latency.ttft_p95": ttft, "throughput.goodput": 3.0}
    return MeasuredPoint(
        rate, concurrency, 80, 0, 9.0, values, {"latency.ttft_p95": (ttft / 2, None)}, left_out=left_out
    )


def searched(*points: MeasuredPoint) -> dict[str, Any]:
    found = CapacityResult(8.0, 7.0, 9.0, points, limits={"latency.ttft_p95": 0.3})
    return measurement_to_wire(measured(capacities=(found,)))


def test_two_engines_are_in_one_plot_with_the_limit() -> None:
    plots = [*draw_rate_curves([("old", searched(point(4, 0.1), point(8, 0.3))), ("new", searched(point(5, 0.2)))])]
    drawn = [read_drawing(svg) for svg in plots if svg]
    assert len(drawn) == 2
    assert {"old", "new", "limit 300 ms"} <= {label.text for label in drawn[0].labels}
    assert "old: 100 ms to 300 ms in 2 points. new: 200 ms to 200 ms in 1 point. The limit 300 ms." in plots[0]


def test_what_a_search_did_not_use_is_not_drawn() -> None:
    plots = [*draw_rate_curves([("one", searched(point(4, 0.1), point(9, 0.9, left_out="the client was late")))])]
    assert "in 1 point." in plots[0]


def test_a_sweep_over_concurrency_has_an_axis_that_counts() -> None:
    swept = measurement_to_wire(measured(sweeps=(SweepResult((point(None, 0.1, 1), point(None, 0.4, 8))),)))
    [ttft, *_] = draw_rate_curves([("one", swept)])
    assert "latency.ttft_p95 over requests at a time" in ttft


def test_without_a_search_or_a_sweep_nothing_is_drawn() -> None:
    assert not [*draw_rate_curves([("one", measurement_to_wire(measured()))])]
