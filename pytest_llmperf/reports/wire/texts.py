"""Texts of others as plain data."""

from __future__ import annotations


def to_text(text: str) -> str:
    """A text of exact type str that UTF-8 can write: half of a surrogate pair, which JSON may hold, as ``\\ud83d``."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")
