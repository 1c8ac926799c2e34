"""Reads JSON values of unknown form as the expected type; a value of another type reads as empty."""

from __future__ import annotations

from typing import Any

_EXCERPT = 200


def excerpt(text: str) -> str:
    """Returns the first 200 characters of a text, in one line."""
    return " ".join(text.split())[:_EXCERPT]


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
    """Returns an integer as it is, any other value as None."""
    return value if isinstance(value, int) else None
