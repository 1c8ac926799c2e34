"""The values that the requests of a test give of one metric."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# A float in a list takes 32 bytes, so that the gaps of a million answers would take gigabytes.
MOST_EXACT = 1_000_000
_STEP = 1e-6


class Distribution:
    """The values of all requests, in the base unit of the metric.

    Up to ``most_exact`` values are kept as they are. More are counted in steps of 1e-6 of the unit, to which
    percentiles, minimum and maximum are then exact; the mean stays exact.

    Attributes:
        count: the number of values.
        contributors: the number of requests that gave any.
        mean: 0.0 if there is no value.
    """

    def __init__(self, given: Iterable[Sequence[float]], most_exact: int = MOST_EXACT) -> None:
        self.contributors = self.count = 0
        total = 0.0
        exact: list[float] = []
        counted: Counter[int] = Counter()
        for values in given:
            self.contributors += bool(values)
            self.count += len(values)
            total += sum(values)
            exact += values
            if self.count > most_exact:
                counted.update(round(value / _STEP) for value in exact)
                exact = []
        self.mean = total / self.count if self.count else 0.0
        self._values = [step * _STEP for step in sorted(counted)] if counted else sorted(exact)
        self._upto = list(accumulate(counted[step] for step in sorted(counted)))

    def value_at(self, rank: int) -> float:
        """The value of this rank, from 1, the smallest, to ``count``, the largest."""
        return self._values[bisect_left(self._upto, rank) if self._upto else rank - 1]

    def is_same_as(self, other: Distribution) -> bool:
        """Whether both have the same values of as many requests."""
        return (self.contributors, self._values, self._upto) == (other.contributors, other._values, other._upto)

    def count_below(self, value: float) -> int:
        """How many values are smaller than this one."""
        at = bisect_left(self._values, value)
        return self._upto[at - 1] if self._upto and at else at
