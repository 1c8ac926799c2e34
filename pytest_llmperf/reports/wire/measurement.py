"""A measurement as plain data, of exact builtin types only: pytest-xdist refuses subclasses as well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.host_pressure import why_starved
from pytest_llmperf.budgets.stored.validity import find_objections, objections_to_wire
from pytest_llmperf.measurement.load import group_lags
from pytest_llmperf.metrics.table import list_metrics
from pytest_llmperf.quality.reference import next_tokens_to_wire
from pytest_llmperf.reports.wire.engine import engine_to_wire
from pytest_llmperf.reports.wire.host import host_to_wire
from pytest_llmperf.reports.wire.lanes import lanes_to_wire
from pytest_llmperf.reports.wire.load import capacity_to_wire, lag_to_wire, load_to_wire, sweep_to_wire
from pytest_llmperf.reports.wire.memory import memory_to_wire, trace_to_wire
from pytest_llmperf.reports.wire.numbers import to_count, to_milliseconds, to_number
from pytest_llmperf.reports.wire.quality import quality_to_wire, score_to_wire
from pytest_llmperf.reports.wire.readings import evidence_to_wire, metrics_to_wire, readings_to_wire
from pytest_llmperf.reports.wire.requests import adapters_to_wire, cancelled_to_wire, requests_to_wire
from pytest_llmperf.reports.wire.series import series_to_wire
from pytest_llmperf.reports.wire.workload import workload_to_wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes


def measurement_to_wire(measurement: Measurement, limit_names: Iterable[str] = ()) -> dict[str, Any]:
    """Everything that a report may say of a measurement; ``limit_names`` (``latency.ttft_p75``) are read as well.

    Values are in base units. A number that is not finite is None, and one with a fraction has six significant digits.
    ``metrics`` says what the names of the readings mean; a report has it once for all tests.
    """
    start_ns, limits = measurement.window.start_ns, list(limit_names)
    return {
        "window": {"name": str(measurement.window.name), "seconds": to_number(measurement.window.seconds)},
        "engine": None if measurement.engine is None else engine_to_wire(measurement.engine),
        "workload": workload_to_wire(measurement),
        "metrics": metrics_to_wire(measurement),
        **readings_to_wire(list_metrics(measurement), measurement, limits),
        **evidence_to_wire(measurement, limits),
        "validity": objections_to_wire(find_objections(measurement)),
        "requests": requests_to_wire(measurement, start_ns),
        "cancelled": cancelled_to_wire(measurement, start_ns),
        "adapters": adapters_to_wire(measurement),
        "client_lag_s": {str(way): lag_to_wire(lag) for way, lag in group_lags(measurement.judged).items()},
        "loads": [load_to_wire(load, start_ns) for load in measurement.loads],
        "capacities": [capacity_to_wire(result) for result in measurement.capacities],
        "sweeps": [sweep_to_wire(result) for result in measurement.sweeps],
        "memory": None if measurement.memory is None else memory_to_wire(measurement.memory, start_ns),
        "memory_missing": str(measurement.memory_missing),
        "devices": [trace_to_wire(trace, start_ns) for trace in measurement.devices],
        "devices_missing": str(measurement.devices_missing),
        "engine_stats": {str(name): to_number(value) for name, value in measurement.engine_stats.items()},
        "server_clock": None if measurement.server_clock is None else _clock_to_wire(measurement.server_clock),
        "records": [
            {"name": str(one.name), "value": to_number(one.value), "unit": str(one.unit)} for one in measurement.records
        ],
        "windows": _windows_to_wire(measurement),
        "faults": [str(fault) for fault in measurement.faults],
        "disturbances": [str(text) for text in measurement.disturbances],
        "host": None if measurement.host is None else host_to_wire(measurement.host, why_starved(measurement)),
        "series": series_to_wire(measurement),
        **lanes_to_wire(measurement.requests, start_ns),
        "quality": quality_to_wire(measurement.quality),
        "scores": [score_to_wire(score) for score in measurement.scores],
        "next_tokens": None if measurement.next_tokens is None else next_tokens_to_wire(measurement.next_tokens),
        "rounds": int(measurement.rounds),
        "looks": to_count(measurement.looks),
        "engine_seconds": to_number(measurement.engine_seconds),
        "attempt": int(measurement.attempt),
        "label": str(measurement.label),
        "parts": [measurement_to_wire(part, limits) for part in measurement.parts],
    }


def _clock_to_wire(clock: ServerClock) -> dict[str, Any]:
    return {
        "server": _times_to_wire(clock.server),
        "client": _times_to_wire(clock.client),
        "reason": str(clock.reason),
    }


def _times_to_wire(times: StreamTimes | None) -> dict[str, Any] | None:
    if times is None:
        return None
    return {
        "requests": int(times.requests),
        "ttft_mean_s": to_number(times.ttft_mean),
        "decode_s": to_number(times.decode),
        "gaps": int(times.gaps),
        "gap_mean_s": to_number(times.gap_mean),
    }


def _windows_to_wire(measurement: Measurement) -> list[dict[str, Any]]:
    """The windows inside a test; what is known of the whole test only is left out of their readings."""
    metrics = [metric for metric in list_metrics(measurement) if not metric.source.covers_whole_test]
    return [
        {
            "name": str(window.name),
            "start_ms": to_milliseconds(window.start_ns, measurement.window.start_ns),
            "seconds": to_number(window.seconds),
            **readings_to_wire(metrics, measurement.cut(window)),
        }
        for window in measurement.windows
    ]
