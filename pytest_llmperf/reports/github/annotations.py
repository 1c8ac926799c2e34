"""Workflow commands of GitHub Actions: an error at the line of each test function for each budget that failed it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.reports.terminal.groups import group_by_function
from pytest_llmperf.reports.text import to_one_line
from pytest_llmperf.reports.verdicts import format_reason

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Status
    from pytest_llmperf.reports.result import TestResult
    from pytest_llmperf.reports.terminal.groups import FunctionRows, Row

MOST_ERRORS = 10
"""GitHub shows no more errors of one step."""


def list_annotations(
    results: Sequence[TestResult], failing: Collection[Status], errors: Sequence[str], folder: str
) -> list[str]:
    """Lines such as ``::error file=test_chat.py,line=12,title=memory.peak FAIL::test_answer: memory.peak ...``.

    Args:
        results: of the tests.
        failing: the statuses of budgets that fail a test of this run.
        errors: sentences about the run as a whole that make it fail.
        folder: of the project from the root of the repository, ``.`` if they are the same.
    """
    failed = [
        replace(result, verdicts=tuple(verdict for verdict in result.verdicts if verdict.status in failing))
        for result in results
        if result.outcome == "failed"
    ]
    found = [_annotate(group, row, folder) for group in group_by_function(failed) for row in group.rows]
    found += [f"::error title=llmperf::{_escape(text)}" for text in errors]
    left_out = len(found) - MOST_ERRORS
    return [*found[:MOST_ERRORS], *(_count_rest(left_out) if left_out > 0 else ())]


def _annotate(group: FunctionRows, row: Row, folder: str) -> str:
    where = f"file={_escape_property(_find_file(row, folder))},line={row.line}," if row.file else ""
    title = _escape_property(f"{row.verdict.title or 'budgets'} {row.verdict.status}")
    cases = f" ({row.cases} cases, the worst {row.case})" if row.cases > 1 else ""
    engine = f" on {group.engine}" if group.engine else ""
    name = group.function.partition("::")[2] or group.function
    return f"::error {where}title={title}::{_escape(f'{name}{engine}: {format_reason(row.verdict)}{cases}')}"


def _count_rest(number: int) -> Iterator[str]:
    more = "1 more error is" if number == 1 else f"{number} more errors are"
    yield (
        f"::notice title=llmperf::{more} not shown here, because GitHub shows {MOST_ERRORS} of a step: see its summary "
        "or its log"
    )


def _find_file(row: Row, folder: str) -> str:
    """The path from the root of the repository, with slashes."""
    return Path(os.path.normpath(Path(folder) / row.file)).as_posix()


def find_project(root: Path, environ: Mapping[str, str]) -> str:
    """The folder of a project from the root of its repository; that of the workspace if there is no repository."""
    project = root.resolve()
    workspace = Path(environ.get("GITHUB_WORKSPACE") or project).resolve()
    above = [folder for folder in (project, *project.parents) if (folder / ".git").exists()]
    base = above[0] if above else workspace if project.is_relative_to(workspace) else project
    return project.relative_to(base).as_posix()


def _escape(text: str) -> str:
    """For the message of a workflow command."""
    return to_one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    """For the value of a property of a workflow command."""
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
