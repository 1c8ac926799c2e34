"""Texts of others without what a terminal obeys: control characters, escape sequences, turned directions."""

from __future__ import annotations

_LAYOUT = "\n\t"


def make_printable(text: str) -> str:
    """``text`` with U+FFFD for each character that cannot be printed; line breaks and tabs stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in _LAYOUT else "\N{REPLACEMENT CHARACTER}" for c in text)
