"""The id of a test without the part that names its engine, so that it is equal on every engine."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Span = tuple[int, int]


def strip_engine(nodeid: str, label: str) -> str:
    """``t.py::test[short]`` of ``t.py::test[old-short]`` for the label ``old``, ``t.py::test`` of ``t.py::test[old]``.

    An id that does not hold the label between brackets and dashes is returned as it is.
    """
    spans = _find_spans(nodeid, label)
    return _cut(nodeid, *spans[0]) if spans else nodeid


def strip_engines(tests: Sequence[tuple[str, str]]) -> list[str]:
    """The ids of the tests of a run without their engines, from pairs of node id and label.

    A parameter may have the text of a label: ``t.py::test[old-x-old]``. What is cut is at the same place in all ids of
    a function. Ids of which that would make one are left as they are.
    """
    ids: dict[str, list[tuple[str, list[Span]]]] = {}
    for nodeid, label in tests:
        if spans := _find_spans(nodeid, label):
            ids.setdefault(nodeid[: _find_bracket(nodeid)], []).append((nodeid, spans))
    stripped = {nodeid: _cut(nodeid, *span) for own in ids.values() for nodeid, span in _choose_spans(own)}
    counts = Counter((stripped.get(nodeid, nodeid), label) for nodeid, label in dict.fromkeys(tests))
    names = ((nodeid, stripped.get(nodeid, nodeid), label) for nodeid, label in tests)
    return [name if counts[name, label] == 1 else nodeid for nodeid, name, label in names]


def _choose_spans(ids: Sequence[tuple[str, list[Span]]]) -> Iterable[tuple[str, Span]]:
    """The span of the label in each id of a function; counted by dashes from the left, else from the right."""
    for count in (_count_before, _count_behind):
        places = [{count(nodeid, span): span for span in spans} for nodeid, spans in ids]
        common = set(places[0]).intersection(*places[1:])
        if common:
            place = min(common)
            return [(nodeid, own[place]) for (nodeid, _), own in zip(ids, places, strict=True)]
    return [(nodeid, spans[0]) for nodeid, spans in ids]


def _count_before(nodeid: str, span: Span) -> int:
    return nodeid[_find_bracket(nodeid) : span[0]].count("-")


def _count_behind(nodeid: str, span: Span) -> int:
    return nodeid[span[1] :].count("-")


def _find_bracket(nodeid: str) -> int:
    """Where the parameters begin; -1 without any. Folders may have brackets in their names too."""
    return nodeid.find("[", len(nodeid.partition("::")[0]))


def _find_spans(nodeid: str, label: str) -> list[Span]:
    """Where an id holds a label between brackets and dashes."""
    start = _find_bracket(nodeid)
    if start < 0 or not label:
        return []
    spelled = dict.fromkeys((label, label.encode("unicode_escape").decode("ascii")))
    found = (re.finditer(rf"(?<=[\[-]){re.escape(text)}(?=[-\]])", nodeid[start:]) for text in spelled)
    return [(start + match.start(), start + match.end()) for matches in found for match in matches]


def _cut(nodeid: str, start: int, end: int) -> str:
    """The id without one of its parts, and without the dash or the brackets that only stood for it."""
    before, after = nodeid[:start], nodeid[end:]
    if before.endswith("-"):
        return before[:-1] + after
    if after.startswith("-"):
        return before + after[1:]
    return before[:-1] + after[1:]
