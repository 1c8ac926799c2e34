"""What was collected, and the budgets that no collected test reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.plugin.markers.marks import MARKERS
from pytest_llmperf.plugin.preflight.budget_files import Scope, find_beaten, find_unmatched, find_unread_files
from pytest_llmperf.plugin.preflight.marker_names import find_misspelled, list_registered
from pytest_llmperf.plugin.preflight.marker_places import find_unread_markers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_llmperf.budgets.config_file import FileBudget
    from pytest_llmperf.plugin.preflight.findings import Findings


def name_of(item: pytest.Item) -> str:
    """The node id of a test, without the group that pytest-xdist appends to it."""
    plain = f"{item.parent.nodeid}::{item.name}" if item.parent is not None else ""
    return plain if plain and item.nodeid.startswith(f"{plain}@") else item.nodeid


class Collection:
    """The tests that this process collected, before any was deselected. Registered as a plugin."""

    def __init__(self) -> None:
        self._nodeids: list[str] = []
        self._paths: set[Path] = set()
        self._skipped: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notes what could not be collected, or was skipped as a whole."""
        if not report.passed:
            self._skipped.append(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Notes the tests."""
        self._nodeids = [name_of(item) for item in items]
        self._paths = {item.path for item in items}

    def check(
        self,
        config: pytest.Config,
        selected: Sequence[pytest.Item],
        budgets: Sequence[FileBudget],
        findings: Findings,
        *,
        strict: bool,
    ) -> dict[pytest.Item, str]:
        """Adds a finding for each budget that no test reads; an error where ``strict`` is set.

        Returns the mistake of each test with a misspelled marker, where that is an error of the test: with ``strict``.
        """
        scope = Scope(config, self._skipped)
        if budgets:
            for tests, text in (*find_unmatched(budgets, self._nodeids), *find_beaten(budgets, self._nodeids)):
                findings.add(text, error=strict and scope.covers(tests))
        for text in (*find_unread_files(config, self._paths), *find_unread_markers(config, selected)):
            findings.add(text, error=strict)
        mistakes = _find_mistakes(config, selected)
        if strict:
            return mistakes
        for text in mistakes.values():
            findings.add(text, error=False)
        return {}


def _find_mistakes(config: pytest.Config, selected: Sequence[pytest.Item]) -> dict[pytest.Item, str]:
    registered = list_registered(config)
    return {
        item: f"{item.name}: @{name} is no marker of pytest-llmperf and limits nothing; @{likely} is (register a "
        "marker of your own under 'markers' in the ini file)"
        for item in selected
        for name, likely in find_misspelled(item, MARKERS, registered)
    }
