"""SVG as text: paths and texts on a canvas, with few bytes and with nothing in it that a browser would run."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Point = tuple[float, float]
"""A place on a canvas, x and y in its units; y counts downwards."""

_EM_OF_CHARACTER, _EM_OF_CAPITAL = 0.6, 0.7
"""The mean width of a character by the font's size, in the wider ones of the sans-serif fonts."""
FONT_SIZE = 11
"""Of labels, in units of a canvas."""
_ISOLATE, _END_OF_ISOLATE = "\u2068", "\u2069"


class Canvas:
    """What is drawn on an area of ``width`` × ``height`` units, in the order in which it is added."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []
        self._taken: list[_Box] = []

    def add_path(self, css: str, data: str, stroke_width: float | None = None) -> None:
        """Adds a path in a class of the style sheet; one without data is left out."""
        if data:
            wide = "" if stroke_width is None else f' stroke-width="{write_number(stroke_width)}"'
            self._parts.append(f'<path class="{css}" d="{data}"{wide}/>')

    def add_text(self, text: str, css: str, *places: Point) -> None:
        """Adds a label at the first of the places at which it hides no other one, or else at the last of them.

        It begins there, or ends or is centred there by its class (``e``, ``m``); empty classes are left out.
        """
        if not self.add_text_if_free(text, css, *places):
            self._write(text, css, places[-1])

    def add_text_if_free(self, text: str, css: str, *places: Point) -> bool:
        """Adds a label at the first of the places at which it hides no other one; returns whether there is one."""
        found = next((place for place in places if self._is_free(_find_box(text, css, place))), None)
        if found is not None:
            self._write(text, css, found)
        return found is not None

    def _write(self, text: str, css: str, at: Point) -> None:
        self._taken.append(_find_box(text, css, at))
        classes = f' class="{css}"' if css else ""
        self._parts.append(f'<text x="{round(at[0])}" y="{round(at[1])}"{classes}>{escape_text(text)}</text>')

    def add_row(self, y: float, labels: Sequence[tuple[float, str]]) -> None:
        """Adds labels that are centred at their x as far as the canvas has room, at one height."""
        if labels:
            halves = [measure_text(text) / 2 for _, text in labels]
            places = [
                (max(half, min(x, self.width - half)), text) for (x, text), half in zip(labels, halves, strict=True)
            ]
            self._taken += [_find_box(text, "m", (x, y)) for x, text in places]
            spans = "".join(f'<tspan x="{round(x)}">{escape_text(text)}</tspan>' for x, text in places)
            self._parts.append(f'<text class="m" y="{round(y)}">{spans}</text>')

    def _is_free(self, box: _Box) -> bool:
        inside = box.left >= 0 and box.right <= self.width and box.top >= 0 and box.bottom <= self.height
        return inside and not any(box.meets(other) for other in self._taken)

    def render(self, title: str, description: str) -> str:
        """The SVG, with its name and the same in words for those who do not see it."""
        return (
            f'<svg class="plot" role="img" viewBox="0 0 {round(self.width)} {round(self.height)}">'
            f"<title>{escape_text(title)}</title><desc>{escape_text(description)}</desc>{''.join(self._parts)}</svg>"
        )


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def _find_box(text: str, css: str, at: Point) -> _Box:
    width = measure_text(text)
    classes = css.split()
    left = at[0] - (width if "e" in classes else width / 2 if "m" in classes else 0)
    return _Box(left, at[1] - FONT_SIZE + 2, left + width, at[1] + 2)


def escape_text(text: str) -> str:
    """``text`` for XML and HTML, without characters that neither may hold or that turn the direction of others."""
    clean = text if text.isprintable() else "".join(char if _may_stand(char) else "�" for char in text)
    return escape(clean, quote=False)


def _may_stand(char: str) -> bool:
    return char.isprintable() or unicodedata.category(char) == "Zs" or char in (_ISOLATE, _END_OF_ISOLATE, "\u200d")


def isolate(label: str) -> str:
    """A label of a user inside of a text: one that is written from right to left is set apart from what follows it."""
    bare = label.replace(_ISOLATE, "").replace(_END_OF_ISOLATE, "")
    return f"{_ISOLATE}{bare}{_END_OF_ISOLATE}" if any(map(_is_from_right, bare)) else bare


def _is_from_right(char: str) -> bool:
    return unicodedata.bidirectional(char) in ("R", "AL", "AN")


def measure_text(text: str) -> float:
    """About how wide a label is, in units of a canvas."""
    return sum(map(_measure_character, text)) * FONT_SIZE


def shorten(text: str, width: float) -> str:
    """``text``, or its beginning and its end around ``…``, in at most so many units; tests differ at their ends."""
    if measure_text(text) <= width:
        return text
    room = max(0.0, width - measure_text("…"))
    head, tail = _fit(text, room / 3), _fit(text[::-1], room * 2 / 3)
    return f"{text[:head]}…{text[len(text) - tail :]}"


def _fit(text: str, width: float) -> int:
    """How many of the first characters fit."""
    taken = 0.0
    for count, char in enumerate(text):
        taken += _measure_character(char) * FONT_SIZE
        if taken > width:
            return count
    return len(text)


@lru_cache(maxsize=4096)
def _measure_character(char: str) -> float:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(char) in ("W", "F"):
        return 1.0
    return _EM_OF_CAPITAL if char.isupper() else _EM_OF_CHARACTER


# ----------------------------------------------------------------------------------------------------- path data


def write_number(value: float) -> str:
    """With one decimal at most, and none of the characters that a path can do without."""
    return _write_tenths(round(value * 10))


def trace(points: Sequence[Point]) -> str:
    """Path data of a line through the points, to whole units across and a tenth upwards.

    A single point is a dot where lines have round ends.
    """
    if not points:
        return ""
    tenths = [(round(x) * 10, round(y * 10)) for x, y in points]
    steps = [(after[0] - before[0], after[1] - before[1]) for before, after in pairwise(tenths)]
    moved = [step for step in steps if step != (0, 0)] or [(0, 0)]
    return f"M{_join(tenths[0])}l{_join(value for step in moved for value in step)}"


def trace_steps(points: Sequence[Point]) -> str:
    """Path data of levels that each hold until the next one, in whole units."""
    if not points:
        return ""
    corners = [(round(x), round(y)) for x, y in points]
    parts, (x, y) = [f"M{write_pair(corners[0])}"], corners[0]
    for across, up in corners[1:]:
        if up != y:
            parts += [f"h{across - x}"] * (across != x) + [f"v{up - y}"]
            x, y = across, up
    end = corners[-1][0]
    return "".join(parts) + (f"h{end - x}" if end != x or len(parts) == 1 else "")


def trace_area(points: Sequence[Point], floor: float) -> str:
    """Path data of the area between a line and the height ``floor``."""
    return f"{trace([(points[0][0], floor), *points, (points[-1][0], floor)])}z" if points else ""


def trace_across(spans: Iterable[tuple[float, float, float]]) -> str:
    """Path data of level lines, in whole units: from x, to x, and their y. None is shorter than one unit."""
    return _trace_bars("h", ((x, y, max(1, round(end) - round(x))) for x, end, y in spans))


def trace_upright(lines: Iterable[tuple[float, float, float]]) -> str:
    """Path data of upright lines, in whole units: their x, from y, to y."""
    return _trace_bars("v", ((x, top, round(bottom) - round(top)) for x, top, bottom in lines))


def _trace_bars(direction: str, bars: Iterable[tuple[float, float, int]]) -> str:
    """Path data of bars of these lengths, each found from the end of the one before it."""
    found: list[str] = []
    at: tuple[int, int] | None = None
    for x, y, length in bars:
        begin = (round(x), round(y))
        move = f"M{_join(_tenths(begin))}" if at is None else f"m{_join(_tenths((begin[0] - at[0], begin[1] - at[1])))}"
        found.append(f"{move}{direction}{length}")
        at = (begin[0] + length, begin[1]) if direction == "h" else (begin[0], begin[1] + length)
    return "".join(found)


def trace_crosses(points: Iterable[Point], size: int) -> str:
    """Path data of crosses: the sign of what failed, which does without a colour."""
    stroke = f"l{size} {size}m0-{size}l-{size} {size}"
    return "".join(f"M{write_pair((round(x - size / 2), round(y - size / 2)))}{stroke}" for x, y in points)


def trace_dots(points: Iterable[Point]) -> str:
    """Path data of dots: lines without a length, which round ends make as wide as they are."""
    return "".join(f"M{write_pair(point)}h0" for point in points)


def write_pair(point: Point) -> str:
    """``12.5-3``: two numbers as path data."""
    return _join(_tenths(point))


def _tenths(numbers: Iterable[float]) -> list[int]:
    return [round(value * 10) for value in numbers]


def _join(tenths: Iterable[int]) -> str:
    """Numbers as path data: a minus sign parts two numbers as well as a blank does."""
    texts = [_write_tenths(value) for value in tenths]
    return "".join(text if place == 0 or text.startswith("-") else f" {text}" for place, text in enumerate(texts))


def _write_tenths(value: int) -> str:
    whole, tenth = divmod(abs(value), 10)
    sign = "-" if value < 0 else ""
    if not tenth:
        return f"{sign}{whole}"
    return f"{sign}{whole or ''}.{tenth}"
