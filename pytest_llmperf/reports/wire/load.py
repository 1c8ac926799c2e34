"""Loads, searches for the highest rate and sweeps as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.wire.numbers import ROUGH, to_milliseconds, to_number

if TYPE_CHECKING:
    from pytest_llmperf.measurement.capacity.result import CapacityResult, MeasuredPoint, SweepResult
    from pytest_llmperf.measurement.load import ClientHealth, Lag, Load, Spread
    from pytest_llmperf.measurement.window import Window


def load_to_wire(load: Load, start_ns: int) -> dict[str, Any]:
    """A load as plain data, of exact builtin types only; moments are ms from ``start_ns``."""
    return {
        "asked": str(load.asked),
        "steady": None if load.steady is None else _window(load.steady, start_ns),
        "stretches": [_window(span, start_ns) for span in load.stretches],
        "fault": str(load.fault),
        "stopped": str(load.stopped),
        "max_error_rate": to_number(load.max_error_rate),
        "prompt_tokens": {"asked": _spread(load.prompt_asked), "came": _spread(load.prompt_came)},
        "output_tokens": {"asked": _spread(load.output_asked), "came": _spread(load.output_came)},
        "full_answers": int(load.full_answers),
        "client": None if load.health is None else _health(load.health),
    }


def _window(window: Window, start_ns: int) -> dict[str, float | None]:
    return {"start_ms": to_milliseconds(window.start_ns, start_ns), "seconds": to_number(window.seconds)}


def _spread(spread: Spread | None) -> dict[str, float | None] | None:
    if spread is None:
        return None
    return {
        "min": to_number(spread.least),
        "mean": to_number(spread.mean),
        "max": to_number(spread.most),
        "count": int(spread.count),
    }


def _health(health: ClientHealth) -> dict[str, Any]:
    return {
        "event_loop": str(health.event_loop),
        "cpu_share": to_number(health.cpu_share, ROUGH),
        "connections": int(health.connections),
        "loop_lag_s": lag_to_wire(health.loop_lag),
        "schedule_lag_s": lag_to_wire(health.schedule_lag),
    }


def lag_to_wire(lag: Lag | None) -> dict[str, float | None] | None:
    """Percentiles of a lag as plain data, in seconds; None for None."""
    if lag is None:
        return None
    return {
        name: to_number(seconds, ROUGH)
        for name, seconds in (("p50", lag.p50), ("p90", lag.p90), ("p99", lag.p99), ("max", lag.most))
    }


def capacity_to_wire(result: CapacityResult) -> dict[str, Any]:
    """A search as plain data, of exact builtin types only."""
    return {
        "asked": str(result.asked),
        "conditions": [str(text) for text in result.conditions],
        "limits": {str(name): to_number(value) for name, value in result.limits.items()},
        "rate": to_number(result.rate),
        "low": to_number(result.low),
        "high": to_number(result.high),
        "requests": int(result.requests),
        "seconds": to_number(result.seconds),
        "ended": str(result.ended),
        "bounded": str(result.bounded),
        "fault": str(result.fault),
        "missing": str(result.missing),
        "curve": [_point_to_wire(point) for point in result.curve],
    }


def sweep_to_wire(result: SweepResult) -> dict[str, Any]:
    """A sweep as plain data, of exact builtin types only."""
    return {"asked": str(result.asked), "curve": [_point_to_wire(point) for point in result.curve]}


def _point_to_wire(point: MeasuredPoint) -> dict[str, Any]:
    return {
        "rate": to_number(point.rate),
        "concurrency": None if point.concurrency is None else int(point.concurrency),
        "requests": int(point.requests),
        "failed": int(point.failed),
        "seconds": to_number(point.seconds),
        "values": {str(name): to_number(value) for name, value in point.values.items()},
        "bounds": {
            str(name): [to_number(low, ROUGH), to_number(high, ROUGH)] for name, (low, high) in point.bounds.items()
        },
        "in_flight": to_number(point.in_flight, ROUGH),
        "drain_s": to_number(point.drain_s, ROUGH),
        "left_out": str(point.left_out),
    }
