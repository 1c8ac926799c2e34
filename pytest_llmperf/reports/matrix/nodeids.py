"""The id of a test without the part that names its engine, so that it is equal on every engine."""

from __future__ import annotations

import re


def strip_engine(nodeid: str, label: str) -> str:
    """``t.py::test[short]`` of ``t.py::test[old-short]`` for the label ``old``, ``t.py::test`` of ``t.py::test[old]``.

    An id that does not hold the label between brackets and dashes is returned as it is.
    """
    start = nodeid.find("[")
    if start < 0 or not label:
        return nodeid
    for spelled in (label, label.encode("unicode_escape").decode("ascii")):
        found = re.search(rf"(?<=[\[-]){re.escape(spelled)}(?=[-\]])", nodeid[start:])
        if found is not None:
            return nodeid[:start] + _cut(nodeid[start:], *found.span())
    return nodeid


def _cut(parameters: str, start: int, end: int) -> str:
    """The bracket without one of its parts, and without the dash or the brackets that only stood for it."""
    before, after = parameters[:start], parameters[end:]
    if before.endswith("-"):
        return before[:-1] + after
    if after.startswith("-"):
        return before + after[1:]
    return before[:-1] + after[1:]
