"""``llmperf.toml``: the one that is read, those that are not, and its tables that match no test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_llmperf.budgets.config_file import FileBudget
    from pytest_llmperf.budgets.limit import Limit

NAME = "llmperf.toml"
_WILDCARDS = "*?["
_TABLES = ("[tool.llmperf", "[[tool.llmperf", "[tool.pytest-llmperf", "[tool.pytest_llmperf")


def find_budget_file(config: pytest.Config) -> Path:
    """Where the budgets of a run are read from, whether or not there is a file: beside the ini file, or at the root."""
    return (config.inipath.parent if config.inipath else config.rootpath) / NAME


def find_unread_files(config: pytest.Config, tests: Iterable[Path]) -> Iterator[str]:
    """A sentence for each file with budgets that this run does not read.

    Looked for at the root, where pytest was called, and in each folder from there to the files ``tests``. Above the
    root a file counts if this run has none of its own.
    """
    used, root = find_budget_file(config), config.rootpath
    folders = {root, *_between(root, config.invocation_params.dir)}
    for folder in {path.parent for path in tests}:
        folders.update(_between(root, folder))
    if not used.is_file():
        folders.update(_up_to_repository(root))
    for folder in sorted(folders - {used.parent}):
        if (folder / NAME).is_file():
            yield f"{_shown(folder / NAME, root)} is not read: budgets of this run come from {_shown(used, root)}"
    for project in sorted({root / "pyproject.toml", used.parent / "pyproject.toml"}):
        if project.is_file() and (table := _find_table(project)):
            yield f"{_shown(project, root)}: {table} is not read: write [[budget]] tables into {_shown(used, root)}"


def _between(root: Path, folder: Path) -> list[Path]:
    """``folder`` and those above it, below ``root``; empty if it is not below."""
    return [each for each in (folder, *folder.parents) if root in each.parents]


def _up_to_repository(root: Path) -> Iterator[Path]:
    """The folders above ``root``, up to that of the repository."""
    for folder in (root, *root.parents):
        yield folder
        if (folder / ".git").exists():
            return


def _find_table(project: Path) -> str:
    text = project.read_text(encoding="utf-8", errors="replace")
    lines = (line.strip() for line in text.splitlines())
    return next((line for line in lines if line.startswith(_TABLES)), "")


def _shown(path: Path, root: Path) -> str:
    return os.path.relpath(path, root)


def find_unmatched(budgets: Sequence[FileBudget], nodeids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The ``tests`` glob of each table that matches none of ``nodeids``, and the sentence that says so."""
    from pytest_llmperf.budgets.limit import matches

    for budget in budgets:
        if not any(matches(nodeid, budget.tests) for nodeid in nodeids):
            collected = f"tests are named like {nodeids[0]!r}" if nodeids else "no test was collected"
            yield budget.tests, f"{budget.source}: tests = {budget.tests!r} matches no test; {collected}"


def find_beaten(budgets: Sequence[FileBudget], nodeids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The ``tests`` glob of each table with a limit that later tables beat everywhere, and the sentence for it."""
    from pytest_llmperf.budgets.limit import matches

    for number, budget in enumerate(budgets):
        tests = [nodeid for nodeid in nodeids if matches(nodeid, budget.tests)]
        for limit in budget.limits if tests else ():
            beating = [later for later in budgets[number + 1 :] if _has_same(later, limit)]
            if all(any(matches(nodeid, later.tests) for later in beating) for nodeid in tests):
                winner = beating[-1].source.rpartition(": ")[2]
                text = f"{limit.name} = {limit.text!r} applies to no test: {winner} comes later and beats it everywhere"
                yield budget.tests, f"{budget.source}: {text}; write the general table first"


def _has_same(budget: FileBudget, limit: Limit) -> bool:
    """Whether a table limits the same metric in the same way for the same engine and device."""
    return any(other.slot == limit.slot for other in budget.limits)


class Scope:
    """Which part of the tests a run has collected.

    ``skipped`` has the node ids of modules and folders that were skipped or could not be collected.
    """

    def __init__(self, config: pytest.Config, skipped: Sequence[str]) -> None:
        self._skipped = skipped
        self._narrowed = bool(config.getoption("keyword", "") or config.getoption("lf", False)) or any(
            argument.startswith("--ignore") for argument in config.invocation_params.args
        )
        root = config.rootpath
        chosen = [Path(os.path.normpath(config.invocation_params.dir / argument)) for argument in config.args]
        standing = config.args_source is pytest.Config.ArgsSource.TESTPATHS
        self._folders = None if standing or root in chosen else [_below(root, path) for path in chosen if path.is_dir()]

    def covers(self, glob: str) -> bool:
        """Whether every test that the glob can match was collected, so that a glob without a match is a mistake."""
        fixed = glob[: next((i for i, letter in enumerate(glob) if letter in _WILDCARDS), len(glob))]
        if self._narrowed or any(nodeid.startswith(fixed) or fixed.startswith(nodeid) for nodeid in self._skipped):
            return False
        return self._folders is None or any(fixed.startswith(f"{folder}/") for folder in self._folders if folder)


def _below(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if root in path.parents else ""
