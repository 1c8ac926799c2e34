"""Mappings without what they have in common with a usual one."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

WITHOUT = "without"
"""Of a mapping in a file: the keys that a usual one has and this one has not."""


def leave_out(found: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """What differs from the usual mapping."""
    rest = {key: value for key, value in found.items() if key not in usual or usual[key] != value}
    without = sorted(usual.keys() - found.keys())
    return {**rest, WITHOUT: without} if without else rest


def fill_in(written: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping that :func:`leave_out` made ``written`` of."""
    without = {WITHOUT, *written.get(WITHOUT, ())}
    return {key: value for key, value in {**usual, **written}.items() if key not in without}


def find_common(mappings: Iterable[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Any]:
    """Of these keys the values that more than half of the mappings have."""
    found = list(mappings)
    common = {}
    for key in keys:
        counted = Counter(json.dumps(one[key], sort_keys=True) for one in found if key in one)
        text, count = next(iter(counted.most_common(1)), ("", 0))
        if count > len(found) / 2:
            common[key] = json.loads(text)
    return common


class Table:
    """Values that stand once in a report, and are named by their place."""

    def __init__(self) -> None:
        self.rows: list[Any] = []
        self._places: dict[str, int] = {}

    def find_place(self, value: Any) -> int:
        """The place of a value, which is added if it is not there yet."""
        text = json.dumps(value, sort_keys=True)
        if text not in self._places:
            self._places[text] = len(self.rows)
            self.rows.append(value)
        return self._places[text]
