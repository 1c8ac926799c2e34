"""The formats of report by the suffix of their file. No other place maps a suffix to what is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.markdown import report as markdown
from pytest_llmperf.reports.page import render as page
from pytest_llmperf.reports.result import TestResult

if TYPE_CHECKING:
    from pathlib import Path

Render = Callable[[Sequence[TestResult], Mapping[str, Any]], str]
"""Gives the text of a report, made of the results in the order in which the tests ended, and the facts of the run."""


class ReportFile(NamedTuple):
    """A report to write at the end of the run: where, and the function that gives its text.

    ``shows_run`` says that it also takes what no other report shows of the run, in ``run`` of the session.
    """

    path: Path
    render: Render
    shows_run: bool = False


FORMATS: Mapping[str, Render] = MappingProxyType(
    {".json": json_report.render, ".md": markdown.render, ".html": page.render}
)
_SHOWING_RUN = frozenset({".html", ".md"})


def make_report_file(path: Path, formats: Mapping[str, Render]) -> ReportFile:
    """The report at a path, whose suffix must be one of ``formats``."""
    suffix = path.suffix.lower()
    return ReportFile(path, formats[suffix], suffix in _SHOWING_RUN)


def merge_formats(additions: Sequence[Mapping[str, Render]]) -> dict[str, Render]:
    """The formats of this package and those that other packages add, by suffix in small letters.

    Raises:
        ValueError: an addition is not a dict from suffixes such as ``.csv`` to functions, or a suffix has a format
            already.
    """
    formats = dict(FORMATS)
    for addition in additions:
        if not isinstance(addition, Mapping):
            raise ValueError(f"pytest_llmperf_reports: {addition!r} is not a dict from suffix to function")
        for suffix, render in addition.items():
            if not isinstance(suffix, str) or len(suffix) < 2 or suffix.rfind(".") != 0:
                raise ValueError(f"pytest_llmperf_reports: {suffix!r} is not a suffix: write it like '.csv'")
            if not callable(render):
                raise ValueError(f"pytest_llmperf_reports: {suffix} has {render!r} in place of a function")
            if suffix.lower() in formats:
                raise ValueError(f"pytest_llmperf_reports: {suffix} has a format already")
            formats[suffix.lower()] = render
    return formats
