"""A load as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.wire.numbers import ROUGH, to_milliseconds, to_number

if TYPE_CHECKING:
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
