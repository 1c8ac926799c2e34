"""Values out of JSON that a server sent, and that may have any form: as what is expected, or as nothing."""

from __future__ import annotations

from typing import Any

_EXCERPT = 200


def excerpt(text: str) -> str:
    """The beginning of a text, in one line."""
    return " ".join(text.split())[:_EXCERPT]


def a_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def a_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def a_text(value: object) -> str:
    return value if isinstance(value, str) else ""


def a_count(value: object) -> int | None:
    return value if isinstance(value, int) else None
