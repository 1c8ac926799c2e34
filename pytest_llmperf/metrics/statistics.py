"""Statistics that a distribution may be limited at: percentiles and the largest value."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_llmperf.measurement.distribution import Distribution

_SUFFIX = re.compile(r"(?P<key>[a-z][a-z0-9_]*?)_(?:p(?P<percent>\d+(?:_\d{1,6})?)|(?P<max>max))")


@dataclass(frozen=True)
class Statistic:
    """A percentile between 0 and 100, both excluded, or the largest value, for which ``percentile`` is None."""

    percentile: float | None

    @property
    def suffix(self) -> str:
        """``p95``, ``p99_9`` or ``max``: how it is written behind a metric's name and an underscore."""
        return "max" if self.percentile is None else f"p{self.percentile:.15g}".replace(".", "_")

    @property
    def minimum(self) -> int:
        """The number of samples that it needs: 1 for the largest value, else by :func:`minimum_samples`."""
        return 1 if self.percentile is None else minimum_samples(self.percentile)

    def of(self, samples: Distribution) -> float:
        """Its value by nearest rank, in the unit of the samples, of which there must be one at least.

        That is the smallest sample that at least this share of the samples does not exceed.
        """
        share = 1.0 if self.percentile is None else self.percentile / 100
        return samples.value_at(max(1, math.ceil(round(share * samples.count, 9))))


def split_key(key: str) -> tuple[str, Statistic | None]:
    """``"ttft_p95"`` → ``("ttft", p95)``, ``"startup"`` → ``("startup", None)``.

    Raises:
        ValueError: the percentile does not lie between 0 and 100, both excluded.
    """
    match = _SUFFIX.fullmatch(key)
    if match is None:
        return key, None
    if match["max"]:
        return match["key"], Statistic(None)
    percent = float(match["percent"].replace("_", "."))
    if not 0 < percent < 100:
        raise ValueError(
            f"{key!r} asks for percentile {percent:.15g}: it must lie between 0 and 100, both excluded "
            f"({match['key']}_max limits the largest value)"
        )
    return match["key"], Statistic(percent)


@cache
def minimum_samples(percent: float) -> int:
    """The number of samples needed before a percentile is stated: p50 11, p90 64, p95 130, p99 662.

    That is the smallest n for which at least two of n samples lie beyond the true percentile with 99 % probability:
    with fewer a tail cannot be told from an outlier (the early-stopping rule of MLPerf inference).
    """
    share = max(percent, 100 - percent) / 100

    def is_enough(n: int) -> bool:
        return share**n + n * (1 - share) * share ** (n - 1) <= 0.01

    few, many = 1, 2
    while not is_enough(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if is_enough(middle) else (middle, many)
    return many
