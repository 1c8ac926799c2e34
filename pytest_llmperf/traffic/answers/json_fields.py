"""Reads JSON values of unknown form as the expected type; a value of another type reads as empty."""

from __future__ import annotations

import json
from typing import Any

from pytest_llmperf.system.known_keys import hide_keys
from pytest_llmperf.system.printable import make_printable

LARGEST_COUNT = 2**53
"""The largest number that is taken for a count: beyond it JSON numbers are not exact."""
_EXCERPT = 200
# Enough to find an excerpt in, whatever white space stands before it.
_LOOKED_AT = 4096


def excerpt(text: str) -> str:
    """Returns the first 200 characters of a text, in one line; what cannot be printed, and own keys, are replaced."""
    return make_printable(hide_keys(" ".join(text[:_LOOKED_AT].split()))[:_EXCERPT])


def parse_object(text: str) -> dict[str, Any] | None:
    """Parses a JSON object; None for anything else, for one that is nested too deep, and for too long a number."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def as_dict(value: object) -> dict[str, Any]:
    """Returns an object as it is, any other value as {}."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Returns an array as it is, any other value as []."""
    return value if isinstance(value, list) else []


def as_text(value: object) -> str:
    """Returns a string as it is, any other value as ""."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int | None:
    """Returns a whole number from 0 to 2**53 as it is, any other value as None."""
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None
