"""The report for machines: reports/json_report.py and its schema."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.measurement import Energy, Measurement, MemoryTrace
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.result import TestResult, from_wire
from tests.helpers.device_samples import THROTTLED, on
from tests.helpers.report_samples import BROKEN, START, measurement, request, result, trace
from tests.helpers.verdicts import verdict

if TYPE_CHECKING:
    from pathlib import Path

SESSION = {"pytest": "9.2.0", "options": {"llm_engine": ["vllm"]}}


def check(report: dict[str, Any]) -> None:
    schema = json_report.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)


def everything() -> list[TestResult]:
    """A result for each shape a measurement can take."""
    odd = Verdict(Status.NO_BUDGET, "", "", reason="no budget for this device")
    zero = verdict(Status.FAIL, "memory.retained", "memory.retained", 0.0, "0 B", 5.0)
    bare = Measurement(Window(START, START + 5))
    bare_device = on(MemoryTrace((), "none", missing="it hangs", attribution="device"), energy=Energy(reason="none"))
    devices = (on(trace(), conditions=THROTTLED), bare_device)
    failing = replace(measurement(), requests=(request(0, error="refused"),), memory=MemoryTrace((), "none"))
    return [
        result(),
        result("t.py::zero", (zero, odd)),
        result("t.py::bare", (BROKEN,), bare),
        result("t.py::failing", (BROKEN,), failing),
        result("t.py::long", (BROKEN,), replace(measurement(), memory=trace(5000), faults=("a fault",))),
        result("t.py::devices", (BROKEN,), replace(measurement(), devices=devices)),
        result("t.py::no_device", (BROKEN,), replace(measurement(), devices_missing="no driver")),
        TestResult("t.py::nothing", (), {}),
    ]


def test_a_written_report_is_valid_under_its_schema(tmp_path: Path) -> None:
    json_report.write(tmp_path / "out.json", everything(), SESSION)
    text = (tmp_path / "out.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    check(json.loads(text))


def test_the_schema_refuses_what_it_does_not_know() -> None:
    report = json_report.report([result()], session=SESSION)
    report["tests"][0]["measurement"]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(report)


def test_the_schema_refuses_a_report_with_a_part_missing() -> None:
    report = json_report.report([result()], session=SESSION)
    del report["tests"][0]["verdicts"][0]["margin"]
    with pytest.raises(jsonschema.ValidationError):
        check(report)


def test_the_counts_and_the_session_stand_at_the_top() -> None:
    report = json_report.report([result()], session=SESSION)
    assert report["counts"] == {
        "PASS": 1,
        "FAIL": 1,
        "INCONCLUSIVE": 0,
        "NOT MEASURED": 1,
        "INVALID": 0,
        "NO BUDGET": 0,
    }
    assert report["session"] == SESSION
    assert report["schema"] == 1


def test_the_time_of_the_report_is_utc() -> None:
    created = datetime.fromisoformat(json_report.report([], session={})["created"])
    assert created.utcoffset() == timedelta(0)
    assert created <= datetime.now(UTC)


def test_results_can_be_read_back() -> None:
    original = result()
    again = json.loads(json.dumps(json_report.report([original], session={})))["tests"][0]
    assert from_wire(again) == original


def test_numbers_that_json_cannot_write_are_null(tmp_path: Path) -> None:
    endless = replace(BROKEN, measured=math.inf)
    json_report.write(tmp_path / "out.json", [result(verdicts=(endless,))], {"load": [math.nan, 1.0]})
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["tests"][0]["verdicts"][0]["measured"] is None
    assert report["session"]["load"] == [None, 1.0]
    check(report)


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "out.json"
    json_report.write(path, [result()], SESSION)
    json_report.write(path, [], SESSION)
    assert [entry.name for entry in path.parent.iterdir()] == ["out.json"]
    assert json.loads(path.read_text(encoding="utf-8"))["tests"] == []


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    json_report.write(path, [], SESSION)
    before = path.read_text(encoding="utf-8")
    with pytest.raises(TypeError):
        json_report.write(path, [], {"path": tmp_path})
    assert path.read_text(encoding="utf-8") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_a_path_that_is_a_folder_is_an_error_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    with pytest.raises(OSError, match=r"out\.json"):
        json_report.write(tmp_path / "out.json", [], SESSION)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.json"]


def test_text_that_is_not_ascii_stays_readable(tmp_path: Path) -> None:
    json_report.write(tmp_path / "out.json", [result("t.py::test_größe", ())], {})
    assert "test_größe" in (tmp_path / "out.json").read_text(encoding="utf-8")
