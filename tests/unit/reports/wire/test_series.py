"""Lines to draw: reports/wire/series.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_llmperf.measurement.device_trace import Conditions
from pytest_llmperf.measurement.host.state import HostState
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports.json_report import build_report
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from pytest_llmperf.reports.wire.series import LINE_POINTS, MOST_SPANS, series_to_wire
from tests.helpers.device_samples import FIRST, SECOND, on
from tests.helpers.report_samples import MS, START, measurement, result, trace


def series(**changes: Any) -> dict[str, Any]:
    return series_to_wire(replace(measurement(), **changes))


def test_the_memory_of_host_and_devices_stands_by_name_in_seconds_of_the_window_with_its_peak() -> None:
    memory = trace(count=4000, peak=99 * 2**30)
    lines = series(memory=memory, devices=(on(trace(), FIRST), on(trace(), SECOND)))["memory"]
    assert list(lines) == ["NVIDIA L4 #1", "NVIDIA L4 #2", "host"]
    assert max(value for _, value in lines["host"]) == memory.peak_bytes
    assert len(lines["host"]) <= LINE_POINTS
    assert list(series(devices=(on(trace()),))["memory"]) == ["NVIDIA L4", "host"]


def test_samples_from_outside_of_the_window_stand_at_its_edges() -> None:
    found = series(memory=replace(trace(), samples=((START - 7 * MS, 1), (START + 5 * MS, 9), (START + 4009 * MS, 3))))
    assert found["memory"]["host"] == [[0.0, 1], [0.005, 9], [4.0, 3]]
    assert (found["start_s"], found["end_s"]) == (0.0, 4.0)


def test_clocks_and_the_times_in_which_they_were_held_back_are_those_of_the_device() -> None:
    state = Conditions(
        clock_samples=((START, 1900), (START + 1000 * MS, 1200)),
        throttled_spans=((START + 500 * MS, START + 1500 * MS, "hardware thermal"),),
    )
    found = series(devices=(on(trace(), conditions=state),))
    assert found["clocks"] == {"NVIDIA L4": [[0.0, 1900], [1.0, 1200]]}
    assert found["throttle"] == [[0.5, 1.5, "hardware thermal"]]


def test_of_many_times_held_back_the_longest_are_kept_in_order() -> None:
    spans = tuple((START + 20 * i * MS, START + (20 * i + 1 + i % 10) * MS, "sync boost") for i in range(200))
    found = series(devices=(on(trace(), conditions=Conditions(throttled_spans=spans)),))["throttle"]
    assert len(found) == MOST_SPANS
    assert found == sorted(found)
    assert min(end - begin for begin, end, _ in found) > 0.006


def test_pressure_is_the_mean_of_the_window_and_kv_follows_its_levels() -> None:
    found = series(host=HostState(4.0, pressure={"cpu": 0.25}), kv_levels=((START, 0), (START + 100 * MS, 4096)))
    assert found["pressure"] == [[0.0, 0.25], [4.0, 0.25]]
    assert found["kv"] == [[0.0, 0], [0.1, 4096]]


def test_what_is_not_known_is_empty() -> None:
    nothing: dict[str, Any] = {"memory": {}, "clocks": {}, "throttle": [], "pressure": [], "kv": []}
    assert series_to_wire(Measurement(Window(START, START))) == {"start_s": 0.0, "end_s": 0.0, **nothing}


def test_each_engine_of_a_test_has_lines_of_its_own_and_none_go_into_the_json_file() -> None:
    part = replace(measurement(), label="ollama", memory=trace(peak=2**40))
    whole = replace(measurement(), parts=(part,))
    wire = measurement_to_wire(whole)
    assert wire["parts"][0]["series"]["memory"] != wire["series"]["memory"]
    assert wire["parts"][0]["lanes"] == wire["lanes"]
    (test,) = build_report([result(measured=whole)], session={})["tests"]
    for written in (test["measurement"], test["measurement"]["parts"][0]):
        assert not {"series", "lanes", "lanes_of"} & set(written)
