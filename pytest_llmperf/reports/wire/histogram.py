"""Histograms with buckets of equal ratio, as plain data: small, good for any percentile to 1 %, and easy to merge.

``{"lowest": 231, "step": 1, "counts": [3, 1, -4, 2], "zeros": 0}``: bucket ``i`` holds the values from
``1.01 ** (lowest + i * step)`` up to ``1.01 ** (lowest + (i + 1) * step)`` in the base unit of the metric. A negative
count ``-k`` stands for k empty buckets. Values of zero and below, which have no such bucket, are counted in ``zeros``.
"""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pytest_llmperf.measurement.distribution import Distribution

BASE = 1.01
MOST_CHARACTERS = 900
"""Of a histogram in JSON. One that has more gets buckets of twice the step, as often as it takes."""


def make_histogram(values: Distribution) -> dict[str, Any]:
    """The histogram of a distribution."""
    found: dict[int, int] = {}
    done = zeros = values.count_below(math.nextafter(0.0, 1.0))
    while done < values.count:
        place = _find_place(values.value_at(done + 1))
        upto = values.count_below(BASE ** (place + 1))
        found[place], done = upto - done, upto
    return _to_histogram(found, 1, zeros)


def merge_histograms(histograms: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The histogram of all values together, with the largest step of them."""
    merged = list(histograms)
    step = max((histogram["step"] for histogram in merged), default=1)
    found: dict[int, int] = {}
    for histogram in merged:
        for place, count in _list_places(histogram):
            found[place // step * step] = found.get(place // step * step, 0) + count
    return _to_histogram(found, step, sum(histogram["zeros"] for histogram in merged))


def list_buckets(histogram: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """Least and largest value of each bucket that is not empty, and the number of values in it, in ascending order."""
    zeros = [(0.0, 0.0, int(histogram["zeros"]))] if histogram["zeros"] else []
    places = _list_places(histogram)
    return zeros + [(BASE**place, BASE ** (place + histogram["step"]), count) for place, count in places]


def percentile_of(histogram: Mapping[str, Any], percent: float) -> float | None:
    """A percentile by nearest rank, to half a bucket; None of an empty histogram.

    It is within 0.5 % of the exact one with a ``step`` of 1, and within 1 % with a step of 2.
    """
    buckets = list_buckets(histogram)
    upto = list(accumulate(count for _, _, count in buckets))
    if not upto:
        return None
    rank = max(1, math.ceil(round(percent / 100 * upto[-1], 9)))
    low, high, _ = next(bucket for bucket, last in zip(buckets, upto, strict=True) if last >= rank)
    return math.sqrt(low * high)


def _find_place(value: float) -> int:
    place = math.floor(math.log(value) / math.log(BASE))
    while BASE ** (place + 1) <= value:  # the logarithm is not exact
        place += 1
    while BASE**place > value:
        place -= 1
    return place


def _list_places(histogram: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Place and count of each bucket that is not empty."""
    place = int(histogram["lowest"])
    for count in histogram["counts"]:
        if count > 0:
            yield place, int(count)
        place += histogram["step"] * max(1, -count)


def _to_histogram(found: Mapping[int, int], step: int, zeros: int) -> dict[str, Any]:
    counts = _write_counts(found, step)
    while sum(len(str(count)) + 1 for count in counts) > MOST_CHARACTERS:
        step *= 2
        wider: dict[int, int] = {}
        for place, count in found.items():
            wider[place // step * step] = wider.get(place // step * step, 0) + count
        found, counts = wider, _write_counts(wider, step)
    return {"lowest": min(found, default=0), "step": step, "counts": counts, "zeros": int(zeros)}


def _write_counts(found: Mapping[int, int], step: int) -> list[int]:
    counts: list[int] = []
    expected = None
    for place in sorted(found):
        if expected is not None and place > expected:
            counts.append(-((place - expected) // step))
        counts.append(int(found[place]))
        expected = place + step
    return counts
