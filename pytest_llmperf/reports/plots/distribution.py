"""The distribution of a latency, with the limited percentiles, how sure these are, and their limits."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import find_quantity, format_value
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.reports.plots.levels import tell_limit
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import (
    Canvas,
    measure_text,
    shorten,
    trace_across,
    trace_dots,
    trace_steps,
    trace_upright,
)
from pytest_llmperf.reports.wire.histogram import list_buckets, percentile_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.units import Quantity

    Buckets = Sequence[tuple[float, float, int]]

WIDTH = 340
_LEFT, _RIGHT = 6, 334
_TOP, _FLOOR = 32, 82
_ROWS = _FLOOR + 17
_ROW, _LINE = 15, 12
_SINGLE = 20
"""Up to so many values are drawn one by one; more as a histogram."""
_LOG_FROM = 12.0
_NARROWEST = 1.1
"""The largest value of an axis by its smallest one is at least this."""
_NEAR = 2.5
"""A mark that is not so many times as far as the values lies on the axis; one further away is named only."""
_SHOWN = (50.0, 95.0, 99.0)
_NO_READINGS: Mapping[str, Any] = MappingProxyType({})


def draw_distribution(
    metric: str,
    distribution: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    unit: str = "s",
    readings: Mapping[str, Any] = _NO_READINGS,
) -> str:
    """The values of a metric of a test; empty with fewer than two, which a figure tells as well.

    Args:
        metric: its name, ``latency.ttft``.
        distribution: its part of the wire form's ``distributions``.
        verdicts: all of the test; those on this metric are drawn.
        unit: the base unit of the metric.
        readings: of the test, in the wire form. A percentile that is not among them is read off the histogram.
    """
    quantity, count = find_quantity(unit), int(distribution["count"])
    buckets = [bucket for bucket in list_buckets(distribution["histogram"]) if bucket[1] > 0]
    if count < 2 or not buckets:
        return ""
    judged = [verdict for verdict in verdicts if verdict.metric == metric and verdict.limit is not None]
    scale = _fit(buckets, judged)
    heights = [_ROW if _find_side(scale, verdict) else _ROW + _LINE for verdict in judged]
    canvas = Canvas(WIDTH, _ROWS + sum(heights) - (2 if judged else 0))
    counted = _count(distribution)
    canvas.add_text(counted, "e", (_RIGHT, 10))
    canvas.add_text(shorten(metric, _RIGHT - _LEFT - measure_text(counted) - 8), "h", (_LEFT, 10))
    exact = {name.removeprefix(f"{metric}_"): reading["value"] for name, reading in readings.items()}
    summary = _summarize(distribution, quantity, exact)
    canvas.add_text(summary, "", (_LEFT, 23))
    if count <= _SINGLE:
        _draw_singles(canvas, scale, buckets)
    else:
        _draw_columns(canvas, scale, buckets, count)
    ticks = [(scale.place(tick.value), tick.label) for tick in list_ticks(scale, quantity, 5)]
    axis = trace_across([(_LEFT, _RIGHT, _FLOOR)]) + trace_upright((x, _FLOOR, _FLOOR + 3) for x, _ in ticks)
    canvas.add_path("a", axis)
    canvas.add_row(_FLOOR + 13, ticks)
    y = _ROWS + _ROW // 2
    for verdict, height in zip(judged, heights, strict=True):
        _draw_verdict(canvas, scale, verdict, y)
        y += height
    told = [f"{counted}: {summary}.", *map(tell_limit, judged)]
    return canvas.render(f"Distribution of {metric}", " ".join(told))


def _fit(buckets: Buckets, verdicts: Sequence[Verdict]) -> Scale:
    """An axis of all values above zero, and of the marks of the verdicts that lie near them."""
    low, high = buckets[0][0], buckets[-1][1]
    marks = [mark for verdict in verdicts for mark in (verdict.limit, *_list_bounds(verdict)) if mark is not None]
    shown = [low, high, *(mark for mark in marks if low / _NEAR <= mark <= high * _NEAR)]
    if max(shown) < min(shown) * _NARROWEST:
        middle = math.sqrt(min(shown) * max(shown))
        shown += [middle / math.sqrt(_NARROWEST), middle * math.sqrt(_NARROWEST)]
    return fit_scale(shown, _LEFT, _RIGHT, is_log=high >= _LOG_FROM * low)


def _list_bounds(verdict: Verdict) -> list[float | None]:
    """The measured value between its bounds."""
    interval = verdict.interval
    return [interval.low if interval else None, verdict.measured, interval.high if interval else None]


def _count(distribution: Mapping[str, Any]) -> str:
    count, requests = int(distribution["count"]), int(distribution["requests"])
    counted = f"{requests:,} request{'' if requests == 1 else 's'}"
    return counted if count == requests else f"{count:,} values of {counted}"


def _summarize(distribution: Mapping[str, Any], quantity: Quantity, exact: Mapping[str, float]) -> str:
    """The percentiles that there are enough requests for, or else the mean; and how many values are zero."""
    histogram, requests = distribution["histogram"], int(distribution["requests"])
    percents = [percent for percent in _SHOWN if requests >= Statistic(percent).minimum]
    values = [(percent, exact.get(f"p{percent:.0f}", percentile_of(histogram, percent))) for percent in percents]
    parts = [f"p{percent:.0f} {format_value(value, quantity)}" for percent, value in values if value is not None]
    if not parts:
        parts = [f"mean {format_value(distribution['mean'], quantity)}"]
    if histogram["zeros"]:
        parts.append(f"{histogram['zeros']:,} {'is' if histogram['zeros'] == 1 else 'are'} zero")
    return " · ".join(parts)


def _draw_singles(canvas: Canvas, scale: Scale, buckets: Buckets) -> None:
    """Each value as a dot; equal ones stand on one another."""
    heights: dict[int, int] = {}
    dots = []
    for low, high, count in buckets:
        x = round(scale.place(math.sqrt(low * high)))
        column = x // 5
        for _ in range(count):
            heights[column] = heights.get(column, 0) + 1
            dots.append((x, max(_TOP, _FLOOR - 5.0 * heights[column] + 1)))
    canvas.add_path("o", trace_dots(dots))


def _draw_columns(canvas: Canvas, scale: Scale, buckets: Buckets, count: int) -> None:
    """The histogram as an outline over the area below it."""
    columns = max(10, min(40, round(3 * count ** (1 / 3))))
    counts = _spread(scale, buckets, columns)
    heights = [_FLOOR - (_FLOOR - _TOP) * held / max(counts) for held in counts]
    edges = [_LEFT + (_RIGHT - _LEFT) * place / columns for place in range(columns + 1)]
    first = next(place for place, held in enumerate(counts) if held)
    last = max(place for place, held in enumerate(counts) if held)
    steps = [(edges[place], heights[place]) for place in range(first, last + 1)]
    outline = [(edges[first], _FLOOR), *steps, (edges[last + 1], heights[last]), (edges[last + 1], _FLOOR)]
    canvas.add_path("l f", trace_steps(outline))


def _spread(scale: Scale, buckets: Buckets, columns: int) -> list[float]:
    """The number of values in each of so many columns of equal width; a bucket over several is divided."""
    width = (scale.end - scale.start) / columns
    found = [0.0] * columns
    for low, high, count in buckets:
        start, end = (scale.place(bound) - scale.start for bound in (low, high))
        first, last = min(columns - 1, int(start / width)), min(columns - 1, int(end / width))
        for place in range(first, last + 1):
            inside = min(end, width * (place + 1)) - max(start, width * place)
            found[place] += count * max(0.0, inside) / (end - start)
    return found


# -------------------------------------------------------------------------------------------------- verdicts


def _draw_verdict(canvas: Canvas, scale: Scale, verdict: Verdict, y: float) -> None:
    """The interval as a bar, the value as a dot on it, the limit as a dashed line down from the histogram."""
    if verdict.measured is not None:
        low, _, high = _list_bounds(verdict)
        if verdict.interval is not None:
            ends = (scale.low if low is None else low, scale.high if high is None else high)
            canvas.add_path("i", trace_across([(scale.place(ends[0]), scale.place(ends[1]), y)]))
        canvas.add_path("o", trace_dots([(round(scale.place(verdict.measured)), y)]))
    if verdict.limit is not None and scale.holds(verdict.limit):
        x = scale.place(verdict.limit)
        canvas.add_path("L", trace_upright([(x, _TOP - 2, y + 6)]))
    css = "x" if verdict.status is Status.FAIL else "k"
    match _find_side(scale, verdict):
        case (x, ""):
            canvas.add_text(_describe(verdict), css, (x, y + 4))
        case (x, anchor):
            canvas.add_text(_describe(verdict), f"{anchor} {css}", (x, y + 4))
        case None:
            canvas.add_text(_describe(verdict), css, (_LEFT, y + 4 + _LINE))


def _find_side(scale: Scale, verdict: Verdict) -> tuple[float, str] | None:
    """Where the text of a verdict stands beside its marks, with the class of its anchor; None if it has no room."""
    marks = [mark for mark in (*_list_bounds(verdict), verdict.limit) if mark is not None]
    low, _, high = _list_bounds(verdict)
    places = [scale.place(mark) for mark in marks if scale.holds(mark)]
    if verdict.interval is not None:
        places += [scale.start] * (low is None) + [scale.end] * (high is None)
    if verdict.measured is None or not places:
        return _LEFT, ""
    width = measure_text(_describe(verdict))
    if max(places) + 6 + width <= _RIGHT:
        return max(places) + 6, ""
    if min(places) - 6 - width >= _LEFT:
        return min(places) - 6, "e"
    return None


def _describe(verdict: Verdict) -> str:
    """``p95 281 ms (268 to 303) ≤ 300 ms``, with the sign between them that is true; the status if it is no PASS."""
    statistic = verdict.name.removeprefix(f"{verdict.metric}_")
    if verdict.measured is None:
        return f"{statistic} {verdict.status.value}, limit {verdict.limit_text}"
    around = f" ({verdict.interval_text})" if verdict.interval_text else ""
    failed = verdict.margin is not None and verdict.margin < 0
    sign = {("lower", False): "≤", ("lower", True): ">", ("higher", False): "≥", ("higher", True): "<"}
    status = "" if verdict.status is Status.PASS else f" {verdict.status.value}"
    return f"{statistic} {verdict.measured_text}{around} {sign[verdict.better, failed]} {verdict.limit_text}{status}"
