"""A limit as people write it: two digits, or three, and a unit, never tighter than the number that it stands for."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import parse

if TYPE_CHECKING:
    from pytest_llmperf.budgets.interval import Better
    from pytest_llmperf.measurement.units import Quantity

DIGITS = 2
DIGITS_OF_BYTES = 4


def write_limit(value: float, quantity: Quantity, better: Better) -> str:
    """``0.2871`` seconds → ``290 ms`` as an upper limit, ``280 ms`` as a lower one.

    Rates and times have two significant digits, or three where two would add more than 2 %; memory has four. Values
    of zero or below are written as zero.
    """
    unit = next((u for u in quantity.shown if abs(value) >= quantity.units[u]), quantity.shown[-1])
    scaled = Decimal(repr(float(value))) / Decimal(repr(quantity.units[unit]))
    if scaled <= 0:
        return f"0 {unit}"
    rounding = ROUND_CEILING if better == "lower" else ROUND_FLOOR
    digits = DIGITS_OF_BYTES if quantity.base == "B" else DIGITS
    while True:
        step = Decimal(1).scaleb(math.floor(math.log10(scaled)) - digits + 1)
        rounded = (scaled / step).to_integral_value(rounding) * step
        if abs(rounded - scaled) <= scaled * Decimal("0.02") or digits >= DIGITS_OF_BYTES:
            break
        digits += 1
    return f"{_write_plain(rounded)} {unit}"


def _write_plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def round_limit(value: float, quantity: Quantity, better: Better) -> tuple[str, float]:
    """The text of a limit, and the value that the text stands for, in the base unit."""
    text = write_limit(value, quantity, better)
    return text, parse(text, quantity)


def round_share(share: float) -> tuple[str, float]:
    """The text of a limit against a baseline, in whole percent, never tighter: 0.083 → ``+9 %``; and its share."""
    percent = max(1, math.ceil(round(abs(share) * 100, 6)))
    sign = "-" if share < 0 else "+"
    return f"{sign}{percent} %", float(f"{sign}{percent / 100}")
