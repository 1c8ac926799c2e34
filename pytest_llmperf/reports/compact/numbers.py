"""Rows of numbers in few characters."""

from __future__ import annotations

import re
import string
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LOW = string.digits + string.ascii_lowercase
_HIGH = string.ascii_uppercase
_COUNT = re.compile(r"(-?)([A-Z]*)([0-9a-z])")


def write_counts(counts: Sequence[int]) -> str:
    """The counts of a histogram one after another, a negative one with its sign.

    The last digit of each is one of the 36 from ``0`` to ``z``, those before it are of the 26 from ``A`` to ``Z``:
    ``5`` is 5, ``z`` 35, ``B0`` 36, ``Bz`` 71, ``BA0`` 936.
    """
    return "".join(("-" if count < 0 else "") + _write_count(abs(count)) for count in counts)


def read_counts(text: str) -> list[int]:
    """The counts that :func:`write_counts` wrote.

    Raises:
        ValueError: the text is none that it writes.
    """
    found = _COUNT.findall(text)
    if "".join(map("".join, found)) != text:
        raise ValueError(f"{text!r} holds no counts")
    return [_read_count(high, low) * (-1 if sign else 1) for sign, high, low in found]


def _write_count(count: int) -> str:
    high, low = divmod(count, len(_LOW))
    text = _LOW[low]
    while high:
        high, digit = divmod(high, len(_HIGH))
        text = _HIGH[digit] + text
    return text


def _read_count(high: str, low: str) -> int:
    value = 0
    for digit in high:
        value = value * len(_HIGH) + _HIGH.index(digit)
    return value * len(_LOW) + _LOW.index(low)


def write_timeline(points: Sequence[Sequence[float]]) -> dict[str, list[float]]:
    """A timeline as its first moment (``ms``) and level (``bytes``), each with the steps to all further ones."""
    return {
        "ms": _to_steps([at for at, _ in points]),
        "bytes": _to_steps([level for _, level in points]),
    }


def read_timeline(written: Mapping[str, Sequence[float]]) -> list[list[float]]:
    """The points that :func:`write_timeline` wrote."""
    moments, levels = ([_trim(value) for value in accumulate(written[key])] for key in ("ms", "bytes"))
    return [[at, level] for at, level in zip(moments, levels, strict=True)]


def _to_steps(values: Sequence[float]) -> list[float]:
    return [*values[:1], *(_trim(after - before) for before, after in pairwise(values))]


def _trim(value: float) -> Any:
    """To the third digit after the point, which is all that there is."""
    if isinstance(value, int):
        return value
    rounded = round(value, 3)
    return int(rounded) if rounded.is_integer() else rounded
