"""Text that lines up: display width, shortening, wrapping and columns, for terminals."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GAP = "  "
_NARROWEST = 8
NO_VALUE = "–"
_SPELLINGS = {
    "–": "-",
    "−": "-",
    "×": "x",
    "÷": "/",
    "µ": "u",
    "Σ": "sum ",
    "→": "->",
    "≤": "<=",
    "≥": ">=",
    "…": "...",
    "─": "-",
}
_ASCII = str.maketrans(_SPELLINGS)
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def to_ascii(text: str) -> str:
    """``text`` for a terminal that knows only ASCII; what has no spelling there becomes ``?``."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def knows_unicode(encoding: str | None) -> bool:
    """Whether blocks, signs and letters of all kinds can be written in an encoding; None is one that is not known."""
    try:
        "▁█≤–µ€".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def to_one_line(text: str) -> str:
    """``text`` without line breaks, escape sequences, control characters, or runs of blanks."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in _ESCAPES.sub("", text))
    return " ".join(text.split())


def leave_out_alike(texts: Iterable[str]) -> list[str]:
    """The texts without those that differ from an earlier one in numbers only."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(_NUMBERS.sub("0", text), text)
    return list(first.values())


def measure_width(text: str) -> int:
    """How many terminal cells ``text`` takes: two for a wide character, none for one that combines."""
    return len(text) if text.isascii() else sum(map(_cells, text))


@lru_cache(maxsize=1024)
def _cells(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def pad(text: str, width: int, align: str = "<") -> str:
    """Filled with blanks to ``width`` cells, on the right (``<``) or on the left (``>``)."""
    blanks = " " * max(0, width - measure_width(text))
    return blanks + text if align == ">" else text + blanks


def shorten_left(text: str, width: int, mark: str = "…") -> str:
    """The end of ``text`` behind ``mark``, in at most ``width`` cells; tests differ at their ends."""
    if measure_width(text) <= width:
        return text
    start, room = len(text), width - measure_width(mark)
    while start > 0 and _cells(text[start - 1]) <= room:
        start -= 1
        room -= _cells(text[start])
    return mark + text[start:]


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` cells, broken between words, or inside a word that is longer than a line."""
    lines: list[str] = []
    line = ""
    for word in to_one_line(text).split(" "):
        joined = f"{line} {word}" if line else word
        if measure_width(joined) <= width:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while measure_width(line) > width > 1:
            head = _head(line, width)
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


def _head(text: str, width: int) -> str:
    end = 0
    while end < len(text) and measure_width(text[: end + 1]) <= width:
        end += 1
    return text[: max(1, end)]


def align_columns(rows: Sequence[Sequence[str]], aligns: str, width: int, mark: str = "…") -> list[str]:
    """The rows as lines of equal columns, one of ``<`` and ``>`` in ``aligns`` for each.

    Where they do not fit into ``width``, the first column is shortened from the left, down to eight cells.
    """
    widths = [max(measure_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    if excess > 0:
        widths[0] = min(widths[0], max(_NARROWEST, widths[0] - excess))
    return [
        GAP.join(
            pad(shorten_left(cell, size, mark), size, align)
            for cell, size, align in zip(row, widths, aligns, strict=True)
        ).rstrip()
        for row in rows
    ]
