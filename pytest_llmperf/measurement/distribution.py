"""The values of one latency metric over a whole test, however many there are."""

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
    """Made of the values that each request gives, in seconds; ``gave`` is how many requests gave any.

    Up to a million values are kept as they are. More are counted by the microsecond, which is what percentiles,
    minimum and maximum are then exact to; the mean stays exact.
    """

    def __init__(self, given: Iterable[Sequence[float]], most_exact: int = MOST_EXACT) -> None:
        self.gave = self.count = 0
        total = 0.0
        exact: list[float] = []
        counted: Counter[int] = Counter()
        for values in given:
            self.gave += bool(values)
            self.count += len(values)
            total += sum(values)
            exact += values
            if self.count > most_exact:
                counted.update(round(value / _STEP) for value in exact)
                exact = []
        self.mean = total / self.count if self.count else 0.0
        self._values = [step * _STEP for step in sorted(counted)] if counted else sorted(exact)
        self._upto = list(accumulate(counted[step] for step in sorted(counted)))

    def ranked(self, rank: int) -> float:
        """The value of this rank, 1 being the smallest."""
        return self._values[bisect_left(self._upto, rank) if self._upto else rank - 1]
