"""Numbers of measurements as plain data."""

from __future__ import annotations

import math

DIGITS = 6
"""The significant digits of a number with a fraction: no clock and no sensor here is worth more."""

ROUGH = 4
"""The same of what tells of the host and of the client, and is not judged."""


def to_number(value: float | None, digits: int = DIGITS) -> float | None:
    """A number of exact type float, rounded to so many significant digits; None for None and what is not finite.

    Whole numbers, such as bytes, stay exact.
    """
    if value is None or not math.isfinite(value):
        return None
    number = float(value)
    return number if number.is_integer() else float(f"{number:.{digits}g}")


def to_count(value: int | None) -> int | None:
    """A count of exact type int; None for None."""
    return None if value is None else int(value)


def to_milliseconds(at_ns: int | None, start_ns: int) -> float | None:
    """A moment in ms from ``start_ns``, to the microsecond; None for None."""
    return None if at_ns is None else round((int(at_ns) - int(start_ns)) / 1e6, 3)
