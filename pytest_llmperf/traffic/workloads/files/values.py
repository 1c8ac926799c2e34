"""Checks of the values in a workload file; each message names the key and shows the value."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_TOKENS = 10**8
_MS_PER_S = 1000


def check_length(key: str, value: object) -> int:
    """Returns a number of tokens.

    Raises:
        ValueError: it is no whole number, below 1, or beyond any model.
    """
    if type(value) is int and 1 <= value <= MOST_TOKENS:
        return value
    raise ValueError(f"{key} is {show(value)}: it must be a whole number of at least 1 token, at most {MOST_TOKENS:,}")


def check_text(key: str, value: object) -> str:
    """Returns a text.

    Raises:
        ValueError: it is none, or empty.
    """
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"{key} is {show(value)}: it must be a text that is not empty")


def check_messages(key: str, value: object) -> list[Mapping[str, Any]]:
    """Returns the messages of a chat.

    Raises:
        ValueError: they are none.
    """
    if isinstance(value, list) and value and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in value):
        return value
    raise ValueError(f"{key} is {show(value)}: it must be a list of messages, each with a role")


def check_object(key: str, value: object) -> dict[str, Any]:
    """Returns an object of JSON that is not empty.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, dict) and value:
        return value
    raise ValueError(f"{key} is {show(value)}: it must be an object that is not empty")


def check_stamp(key: str, value: object) -> float:
    """Returns a moment or a time as a number, in the unit in which it stands there.

    Raises:
        ValueError: it is no number, not finite, or below 0.
    """
    try:
        if type(value) in (int, float) and math.isfinite(value) and value >= 0:  # type: ignore[arg-type, operator]
            return float(value)  # type: ignore[arg-type]
    except OverflowError:
        pass
    raise ValueError(f"{key} is {show(value)}: it must be a finite number of at least 0")


def read_delay(value: object) -> float | None:
    """Returns a ``delay``, which stands there in ms, in seconds; None without one.

    Raises:
        ValueError: it is no time.
    """
    return None if value is None else check_stamp("delay", value) / _MS_PER_S


def show(value: object) -> str:
    """A value as a message shows it."""
    try:
        return excerpt(repr(value))
    except ValueError:
        return "a number of very many digits"
    except RecursionError:
        return "a value that is nested too deep"
