"""Markers whose name is a slip of the pen away from one of this plugin's: pytest itself only warns."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    import pytest

# So many letters of a name allow for one slip more: "llm_engines" for one, "memory_budget" for two.
_LETTERS_PER_SLIP = 6


def list_registered(config: pytest.Config) -> frozenset[str]:
    """The names of all registered markers: pytest's own, those of plugins, and those of the project."""
    lines: Sequence[str] = config.getini("markers")
    return frozenset(line.partition(":")[0].partition("(")[0].strip() for line in lines)


def find_misspelled(item: pytest.Item, ours: Sequence[str], registered: Collection[str]) -> Iterator[tuple[str, str]]:
    """The markers of a test that are registered by none and resemble one of ``ours``, each with that one."""
    for name in dict.fromkeys(mark.name for mark in item.iter_markers()):
        if name not in registered and name not in ours:
            likely = guess_marker(name, ours)
            if likely:
                yield name, likely


def guess_marker(name: str, ours: Sequence[str]) -> str:
    """The marker that is probably meant by ``name``, or ""."""
    distances = {known: count_slips(name.lower(), known) for known in ours}
    likely = min(distances, key=distances.__getitem__)
    return likely if distances[likely] <= len(likely) // _LETTERS_PER_SLIP else ""


def count_slips(one: str, other: str) -> int:
    """The letters to add, drop or replace, and the neighbours to swap, that make ``one`` of ``other``."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            row.append(min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (letter != wanted)))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                row[j] = min(row[j], earlier[j - 2] + 1)
    return row[-1]
