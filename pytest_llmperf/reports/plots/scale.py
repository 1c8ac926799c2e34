"""From values to places on a canvas, and the ticks of an axis in the units of what it shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.measurement.units import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.measurement.units import Quantity

_STEPS = (1, 2, 5, 10)
_MINUTES_FROM = 300.0
_MARGIN = 0.04
_LEAST, _MOST = 1e-30, 1e30
"""Smaller values count as zero, larger ones as infinite: no quantity here reaches them."""


@dataclass(frozen=True)
class Scale:
    """A straight axis: ``low`` lies at the place ``start``, ``high`` at ``end``, on a logarithmic scale if it says so.

    ``low`` and ``high`` are finite and differ; those of a logarithmic scale are above zero.
    """

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies; one outside of the axis, or that a logarithmic one does not have, lies at its end."""
        if math.isnan(value) or value <= self.low:
            return self.start
        if value >= self.high:
            return self.end
        if self.is_log:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value lies on the axis."""
        return self.low <= value <= self.high


class Tick(NamedTuple):
    """A mark of an axis."""

    value: float
    label: str


def fit_scale(
    values: Iterable[float], start: float, end: float, *, with_zero: bool = False, is_log: bool = False
) -> Scale:
    """The axis that holds all finite values, with a little room around them; without a value one up to 1.

    ``with_zero`` lets it begin at zero; a logarithmic one leaves out what is not above zero.
    """
    finite = [float(value) if abs(value) > _LEAST else 0.0 for value in values if abs(value) < _MOST]
    finite = [value for value in finite if value > 0 or not is_log]
    if not finite:
        return Scale(0.1, 1.0, start, end, is_log=True) if is_log else Scale(0.0, 1.0, start, end)
    low, high = min(finite), max(finite)
    if is_log:
        room = max((high / low) ** _MARGIN, 1.05)
        return Scale(low / room, high * room, start, end, is_log=True)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = (high - low) * _MARGIN or abs(high) * _MARGIN or 1.0
    from_zero = low == 0.0 and (with_zero or high > 0)
    return Scale(low if from_zero else low - room, high + room, start, end)


def list_ticks(scale: Scale, quantity: Quantity, most: int) -> list[Tick]:
    """At most so many ticks at round values; where all are in one unit, the last one names it for all."""
    values = _list_log_values(scale, quantity, most) if scale.is_log else []
    if len(values) >= 2:
        return [Tick(value, _label(value, _find_unit(value, quantity), quantity)) for value in values]
    unit = _find_unit(max(abs(scale.low), abs(scale.high)), quantity)
    size = quantity.units[unit]
    step = _round_step((scale.high - scale.low) / size / max(1, most))
    first, last = math.ceil(scale.low / size / step - 1e-9), math.floor(scale.high / size / step + 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    ticks = [Tick(place * step * size, f"{place * step:.{decimals}f}") for place in range(first, last + 1)]
    return [*ticks[:-1], *(Tick(value, _join(label, unit)) for value, label in ticks[-1:])]


def _list_log_values(scale: Scale, quantity: Quantity, most: int) -> list[float]:
    """Round values, the densest of those patterns that do not give too many; in decades of the unit shown."""
    size = quantity.units[_find_unit(scale.low, quantity)]
    first, last = math.floor(math.log10(scale.low / size)), math.ceil(math.log10(scale.high / size))
    powers = range(first, last + 1)
    for factors in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [size * factor * 10.0**power for power in powers for factor in factors]
        shown = [value for value in found if scale.holds(value)]
        if len(shown) <= most:
            return shown
    every = -(-len(shown) // most)
    return shown[::every]


def _round_step(step: float) -> float:
    """The next round number from here: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * factor for factor in _STEPS if power * factor >= step * (1 - 1e-9))


def _find_unit(value: float, quantity: Quantity) -> str:
    if quantity is SECONDS and value >= _MINUTES_FROM:
        return "min"
    return next((unit for unit in quantity.shown if abs(value) >= quantity.units[unit]), quantity.shown[-1])


def _label(value: float, unit: str, quantity: Quantity) -> str:
    return _join(f"{value / quantity.units[unit]:.4g}", unit)


def _join(number: str, unit: str) -> str:
    return f"{number} {unit}".rstrip()
