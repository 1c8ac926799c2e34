"""Distributions of lengths in tokens: fixed, uniform, normal, or a histogram."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from random import Random

_FORMS = "write 256, '128-2048' (uniform), '1024±256' (normal), or {'128-256': 3, 1024: 1} (a histogram)"
_SPREAD = 3


class Lengths(Protocol):
    """A distribution of whole numbers of tokens."""

    @property
    def least(self) -> int:
        """The smallest number that is drawn."""

    def draw(self, random: Random) -> int:
        """Draws one number."""


@dataclass(frozen=True)
class Uniform:
    """Every whole number from ``low`` to ``high``, both included; a fixed length if they are equal."""

    low: int
    high: int

    @property
    def least(self) -> int:
        return self.low

    def draw(self, random: Random) -> int:
        return random.randint(self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Normal:
    """A normal distribution, cut at three standard deviations and at 1 token."""

    mean: int
    deviation: int

    @property
    def least(self) -> int:
        return max(1, self.mean - _SPREAD * self.deviation)

    def draw(self, random: Random) -> int:
        drawn = round(random.gauss(self.mean, self.deviation))
        return min(max(drawn, self.least), self.mean + _SPREAD * self.deviation)

    def __str__(self) -> str:
        return f"{self.mean}±{self.deviation}"


@dataclass(frozen=True)
class Histogram:
    """Ranges with their weights; lengths are uniform within a range."""

    bins: tuple[tuple[Uniform, float], ...]

    @property
    def least(self) -> int:
        return min(lengths.low for lengths, _ in self.bins)

    def draw(self, random: Random) -> int:
        ranges = [lengths for lengths, _ in self.bins]
        (chosen,) = random.choices(ranges, cum_weights=list(accumulate(weight for _, weight in self.bins)))
        return chosen.draw(random)

    def __str__(self) -> str:
        whole = sum(weight for _, weight in self.bins)
        return ", ".join(f"{lengths} ({100 * weight / whole:.0f} %)" for lengths, weight in self.bins)


def parse_lengths(value: object, argument: str) -> Lengths:
    """Parses lengths: ``"128-2048"`` → ``Uniform(128, 2048)``. ``argument`` is the name of the argument, for errors.

    Raises:
        ValueError: the value has none of the forms, or a length is below 1 token.
    """
    if isinstance(value, Mapping):
        return _parse_histogram(value, argument)
    text = "".join(str(value).split()).replace("–", "-").replace("+-", "±")
    match = re.fullmatch(r"(\d+)(?:([-±])(\d+))?", text)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{argument}={value!r} is not a length in tokens: {_FORMS}")
    first, form, second = int(match[1]), match[2], int(match[3] or match[1])
    if first < 1 or (form == "-" and second < first):
        raise ValueError(f"{argument}={value!r} must be at least 1 token, and a range must rise")
    return Normal(first, second) if form == "±" else Uniform(first, second)


def _parse_histogram(value: Mapping[object, object], argument: str) -> Histogram:
    bins = []
    for key, weight in value.items():
        length = parse_lengths(key, argument)
        if not isinstance(length, Uniform) or not isinstance(weight, int | float) or not weight > 0:
            raise ValueError(f"{argument}={{{key!r}: {weight!r}}} is not a bin of a histogram: {_FORMS}")
        bins.append((length, float(weight)))
    if not bins:
        raise ValueError(f"{argument}={{}} is an empty histogram: {_FORMS}")
    return Histogram(tuple(bins))
