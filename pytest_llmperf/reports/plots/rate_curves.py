"""What a search for the highest rate or a sweep measured: each of its main metrics over the rate, engine by engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import REQUESTS_PER_SECOND, SECONDS, TOKENS_PER_SECOND
from pytest_llmperf.reports.plots.curves import COUNT, Axis, Curve, CurvePoint, draw_curves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.units import Quantity

    Measured = Sequence[tuple[str, Mapping[str, Any]]]

_USUAL = ("latency.ttft_p95", "latency.tpot_p50")
_GOODPUT = "throughput.goodput"


def draw_rate_curves(measurements: Measured) -> Iterator[str]:
    """The plots of the searches and sweeps of one test, from pairs of an engine and its measurement in the wire form.

    Engines are beside each other where they have the same kind of curve.
    """
    searches = [(label, one["capacities"][0]) for label, one in measurements if one.get("capacities")]
    if searches:
        limits = dict(searches[0][1].get("limits", {}))
        names = [*limits, *(name for name in _USUAL if name not in limits), _GOODPUT]
        curves = [(label, search.get("curve", ())) for label, search in searches]
        yield from _draw_names(curves, names, limits, "rate")
    most = max((len(one.get("sweeps", ())) for _, one in measurements), default=0)
    for number in range(most):
        swept = [
            (label, one["sweeps"][number]["curve"])
            for label, one in measurements
            if len(one.get("sweeps", ())) > number
        ]
        first = swept[0][1]
        over = "rate" if first and first[0].get("rate") is not None else "concurrency"
        yield from _draw_names(swept, [*_USUAL, _GOODPUT, "throughput.output"], {}, over)


def _draw_names(
    curves: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    names: Sequence[str],
    limits: Mapping[str, float],
    over: str,
) -> Iterator[str]:
    x = Axis("rate", REQUESTS_PER_SECOND) if over == "rate" else Axis("requests at a time", COUNT)
    for name in names:
        drawn = [Curve(label, list(_list_points(curve, name, over))) for label, curve in curves]
        yield draw_curves(drawn, x, Axis(name, _find_quantity(name)), limits.get(name))


def _find_quantity(name: str) -> Quantity:
    if name == "throughput.output":
        return TOKENS_PER_SECOND
    return SECONDS if name.startswith("latency.") else REQUESTS_PER_SECOND


def _list_points(curve: Sequence[Mapping[str, Any]], name: str, over: str) -> Iterator[CurvePoint]:
    for point in curve:
        value, place = point["values"].get(name), point.get(over)
        if value is not None and place is not None and not point.get("left_out"):
            low, high = point.get("bounds", {}).get(name, (None, None))
            yield CurvePoint(place, value, low, high)
