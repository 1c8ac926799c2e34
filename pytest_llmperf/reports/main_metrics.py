"""Which metrics stand for a test that limits none, and what tests record themselves as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAIN = (
    ("latency.ttft_p50", "latency.ttft_max"),
    ("latency.tpot_p50", "latency.tpot_max"),
    ("throughput.output",),
    ("latency.embed_p50", "latency.embed_max"),
    ("latency.rank_p50", "latency.rank_max"),
    ("throughput.inputs",),
    ("memory.peak",),
    ("memory.required",),
    ("energy.per_output_token",),
    ("cost.per_million_output",),
)
"""Of each row the first name that has a value: percentiles need more requests than the maximum."""


def choose_main(measurement: Mapping[str, Any]) -> list[str]:
    """The main metrics that a measurement in its wire form has a reading of."""
    readings = measurement.get("readings", {})
    found = (next((name for name in names if name in readings), "") for names in MAIN)
    return [name for name in found if name]


def read_records(measurement: Mapping[str, Any]) -> dict[str, tuple[float, str]]:
    """Value and unit of what a test recorded itself, by name; the last of each name."""
    found = measurement.get("records") or ()
    return {one["name"]: (one["value"], one["unit"]) for one in found if one["value"] is not None}


def format_recorded(value: float, unit: str) -> str:
    """``0.83``, ``12.5 °C``: with up to six significant digits, and the unit as the test gave it."""
    return f"{value:.6g}" if unit == "1" else f"{value:.6g} {unit}".rstrip()
