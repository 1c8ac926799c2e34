"""What a value is computed from, as far as it tells how far the value may be from the truth.

The unit of evidence is what may be taken to be independent: not the tokens of one request, but the requests.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, overload

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming

MOST_SLICES = 20
REQUESTS_PER_SLICE = 4
ENOUGH_ROUNDS = 4
MOST_TURNS = 256


@dataclass(frozen=True)
class RequestValues:
    """Evidence of a percentile: what each request gave, in the order of sending.

    Attributes:
        values: of each request its values in the base unit of the metric; requests that gave none are left out.
        is_per_request: whether each request gives a single value at most.
        strata: which engine each of these requests was sent to, if there were several: engines differ by intention.
    """

    values: Sequence[Sequence[float]]
    is_per_request: bool
    strata: Sequence[int] | None = None

    @cached_property
    def ordered(self) -> Distribution:
        """All values together, by their rank."""
        return Distribution(self.values)

    @property
    def requests(self) -> int:
        """The number of requests that gave any."""
        return len(self.values)

    @property
    def count(self) -> int:
        """The number of values."""
        return self.ordered.count

    def bound_at(self, rank: int, _side: int) -> float:
        """The value of a rank, from 1, which is known exactly: it lies at both sides of itself."""
        return self.ordered.value_at(rank)

    def each_value(self) -> Iterator[float]:
        """All values, in the order of sending."""
        return itertools.chain.from_iterable(self.values)

    def share_above(self, value: float) -> float:
        """The share of values above this one."""
        return sum(1 for one in self.each_value() if one > value) / self.count


@dataclass(frozen=True)
class BinnedValues:
    """Evidence of a percentile as a report keeps it: how many values lie in each bucket.

    Attributes:
        buckets: least and largest value of each bucket in the base unit of the metric, and the number of values in it;
            in ascending order, none empty.
        requests: the number of requests that gave any value.
        effective: the number of independent values that all are worth.
    """

    buckets: Sequence[tuple[float, float, int]]
    requests: int
    effective: float

    @cached_property
    def _upto(self) -> list[int]:
        return list(itertools.accumulate(number for _, _, number in self.buckets))

    @property
    def count(self) -> int:
        """The number of values."""
        return self._upto[-1] if self.buckets else 0

    def bound_at(self, rank: int, side: int) -> float:
        """The least (``side`` 0) or the largest (1) that the value of a rank, from 1, can be."""
        return self.buckets[bisect_left(self._upto, rank)][side]

    def value_at(self, rank: int) -> float:
        """The value of a rank, to half a bucket."""
        return _find_middle(*self.buckets[bisect_left(self._upto, rank)][:2])

    def each_value(self) -> Iterator[float]:
        """All values in ascending order, each to half a bucket."""
        for low, high, number in self.buckets:
            yield from itertools.repeat(_find_middle(low, high), number)

    def share_above(self, value: float) -> float:
        """The share of values above this one, with half of those in its bucket."""
        above = sum(number if low >= value else number / 2 for low, high, number in self.buckets if high > value)
        return above / self.count


def _find_middle(low: float, high: float) -> float:
    return math.sqrt(low * high)


class ValuesOfRequests(Sequence[Sequence[float]]):
    """What each request gives of a metric, computed whenever it is asked for: long answers have very many gaps."""

    def __init__(
        self, requests: Sequence[RequestTiming], values_of: Callable[[RequestTiming], Sequence[float]]
    ) -> None:
        self._requests = requests
        self._values_of = values_of

    def __len__(self) -> int:
        return len(self._requests)

    @overload
    def __getitem__(self, at: int) -> Sequence[float]: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Sequence[float]]: ...

    def __getitem__(self, at: int | slice) -> Sequence[float] | Sequence[Sequence[float]]:
        if isinstance(at, slice):
            return ValuesOfRequests(self._requests[at], self._values_of)
        return self._values_of(self._requests[at])


@dataclass(frozen=True)
class RateUnits:
    """Evidence of a rate: what was counted in each unit, in the order of time.

    Attributes:
        counts: tokens or requests of each unit.
        spans: how long each unit took, in seconds.
        unit: ``slice`` of the steady part of a load, ``round`` of the test, or ``request``, of those one after another.
        strata: which load each unit is of, if a round had several.
        hits: of a rate that counts some requests only, 1 for each request that it counts and 0 for the others, in the
            order of sending; then ``counts`` has all of them. None for other rates.
    """

    counts: Sequence[float]
    spans: Sequence[float]
    unit: str
    strata: Sequence[int] | None = None
    hits: Sequence[float] | None = None

    @property
    def units(self) -> int:
        """The number of units."""
        return len(self.counts)


@dataclass(frozen=True)
class RateNoise:
    """Evidence of a rate as a report keeps it.

    Attributes:
        noise: the standard error of its logarithm.
        units: how many units it was counted in.
        effective: the number of independent units that they are worth.
        unit: as in :class:`RateUnits`.
    """

    noise: float
    units: int
    effective: float
    unit: str


@dataclass(frozen=True)
class SensorAccuracy:
    """Evidence of a value that a sensor gives: the share of it by which the sensor may be wrong."""

    share: float


@dataclass(frozen=True)
class Bounds:
    """Evidence of a value that is only known to lie between two others; None where nothing bounds that side."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class ShareUnits:
    """Evidence of a share: how many of each unit's values count.

    Attributes:
        hits: of each unit, how many of its values count; need not be whole.
        sizes: of each unit, the number of its values.
        unit: ``passage`` of a text, or ``answer``.
        are_independent: whether each value is evidence by itself, whatever its unit.
    """

    hits: Sequence[float]
    sizes: Sequence[float]
    unit: str
    are_independent: bool = False

    @property
    def units(self) -> int:
        """The number of units of evidence."""
        return round(sum(self.sizes)) if self.are_independent else len(self.sizes)


@dataclass(frozen=True)
class ShareCount:
    """Evidence of a share as a report keeps it.

    Attributes:
        units: how many units it was counted in.
        effective: the number of independent values that all are worth.
        unit: as in :class:`ShareUnits`.
    """

    units: int
    effective: float
    unit: str


Evidence = RequestValues | BinnedValues | RateUnits | RateNoise | ShareUnits | ShareCount | SensorAccuracy | Bounds


def count_in_units(
    measurement: Measurement, requests: Sequence[RequestTiming], count: Callable[[RequestTiming, Window], float]
) -> RateUnits | None:
    """What the requests give in each unit of the spans that are judged, by ``count``; None without a span.

    A request is only counted in units that it reaches into.
    """
    spans, unit = _divide(measurement)
    windows = [window for span in spans for window in span]
    if not windows:
        return None
    # Spans do not overlap, so that the units of all of them are in order of time.
    ends, counts = [window.end_ns for window in windows], [0.0] * len(windows)
    for request in requests:
        for at in range(bisect_left(ends, request.sent_ns), len(windows)):
            if windows[at].start_ns > request.end_ns:
                break
            counts[at] += count(request, windows[at])
    seconds = [window.seconds for window in windows]
    if unit == "round":
        rounds = [_find_round(window, measurement) for window in windows]
        return RateUnits(_sum_by(rounds, counts), _sum_by(rounds, seconds), unit)
    return RateUnits(counts, seconds, unit, _find_strata(measurement, spans, unit))


def find_engines(measurement: Measurement, requests: Sequence[RequestTiming]) -> list[int] | None:
    """The number of the engine that each request was sent to; None if the test had only one."""
    if len(measurement.parts) < 2:
        return None
    engines = {id(request): number for number, part in enumerate(measurement.parts) for request in part.requests}
    return [engines.get(id(request), 0) for request in requests]


def _find_strata(measurement: Measurement, spans: Sequence[Sequence[Window]], unit: str) -> list[int] | None:
    """Of each unit the load of its round or, of requests one after another, the engine; None if there is only one."""
    if unit == "slice":
        places = _find_places_of_loads(measurement)
        return [places[_find_load(window, measurement)] for span in spans for window in span]
    engines = find_engines(measurement, measurement.requests)
    if engines is None:
        return None
    starts = [request.sent_ns for request in measurement.requests]
    return [engines[bisect_left(starts, window.start_ns)] for span in spans for window in span]


def _find_round(window: Window, measurement: Measurement) -> int:
    """The number of the round that a window begins in, from 1; 0 if rounds are not known."""
    return bisect_right(measurement.round_starts_ns, window.start_ns)


def _sum_by(groups: Sequence[int], values: Sequence[float]) -> list[float]:
    """The sum of each group's values, in the order in which the groups come first."""
    sums: dict[int, float] = {}
    for group, value in zip(groups, values, strict=True):
        sums[group] = sums.get(group, 0.0) + value
    return list(sums.values())


def _find_places_of_loads(measurement: Measurement) -> list[int]:
    """Of each load its place in its round: rounds repeat the loads, so that those in a place differ by noise alone."""
    seen: Counter[int] = Counter()
    places = []
    for load in measurement.loads:
        round_number = _find_round(load.spans[0], measurement) if load.spans else 0
        places.append(seen[round_number])
        seen[round_number] += 1
    return places


def _find_load(window: Window, measurement: Measurement) -> int:
    """The number of the load that a slice is of; of several at once, the first."""
    covers = ((number, span) for number, load in enumerate(measurement.loads) for span in load.spans)
    return next(number for number, span in covers if window.start_ns < span.end_ns and span.start_ns < window.end_ns)


def measure_progress(request: RequestTiming, window: Window) -> float:
    """The share of the time that a request took which lies in the window, 0 to 1.

    Requests that end together would make neighbouring units differ, although the work went on evenly.
    """
    whole = request.end_ns - request.sent_ns
    inside = min(request.end_ns, window.end_ns) - max(request.sent_ns, window.start_ns)
    if whole <= 0:
        return float(window.start_ns <= request.end_ns < window.end_ns)
    return max(0, inside) / whole


def _divide(measurement: Measurement) -> tuple[list[list[Window]], str]:
    """The units of each span that is judged, and what they are."""
    spans = [span for span in measurement.spans if span.end_ns > span.start_ns]
    if measurement.loads:
        # The slices of a round share its moment.
        if _goes_on_by_rounds(measurement) or len({_find_round(s, measurement) for s in spans}) >= ENOUGH_ROUNDS:
            return [[span] for span in spans], "round"
        return [_slice(span, measurement) for span in spans], "slice"
    turns = _list_starts_of_turns(measurement)
    # Rounds repeat the same requests, which may differ from one another by intention.
    if turns and len(spans) < ENOUGH_ROUNDS and not _goes_on_by_rounds(measurement):
        return [_cut(span, turns) for span in spans], "request"
    if len(spans) == 1:
        return [_cut(spans[0], measurement.round_starts_ns)], "round"
    return [spans], "round"


def _goes_on_by_rounds(measurement: Measurement) -> bool:
    """Whether rounds go on until the budgets are decided: a round alone cannot tell how much rounds differ."""
    return measurement.looks is not None and not any(load.stretches for load in measurement.loads)


def _slice(span: Window, measurement: Measurement) -> list[Window]:
    """Equal parts of the steady part of a load, each as long as a request at least, and with several of them."""
    inside = [r for r in measurement.requests if span.start_ns <= r.end_ns <= span.end_ns]
    length = span.end_ns - span.start_ns
    if not inside or length <= 0:
        return [span] if length > 0 else []
    typical = max(1, median(r.end_ns - r.sent_ns for r in inside))
    count = int(max(1, min(MOST_SLICES, len(inside) // REQUESTS_PER_SLICE, length // typical)))
    return _cut(span, [span.start_ns + length * at // count for at in range(count)])


def _list_starts_of_turns(measurement: Measurement) -> list[int]:
    """When each request was sent, if each was sent after the one before had ended; else, and of a single one, empty.

    Of very many it is when each so many-th was sent.
    """
    requests = measurement.requests
    if len(requests) < 2 or any(b.sent_ns < a.end_ns for a, b in itertools.pairwise(requests)):
        return []
    together = math.ceil(len(requests) / MOST_TURNS)
    return [request.sent_ns for request in requests[::together]]


def _cut(span: Window, starts: Sequence[int]) -> list[Window]:
    inside = [at for at in starts if span.start_ns < at < span.end_ns]
    return [Window(a, b) for a, b in itertools.pairwise([span.start_ns, *inside, span.end_ns])]
