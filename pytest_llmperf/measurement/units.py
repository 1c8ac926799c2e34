"""Values with units: strict parsing of what users write, and formatting of what they read.

Every value is kept in the base unit of its quantity (bytes, seconds, tokens per second, ...) as a float.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnitError(ValueError):
    """The text is not a value of the quantity; the message is one line and says what would be one."""


@dataclass(frozen=True)
class Quantity:
    """A kind of value and the units it may be written in.

    Attributes:
        name: what a value is called in messages, such as ``duration``.
        base: the unit that values are kept in; ``1`` for shares, ``score`` for scores.
        units: each accepted spelling with its size in ``base``.
        shown: the units used for output, largest first.
        example: a value as a user would write it.
    """

    name: str
    base: str
    units: Mapping[str, float]
    shown: tuple[str, ...]
    example: str


_BINARY = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}
_DECIMAL = {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

BYTES = Quantity("memory size", "B", _BINARY | _DECIMAL, ("TiB", "GiB", "MiB", "KiB", "B"), "16 GiB")
DECIMAL_BYTES = Quantity(BYTES.name, "B", BYTES.units, ("TB", "GB", "MB", "kB", "B"), "16 GB")
SECONDS = Quantity(
    "duration",
    "s",
    {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0},
    ("s", "ms", "us"),
    "300 ms",
)
TOKENS_PER_SECOND = Quantity("token rate", "tok/s", {"tok/s": 1.0}, ("tok/s",), "800 tok/s")
TOKENS_PER_STEP = Quantity("number of tokens per step", "tok/step", {"tok/step": 1.0}, ("tok/step",), "2.5 tok/step")
REQUESTS_PER_SECOND = Quantity("request rate", "req/s", {"req/s": 1.0}, ("req/s",), "10 req/s")
INPUTS_PER_SECOND = Quantity("input rate", "inputs/s", {"inputs/s": 1.0}, ("inputs/s",), "50 inputs/s")
JOULES = Quantity("energy", "J", {"mJ": 1e-3, "J": 1.0, "kJ": 1e3}, ("kJ", "J", "mJ"), "500 J")
JOULES_PER_TOKEN = Quantity("energy per token", "J/tok", {"mJ/tok": 1e-3, "J/tok": 1.0}, ("J/tok", "mJ/tok"), "2 J/tok")
WATTS = Quantity("power", "W", {"mW": 1e-3, "W": 1.0, "kW": 1e3}, ("W",), "300 W")
PRICE = Quantity("price", "currency", {"currency": 1.0}, ("currency",), "0.40 EUR")
"""An amount of money whose currency is not known yet: :func:`money` gives that of a currency."""
SHARE = Quantity("share", "1", {"%": 0.01}, ("%",), "10 %")
SCORE = Quantity("score", "score", {"": 1.0, "%": 0.01}, ("",), "0.8")
NATS = Quantity("divergence", "nat", {"nat": 1.0, "nats": 1.0}, ("nat",), "0.05 nat")
_BY_BASE = {
    quantity.base: quantity
    for quantity in (
        BYTES,
        SECONDS,
        TOKENS_PER_SECOND,
        TOKENS_PER_STEP,
        REQUESTS_PER_SECOND,
        INPUTS_PER_SECOND,
        JOULES,
        JOULES_PER_TOKEN,
        WATTS,
        SHARE,
        SCORE,
        NATS,
    )
}

_VALUE = re.compile(
    r"\s*(?P<number>[+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?:[eE][+-]?[0-9]++)?|[+-]?(?i:nan|inf))\s*+(?P<unit>\S*+)\s*"
)


_CURRENCY = re.compile(r"[^\W\d_]{1,8}|[^\W\d_]{0,3}[^\w\s/%.,+-]{1,3}")
"""Letters such as ``EUR``, signs such as ``€``, or both: ``US$``."""


def find_quantity(base: str) -> Quantity:
    """The quantity with this base unit; for a unit that is not known here, one that has no other units."""
    return _BY_BASE.get(base) or Quantity(base, base, {base: 1.0}, (base,), f"1 {base}")


def parse(value: object, quantity: Quantity) -> float:
    """``"16 GiB"`` → ``17179869184.0``: the value in the base unit of ``quantity``.

    Raises:
        UnitError: not a string, no unit, an unknown unit, a negative value, NaN or infinity.
    """
    if not isinstance(value, str):
        raise UnitError(f"{value!r} has no unit: write a string such as {quantity.example!r}")
    match = _VALUE.fullmatch(value)
    if match is None:
        raise UnitError(f"{value!r} is not a {quantity.name}: write a string such as {quantity.example!r}")
    number, unit = float(match["number"]), match["unit"]
    if not math.isfinite(number):
        raise UnitError(f"{value!r} is not a finite {quantity.name}: write a string such as {quantity.example!r}")
    if not unit and unit not in quantity.units:
        raise UnitError(f"{value!r} has no unit: write a string such as {quantity.example!r}")
    if unit not in quantity.units:
        raise UnitError(f"{value!r} has the unknown unit {unit!r}: {_suggest(unit, quantity)}")
    if number < 0:
        raise UnitError(f"{value!r} is negative: a {quantity.name} is at least 0")
    base = _times(number, quantity.units[unit])
    if not math.isfinite(base):
        raise UnitError(f"{value!r} is too large for a {quantity.name}")
    return base


def money(currency: str) -> Quantity:
    """Amounts in one currency, as it is written: ``EUR``."""
    return Quantity(PRICE.name, currency, {currency: 1.0}, (currency,), f"0.40 {currency}")


def parse_money(value: object) -> tuple[float, str]:
    """``"0.40 EUR"`` → ``(0.4, "EUR")``: the amount and the currency as it is written.

    Raises:
        UnitError: not a string, no currency, a negative amount, NaN or infinity.
    """
    match = _VALUE.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _CURRENCY.fullmatch(match["unit"]):
        raise UnitError(f"{value!r} is not a {PRICE.name}: write an amount and its currency, such as {PRICE.example!r}")
    return parse(value, money(match["unit"])), match["unit"]


def check_count(name: str, value: object) -> None:
    """Checks that an argument is a whole number of at least 1.

    Raises:
        ValueError: it is not; the message names the argument.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


def _times(number: float, unit: float) -> float:
    # Limits are inclusive, and 5 * 1e-6 is less than the 5000 / 1e9 that 5 us are measured as: multiply in decimal.
    return float(Decimal(repr(number)) * Decimal(repr(unit)))


def _suggest(unit: str, quantity: Quantity) -> str:
    if quantity is BYTES:
        letter = unit[:1].upper()
        binary, decimal = f"{letter}iB", f"{letter}B"
        if binary in quantity.units and decimal in quantity.units and letter != "B":
            exponent = {"K": 1, "M": 2, "G": 3, "T": 4}[letter]
            return f"write {binary} (2**{10 * exponent} bytes) or {decimal} (10**{3 * exponent} bytes)"
    return f"a {quantity.name} is written in one of {', '.join(quantity.units)}"


def is_decimal_bytes(value: str) -> bool | None:
    """Whether a memory size is written in kB, MB, GB, TB (True) or KiB, MiB, GiB, TiB (False); None for plain B."""
    unit = value.strip().lstrip("+-.0123456789eE ").strip()
    if unit in _DECIMAL:
        return True
    return False if unit in _BINARY and unit != "B" else None


def as_written(quantity: Quantity, text: str) -> Quantity:
    """How to show a value beside a limit written as ``text``: in GB where the limit is in GB, not in GiB."""
    if quantity is BYTES:
        return DECIMAL_BYTES if is_decimal_bytes(text) else quantity
    return quantity


def format_value(value: float, quantity: Quantity) -> str:
    """``format_value(17179869184, BYTES)`` → ``"16.0 GiB"``: three significant digits or more, largest fitting unit.

    What is not zero never reads as zero, but for parts of a byte.
    """
    unit = _unit(value, quantity)
    scaled = value / quantity.units[unit]
    return f"{scaled:.{_decimals(scaled, unit)}f} {unit}".rstrip()


_MOST_DECIMALS = 12


def format_apart(value: float, limit: float, quantity: Quantity) -> str:
    """``value`` as by :func:`format_value`, with more digits where it would else read the same as ``limit``.

    ``format_apart(17182000000, 17179869184, BYTES)`` → ``"16.002 GiB"``, which does not read as 16 GiB.
    """
    unit = _unit(value, quantity)
    scaled, against = value / quantity.units[unit], limit / quantity.units[unit]
    decimals = _decimals(scaled, unit)
    if value != limit and unit != "B":
        while f"{scaled:.{decimals}f}" == f"{against:.{decimals}f}" and decimals < _MOST_DECIMALS:
            decimals += 1
    return f"{scaled:.{decimals}f} {unit}".rstrip()


def format_change(share: float) -> str:
    """A signed share in percent: ``-0.081`` → ``"-8.1 %"``. What is not zero never reads as zero."""
    percent = share * 100
    if abs(percent) >= 100:
        return f"{percent:+.0f} %"
    return f"{percent:+.1f} %" if percent == 0 or abs(percent) >= 0.05 else f"{percent:+.1g} %"


def _unit(value: float, quantity: Quantity) -> str:
    if value == 0:
        return "ms" if quantity is SECONDS else quantity.shown[-1]
    return next((u for u in quantity.shown if abs(value) >= quantity.units[u]), quantity.shown[-1])


def _decimals(scaled: float, unit: str) -> int:
    if unit == "B" or abs(scaled) >= 100:
        return 0
    if scaled == 0 or abs(scaled) >= 1:
        return 1 if abs(scaled) >= 10 else 2
    return min(2 - math.floor(math.log10(abs(scaled))), _MOST_DECIMALS)
