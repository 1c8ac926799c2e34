"""Every output keeps its form and commands no terminal, whatever stands in names and reasons."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.github.annotations import list_annotations
from pytest_llmperf.reports.markdown import report as markdown
from pytest_llmperf.reports.page import render as page
from pytest_llmperf.reports.terminal.failure_table import render_failure
from pytest_llmperf.reports.terminal.summary import render_summary
from tests.helpers.report_samples import BROKEN, ENGINE, UNMEASURED, measurement, result

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.reports.result import TestResult

OUTPUTS: dict[str, Callable[[list[TestResult]], str]] = {
    "summary": lambda results: "\n".join(render_summary(results, width=80)),
    "failure": lambda results: render_failure(results[0]),
    "json": lambda results: json_report.render(results, {"findings": [results[0].nodeid]}),
    "markdown": lambda results: markdown.render(results, {"findings": [results[0].nodeid]}),
    "page": lambda results: page.render(results, {"findings": [results[0].nodeid]}),
    "annotations": lambda results: "\n".join(list_annotations(results, {Status.FAIL}, [results[0].nodeid], ".")),
}
HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;title\x07",
    "C1": "\x9b31m\x9d0;title\x9c",
    "direction": "\u202eabc\u2066",
    "line breaks": "a\r\n::error::b\n## c",
    "NUL": "a\x00b\x7f",
    "half of a pair": "\\ud83d",
    "HTML": "<script>alert(1)</script>",
    "CDATA": "]]><img src=x onerror=alert(1)>",
    "quotes": "\"'><b onload='x'>",
    "Markdown": "``` | `x` [a](javascript:b) ![c](d) </code></details>",
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=[*OUTPUTS])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=[*HOSTILE])
def test_an_output_holds_nothing_that_is_obeyed(output: Callable[[list[TestResult]], str], text: str) -> None:
    measured = replace(measurement(), engine=replace(ENGINE, model=f"m{text}", version=text))
    verdicts = (replace(BROKEN, how=text), replace(UNMEASURED, reason=f"the server said {text}"))
    written = output([result(f"test_it.py::test_it[{text}]", verdicts, measured)])
    assert all(char.isprintable() or char == "\n" for char in written)


@pytest.mark.parametrize("name", ["summary", "failure", "markdown", "annotations"])
def test_a_line_break_begins_no_line_of_an_output(name: str) -> None:
    text = HOSTILE["line breaks"]
    lines = OUTPUTS[name]([result(f"a[{text}]", (replace(BROKEN, how=text), replace(UNMEASURED, reason=text)))])
    assert not re.search(r"(?m)^(?:::error::b|## c)", lines)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=[*HOSTILE])
def test_json_gives_back_what_it_was_given(text: str) -> None:
    nodeid = f"test_it.py::test_it[{text}]"
    assert json.loads(OUTPUTS["json"]([result(nodeid)]))["tests"][0]["nodeid"] == nodeid


@pytest.mark.parametrize("name", ["page", "markdown"])
@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "]]><img src=x onerror=alert(1)>"])
def test_no_tag_of_others_stands_where_a_page_reads_tags(name: str, text: str) -> None:
    written = OUTPUTS[name]([result(f"test_it.py::test_it[{text}]", (replace(UNMEASURED, reason=text),))])
    if name == "markdown":  # what stands between fences or in backticks is no tag
        written = re.sub(r"(?ms)^\s*(`{3,})\w*$.*?^\s*\1\s*$|(`+).+?\2", "", written)
    assert "<script>alert" not in written
    assert "<img src=x" not in written
