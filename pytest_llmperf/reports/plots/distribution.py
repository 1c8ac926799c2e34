"""The distribution of a latency, with the limited percentiles, how sure these are, and their limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import find_quantity, format_value
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.reports.plots.scale import Scale, fit_scale, list_ticks
from pytest_llmperf.reports.plots.svg import (
    Canvas,
    measure_text,
    trace,
    trace_across,
    trace_area,
    trace_dots,
    trace_upright,
)
from pytest_llmperf.reports.wire.histogram import list_buckets, percentile_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict

WIDTH = 340
_LEFT, _RIGHT = 8.0, 332.0
_TOP, _FLOOR = 34.0, 84.0
_ROW = 17.0
_SINGLE = 20
"""Up to so many samples are drawn one by one; more as a histogram."""
_LOG_FROM = 30.0
_SHOWN = (50.0, 95.0, 99.0)


def draw_distribution(
    metric: str, distribution: Mapping[str, Any], verdicts: Sequence[Verdict], unit: str = "s"
) -> str:
    """The values of a metric of a test; empty without a value.

    Args:
        metric: its name, ``latency.ttft``.
        distribution: its part of the wire form's ``distributions``.
        verdicts: all of the test; those on this metric are drawn.
        unit: the base unit of the metric.
    """
    quantity = find_quantity(unit)
    histogram = distribution["histogram"]
    buckets = [bucket for bucket in list_buckets(histogram) if bucket[1] > 0]
    judged = [verdict for verdict in verdicts if verdict.metric == metric]
    if not buckets and not histogram["zeros"]:
        return ""
    scale = _fit(buckets, judged)
    canvas = Canvas(WIDTH, _FLOOR + 16 + _ROW * len(judged) + (4 if judged else 0))
    count = int(distribution["count"])
    canvas.add_text((_LEFT, 11), metric, "h")
    summary = _summarize(distribution, quantity)
    canvas.add_text((_LEFT, 25), summary)
    if count <= _SINGLE:
        _draw_singles(canvas, scale, buckets)
    else:
        _draw_columns(canvas, scale, buckets, count)
    canvas.add_path("a", trace_across([(_LEFT, _RIGHT, _FLOOR)]))
    for tick in list_ticks(scale, quantity, 5):
        canvas.add_path("a", trace_upright([(scale.place(tick.value), _FLOOR, _FLOOR + 3)]))
        canvas.add_text((scale.place(tick.value), _FLOOR + 13), tick.label, "m")
    told = [_draw_verdict(canvas, scale, verdict, _FLOOR + 28 + _ROW * row) for row, verdict in enumerate(judged)]
    return canvas.render(f"Distribution of {metric}", " ".join([f"{summary}.", *told]))


def _fit(buckets: Sequence[tuple[float, float, int]], verdicts: Sequence[Verdict]) -> Scale:
    bounds = [bound for low, high, _ in buckets for bound in (low, high)] or [0.0, 1.0]
    low, high = min(bounds), max(bounds)
    marks = [
        mark
        for verdict in verdicts
        for mark in (
            verdict.measured,
            verdict.limit,
            *((verdict.interval.low, verdict.interval.high) if verdict.interval else ()),
        )
        if mark is not None and low / 3 <= mark <= high * 3
    ]
    is_log = low > 0 and high / low >= _LOG_FROM
    return fit_scale([*bounds, *marks], _LEFT, _RIGHT, is_log=is_log)


def _summarize(distribution: Mapping[str, Any], quantity: Any) -> str:
    count, requests = int(distribution["count"]), int(distribution["requests"])
    parts = [f"{requests:,} request{'' if requests == 1 else 's'}"]
    if count != requests:
        parts.append(f"{count:,} values")
    zeros = int(distribution["histogram"]["zeros"])
    if zeros:
        parts.append(f"{zeros:,} of 0")
    known = [percent for percent in _SHOWN if requests >= Statistic(percent).minimum]
    for percent in known:
        value = percentile_of(distribution["histogram"], percent)
        if value is not None:
            parts.append(f"p{percent:.0f} {format_value(value, quantity)}")
    if not known:
        parts.append(f"mean {format_value(distribution['mean'], quantity)}")
    return " · ".join(parts)


def _draw_singles(canvas: Canvas, scale: Scale, buckets: Sequence[tuple[float, float, int]]) -> None:
    highest = max((count for _, _, count in buckets), default=1)
    step = min(9.0, (_FLOOR - _TOP - 8) / highest)
    dots = [
        (scale.place((low * high) ** 0.5), _FLOOR - 6 - step * place)
        for low, high, count in buckets
        for place in range(count)
    ]
    canvas.add_path("o", trace_dots(dots))


def _draw_columns(canvas: Canvas, scale: Scale, buckets: Sequence[tuple[float, float, int]], count: int) -> None:
    columns = max(8, min(60, round(3 * count ** (1 / 3))))
    edges = [_LEFT + (_RIGHT - _LEFT) * place / columns for place in range(columns + 1)]
    heights = _spread(scale, buckets, columns)
    tallest = max(heights) or 1.0
    outline = []
    for place, height in enumerate(heights):
        y = _FLOOR - (_FLOOR - _TOP) * height / tallest
        outline += [(edges[place], y), (edges[place + 1], y)]
    canvas.add_path("f", trace_area(outline, _FLOOR))
    canvas.add_path("l", trace(outline))


def _spread(scale: Scale, buckets: Sequence[tuple[float, float, int]], columns: int) -> list[float]:
    """The number of values in each of so many columns of equal width; a bucket over several is divided."""
    width = (scale.end - scale.start) / columns
    found = [0.0] * columns
    for low, high, count in buckets:
        start, end = (scale.place(bound) - scale.start for bound in (low, high))
        first, last = min(columns - 1, int(start / width)), min(columns - 1, int(end / width))
        if first == last or end <= start:
            found[first] += count
            continue
        for place in range(first, last + 1):
            inside = min(end, width * (place + 1)) - max(start, width * place)
            found[place] += count * max(0.0, inside) / (end - start)
    return found


def _draw_verdict(canvas: Canvas, scale: Scale, verdict: Verdict, y: float) -> str:
    text = _describe(verdict)
    interval = verdict.interval
    ends = [_LEFT]
    if interval is not None and verdict.measured is not None:
        low = scale.low if interval.low is None else interval.low
        high = scale.high if interval.high is None else interval.high
        canvas.add_path("i", trace_across([(scale.place(low), scale.place(high), y)]))
        ends.append(scale.place(high))
    if verdict.measured is not None:
        canvas.add_path("o", trace_dots([(scale.place(verdict.measured), y)]))
        ends.append(scale.place(verdict.measured))
    if verdict.limit is not None and scale.holds(verdict.limit):
        canvas.add_path("L", trace_upright([(scale.place(verdict.limit), _TOP, y + 6)]))
        ends.append(scale.place(verdict.limit))
    css = "x" if verdict.status.value == "FAIL" else "k"
    right = max(ends) + 6
    if right + measure_text(text) <= WIDTH:
        canvas.add_text((right, y + 4), text, css)
    else:
        first = min(ends[1:], default=_RIGHT)
        canvas.add_text((first - 8, y + 4), text, f"e {css}")
    return f"{verdict.title} {verdict.measured_text}, limit {verdict.limit_text}: {verdict.status.value}."


def _describe(verdict: Verdict) -> str:
    statistic = verdict.name.removeprefix(f"{verdict.metric}_")
    sign = "≤" if verdict.better == "lower" else "≥"
    around = f" ({verdict.interval_text})" if verdict.interval_text else ""
    return f"{statistic} {verdict.measured_text}{around} {sign} {verdict.limit_text}"
