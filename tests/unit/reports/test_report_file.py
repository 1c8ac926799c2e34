"""JSON reports that are read back: reports/report_file.py."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.report_file import ReportError, read_report
from tests.helpers.report_samples import result

if TYPE_CHECKING:
    from pathlib import Path


def test_a_report_is_read_from_its_path_and_from_its_text(tmp_path: Path) -> None:
    text = json_report.render([result("t.py::größe")], {"host": "runner"})
    path = tmp_path / "out.json"
    path.write_text(text, encoding="utf-8")
    assert read_report(path) == read_report(str(path)) == read_report(text)
    assert read_report(path)["tests"][0]["nodeid"] == "t.py::größe"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 1}, "it is a report of schema 1, and this version reads 3"),
        ({"schema": None}, "it is a report of schema None, and this version reads 3"),
        ({"metrics": None}, "it has no metrics"),
        ({"tests": {}}, "it has no tests"),
        ({"tests": [{"nodeid": "t.py::a"}]}, "one of its tests has no nodeid or no measurement"),
        ({"tests": ["t.py::a"]}, "one of its tests has no nodeid or no measurement"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(changes: dict[str, Any], reason: str) -> None:
    report = {**json.loads(json_report.render([], {})), **changes}
    with pytest.raises(ReportError) as raised:
        read_report(json.dumps(report))
    assert str(raised.value) == f"the report: {reason}"


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"tests": []}', '{"schema": 2', "\x00"])
def test_a_file_without_a_whole_report_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "out.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ReportError) as raised:
        read_report(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"none\.json: No such file"):
        read_report(tmp_path / "none.json")
