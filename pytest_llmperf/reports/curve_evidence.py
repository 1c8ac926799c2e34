"""Searches for the highest rate and sweeps in labelled sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import (
    BYTES,
    REQUESTS_PER_SECOND,
    SECONDS,
    TOKENS_PER_SECOND,
    format_value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.measurement.units import Quantity

_MOST_POINTS = 12
_QUANTITIES: dict[str, Quantity] = {
    "throughput.requests": REQUESTS_PER_SECOND,
    "throughput.goodput": REQUESTS_PER_SECOND,
    "throughput.output": TOKENS_PER_SECOND,
    "memory.kv_cache": BYTES,
}


def collect_curve_evidence(measurement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a label and a sentence about the searches and sweeps of a measurement in its wire form."""
    for search in measurement.get("capacities", ()):
        yield from (("capacity", text) for text in _describe_search(search))
        yield from _list_points(search["curve"])
    for sweep in measurement.get("sweeps", ()):
        yield "sweep", sweep["asked"]
        yield from _list_points(sweep["curve"])


def describe_rate(search: Mapping[str, Any]) -> str:
    """``7.1 req/s (6.8 to 7.4)``; ``at least 7.1 req/s`` for a lower bound, ``no rate`` where it is not known."""
    rate = search["rate"]
    if rate is None:
        return "no rate"
    text = format_value(rate, REQUESTS_PER_SECOND)
    if search.get("bounded"):
        return f"at least {text}"
    low, high = search.get("low"), search.get("high")
    return text if not rate or low is None or high is None else f"{text} ({low:.3g} to {high:.3g})"


def thin_out(curve: Sequence[Mapping[str, Any]], most: int = _MOST_POINTS) -> list[Mapping[str, Any]]:
    """So many points of a curve, the first and the last among them, and about evenly apart."""
    if len(curve) <= most:
        return list(curve)
    places = dict.fromkeys(round(at * (len(curve) - 1) / (most - 1)) for at in range(most))
    return [curve[place] for place in places]


def describe_place(point: Mapping[str, Any]) -> str:
    """Where a point lies: ``6.03 req/s`` or ``8 at a time``."""
    if point.get("rate") is not None:
        return format_value(point["rate"], REQUESTS_PER_SECOND)
    return "at the times of its trace" if point.get("concurrency") is None else f"{point['concurrency']} at a time"


def describe_value(name: str, value: float) -> str:
    """A value of a point with its unit."""
    return format_value(value, _QUANTITIES.get(name, SECONDS))


def _describe_search(search: Mapping[str, Any]) -> Iterator[str]:
    conditions = " and ".join(search["conditions"])
    yield f"{describe_rate(search)} with {conditions or 'no limit to hold'}; {search['asked']}"
    seconds = format_value(search["seconds"], SECONDS)
    ended = f"; it ended because {search['ended']}" if search["ended"] else ""
    yield f"{search['requests']} requests in {seconds}{ended}"


def _list_points(curve: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    shown = thin_out(curve)
    for point in shown:
        values = [f"{name.partition('.')[2]} {describe_value(name, v)}" for name, v in point["values"].items() if v]
        values.append(f"{point['in_flight']:.3g} in flight")
        values += [f"{point['failed']} of {point['requests']} failed"] if point["failed"] else []
        values += [f"not used: {point['left_out']}"] if point["left_out"] else []
        yield "curve", f"{describe_place(point)}: {', '.join(values)}"
    if len(shown) < len(curve):
        yield "curve", f"{len(shown)} of {len(curve)} points; the JSON report has all of them"
