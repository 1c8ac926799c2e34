"""The currency of the costs in a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import PRICE

if TYPE_CHECKING:
    from collections.abc import Mapping


def find_currency(metrics: Mapping[str, Any]) -> str:
    """By what a report says of its metrics; empty for a run that knew no prices."""
    unit = str(metrics.get("cost.total", {}).get("unit", ""))
    return "" if unit == PRICE.base else unit
