"""Reads a drawing of reports/plots: its texts and the points of its paths, from the XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

_SVG = "{http://www.w3.org/2000/svg}"
_TOKEN = re.compile(r"[a-zA-Z]|-?(?:\d+\.?\d*|\.\d+)")

Point = tuple[float, float]


@dataclass(frozen=True)
class Label:
    """A text and where it stands."""

    text: str
    at: Point
    css: str


@dataclass(frozen=True)
class Drawing:
    """An SVG: ``paths`` are the lines that each path consists of, with the classes of the path."""

    title: str
    description: str
    width: float
    height: float
    labels: tuple[Label, ...]
    paths: tuple[tuple[str, tuple[tuple[Point, ...], ...]], ...]

    def lines(self, css: str) -> list[tuple[Point, ...]]:
        """The lines of all paths that have this class."""
        return [line for classes, lines in self.paths if css in classes.split() for line in lines]

    def label(self, part: str) -> Label:
        """The only label that has this part."""
        (found,) = [label for label in self.labels if part in label.text]
        return found

    @property
    def texts(self) -> list[str]:
        return [label.text for label in self.labels]


def read_drawing(svg: str) -> Drawing:
    """Parses a drawing, and checks that it is one: named, told in words, without scripts, ids and colours."""
    root = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    elements = list(root.iter())
    assert root.tag == f"{_SVG}svg"
    assert root.attrib["role"] == "img"
    assert {element.tag.removeprefix(_SVG) for element in elements} <= {"svg", "title", "desc", "path", "text", "tspan"}
    allowed = {"class", "d", "x", "y", "viewBox", "role", "stroke-width"}
    assert {name for element in elements for name in element.attrib} <= allowed
    title, description = root.findtext(f"{_SVG}title"), root.findtext(f"{_SVG}desc")
    assert title
    assert description
    left, top, width, height = (float(part) for part in root.attrib["viewBox"].split())
    assert (left, top) == (0, 0)
    return Drawing(
        title=title,
        description=description,
        width=width,
        height=height,
        labels=tuple(label for element in root.iter(f"{_SVG}text") for label in _read_labels(element)),
        paths=tuple(
            (element.get("class", ""), _read_path(element.attrib["d"])) for element in root.iter(f"{_SVG}path")
        ),
    )


def _read_labels(element: ElementTree.Element) -> list[Label]:
    """The label of a text, or those of the spans in it, which share its height."""
    css, y = element.get("class", ""), float(element.attrib["y"])
    return [Label(one.text or "", (float(one.attrib["x"]), y), css) for one in list(element) or [element]]


def _read_path(data: str) -> tuple[tuple[Point, ...], ...]:
    """The lines of a path, of the commands that the drawings use: M, m, l, h, v and z."""
    lines: list[list[Point]] = []
    command, numbers = "", [float("nan")]
    at = (0.0, 0.0)
    tokens = _TOKEN.findall(data)
    assert "".join(tokens) == re.sub(r"[ ,]", "", data)
    place = 0
    while place < len(tokens):
        if tokens[place].isalpha():
            command, place = tokens[place], place + 1
            if command == "z":
                lines[-1].append(lines[-1][0])
                continue
        numbers = [float(token) for token in tokens[place : place + (1 if command in "hv" else 2)]]
        place += len(numbers)
        match command:
            case "M":
                at = (numbers[0], numbers[1])
            case "m" | "l":
                at = (at[0] + numbers[0], at[1] + numbers[1])
            case "h":
                at = (at[0] + numbers[0], at[1])
            case "v":
                at = (at[0], at[1] + numbers[0])
            case _:
                raise AssertionError(f"unknown command {command!r} in {data!r}")
        if command in "Mm":
            lines.append([at])
        else:
            lines[-1].append(at)
    return tuple(tuple((round(x, 1), round(y, 1)) for x, y in line) for line in lines)
