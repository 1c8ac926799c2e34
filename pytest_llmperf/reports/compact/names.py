"""What the name of a reading says: its metric, and how that is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_REST = "…"


def find_base(name: str, metrics: Mapping[str, Any]) -> str:
    """The metric of a reading: ``latency.ttft`` of ``latency.ttft_p99_9``; the name itself if it is of none."""
    base = name
    while base and base not in metrics:
        base = base.rpartition("_")[0]
    return base or name


def shorten_how(how: str, name: str, metrics: Mapping[str, Any]) -> str:
    """How a value was measured, with ``…`` in place of the formula of its metric at its beginning."""
    formula = _find_formula(name, metrics)
    return _REST + how.removeprefix(formula) if formula and how.startswith(formula) else how


def lengthen_how(how: str, name: str, metrics: Mapping[str, Any]) -> str:
    """The text that :func:`shorten_how` made ``how`` of."""
    return _find_formula(name, metrics) + how.removeprefix(_REST) if how.startswith(_REST) else how


def _find_formula(name: str, metrics: Mapping[str, Any]) -> str:
    return str(metrics.get(find_base(name, metrics), {}).get("formula", ""))
