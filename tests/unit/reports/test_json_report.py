"""The report for machines: reports/json_report.py and its schema."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.device_trace import Energy
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.report_file import read_report
from pytest_llmperf.reports.result import TestResult, from_wire
from tests.helpers.device_samples import THROTTLED, on
from tests.helpers.report_samples import BROKEN, START, measurement, request, result, trace
from tests.helpers.verdicts import verdict

SESSION = {"pytest": "9.2.0", "options": {"llm_engine": ["vllm"]}}


def check(report: dict[str, Any]) -> None:
    schema = json_report.read_schema()
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


def test_a_rendered_report_is_valid_under_its_schema() -> None:
    text = json_report.render(everything(), SESSION)
    assert text.endswith("}\n")
    check(json.loads(text))


def test_the_schema_refuses_what_it_does_not_know() -> None:
    report = json.loads(json_report.render([result()], SESSION))
    check(report)
    report["tests"][0]["measurement"]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        check(report)


def test_the_schema_refuses_a_report_with_a_part_missing() -> None:
    report = json.loads(json_report.render([result()], SESSION))
    del report["tests"][0]["verdicts"][0]["status"]
    with pytest.raises(jsonschema.ValidationError):
        check(report)


def test_the_counts_and_the_session_stand_at_the_top() -> None:
    report = json_report.build_report([result()], session=SESSION)
    assert report["counts"] == {
        "PASS": 1,
        "FAIL": 1,
        "INCONCLUSIVE": 0,
        "NOT MEASURED": 1,
        "INVALID": 0,
        "NO BUDGET": 0,
        "NO BASELINE": 0,
    }
    assert report["session"] == SESSION
    assert report["schema"] == 3


def test_the_time_of_the_report_is_utc() -> None:
    report = json_report.build_report([], session={})
    created = datetime.fromisoformat(report["created"])
    assert created.utcoffset() == timedelta(0)
    assert created.isoformat(timespec="microseconds").replace("+00:00", "Z") == report["created"]
    assert created <= datetime.now(UTC)


def test_results_can_be_read_back() -> None:
    original = result()
    again = from_wire(read_report(json_report.render([original], {}))["tests"][0])
    assert again.verdicts == original.verdicts
    assert (again.nodeid, again.outcome, again.duration_s) == (original.nodeid, original.outcome, original.duration_s)


def test_numbers_that_json_cannot_write_are_null() -> None:
    endless = replace(BROKEN, measured=math.inf)
    report = json.loads(json_report.render([result(verdicts=(endless,))], {"load": [math.nan, 1.0]}))
    assert "measured" not in report["tests"][0]["verdicts"][0]
    assert report["session"]["load"] == [None, 1.0]
    check(report)


def test_a_session_that_is_not_plain_data_is_an_error() -> None:
    with pytest.raises(TypeError):
        json_report.render([], {"path": Path()})


def test_text_that_is_not_ascii_stays_readable() -> None:
    assert "test_größe" in json_report.render([result("t.py::test_größe", ())], {})
