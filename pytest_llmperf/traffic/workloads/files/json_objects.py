"""Objects in JSON, and what is wrong with one in one line."""

from __future__ import annotations

import json
from typing import Any

from pytest_llmperf.traffic.answers.json_fields import excerpt

LONGEST_ENTRY = 64 * 2**20
"""The most bytes of an entry."""


def explain(place: str, error: Exception) -> ValueError:
    """Makes the message of what a parser raised one line that begins with the place."""
    if isinstance(error, json.JSONDecodeError):
        return ValueError(f"{place}: not JSON ({error.msg} at column {error.colno})")
    if isinstance(error, RecursionError):
        return ValueError(f"{place}: the JSON is nested too deep")
    return ValueError(f"{place}: {excerpt(str(error))}")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{excerpt(next(key for key in keys if keys.count(key) > 1))!r} is given twice")
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_build_object)
"""Reads JSON and refuses an object that gives a key twice."""
