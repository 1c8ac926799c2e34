"""How long prompts and answers are, in tokens: fixed, uniform, normal, or drawn from a histogram."""

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
    """A distribution of numbers of tokens, of which ``least`` is the smallest that comes."""

    @property
    def least(self) -> int: ...

    def draw(self, random: Random) -> int: ...


@dataclass(frozen=True)
class Uniform:
    """Every whole number from ``low`` to ``high``, both included; a fixed length where they are the same."""

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
    """Normal with this mean and standard deviation, cut at three of them and at 1 token."""

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
    """One of the ranges, as often as its weight says, and uniform within it."""

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


def lengths(value: object, argument: str) -> Lengths:
    """``"128-2048"`` → ``Uniform(128, 2048)``; ``argument`` is named in errors.

    Raises:
        ValueError: not a length in one of the forms, or one below 1 token.
    """
    if isinstance(value, Mapping):
        return _histogram(value, argument)
    text = "".join(str(value).split()).replace("–", "-").replace("+-", "±")
    match = re.fullmatch(r"(\d+)(?:([-±])(\d+))?", text)
    if match is None or isinstance(value, bool):
        raise ValueError(f"{argument}={value!r} is no length in tokens: {_FORMS}")
    first, form, second = int(match[1]), match[2], int(match[3] or match[1])
    if first < 1 or (form == "-" and second < first):
        raise ValueError(f"{argument}={value!r} must go upwards from at least 1 token")
    return Normal(first, second) if form == "±" else Uniform(first, second)


def _histogram(value: Mapping[object, object], argument: str) -> Histogram:
    bins = []
    for key, weight in value.items():
        length = lengths(key, argument)
        if not isinstance(length, Uniform) or not isinstance(weight, int | float) or not weight > 0:
            raise ValueError(f"{argument}={{{key!r}: {weight!r}}} is no bin of a histogram: {_FORMS}")
        bins.append((length, float(weight)))
    if not bins:
        raise ValueError(f"{argument}={{}} is an empty histogram: {_FORMS}")
    return Histogram(tuple(bins))
