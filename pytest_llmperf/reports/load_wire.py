"""A load in its wire form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_llmperf.measurement.load import ClientHealth, Lag, Load, Spread
    from pytest_llmperf.measurement.window import Window


def load_to_wire(load: Load, start_ns: int) -> dict[str, Any]:
    """A load as plain data, of exact builtin types only; moments are ms from ``start_ns``."""
    return {
        "asked": str(load.asked),
        "steady": None if load.steady is None else _window(load.steady, start_ns),
        "stretches": [_window(span, start_ns) for span in load.spans],
        "fault": str(load.fault),
        "stopped": str(load.stopped),
        "max_error_rate": float(load.max_error_rate),
        "prompt_tokens": {"asked": _spread(load.prompt_asked), "came": _spread(load.prompt_came)},
        "output_tokens": {"asked": _spread(load.output_asked), "came": _spread(load.output_came)},
        "full_answers": int(load.full_answers),
        "client": None if load.health is None else _health(load.health),
    }


def _window(window: Window, start_ns: int) -> dict[str, float]:
    return {"start_ms": round((window.start_ns - start_ns) / 1e6, 3), "seconds": float(window.seconds)}


def _spread(spread: Spread | None) -> dict[str, float] | None:
    if spread is None:
        return None
    return {"min": float(spread.least), "mean": float(spread.mean), "max": float(spread.most), "count": spread.count}


def _health(health: ClientHealth) -> dict[str, Any]:
    return {
        "event_loop": str(health.event_loop),
        "cpu_share": float(health.cpu_share),
        "connections": int(health.connections),
        "loop_lag_s": lag_to_wire(health.loop_lag),
        "schedule_lag_s": lag_to_wire(health.schedule_lag),
    }


def lag_to_wire(lag: Lag | None) -> dict[str, float] | None:
    """Percentiles of a lag as plain data, in seconds; None for None."""
    if lag is None:
        return None
    return {"p50": float(lag.p50), "p90": float(lag.p90), "p99": float(lag.p99), "max": float(lag.most)}
