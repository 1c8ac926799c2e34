"""Reports as files hold them: nothing is lost on the way there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.measurement.host.state import HostState
from pytest_llmperf.measurement.load import Load, Spread
from pytest_llmperf.reports.compact.report import compact_report, expand_report
from pytest_llmperf.reports.json_report import build_report
from pytest_llmperf.reports.result import TestResult
from tests.helpers.device_samples import SECOND, THROTTLED, on
from tests.helpers.report_samples import BROKEN, ENGINE, measurement, request, result, trace
from tests.helpers.stored_reports import make_engine, make_report, make_test

UNANSWERED = Load("constant(8)", None, prompt_asked=Spread(8, 8.0, 8, 12), output_asked=Spread(4, 5.5, 9, 12))
ANSWERED = replace(UNANSWERED, prompt_came=Spread(8, 8.0, 8, 12), output_came=Spread(1, 2.5, 9, 11))
OTHER = replace(ENGINE, name="ollama", model="qwen3:0.6b")
HOST = HostState(
    4.0, processors=8, steal=0.0, pressure={"cpu": 0.1, "memory": 0.0}, unknown={"on_battery": "no battery"}
)
PAIRS = {
    "new": "new",
    "old": "old",
    "seed": 7,
    "rounds_in_turn": 1,
    "swapped": False,
    "first": ["new", "old", "new"],
    "values": {
        "latency.ttft_p50": [
            {"new": 0.1, "old": 0.11, "reason": ""},
            {"new": None, "old": 0.12, "reason": "no request"},
            {"new": 0.1, "old": 0.12, "reason": ""},
        ]
    },
}


def several_engines() -> TestResult:
    parts = (replace(measurement(), label="vllm"), replace(measurement(), label="ollama", engine=OTHER, memory=None))
    verdicts = (replace(BROKEN, engine="vllm"), replace(BROKEN, engine="ollama", measured=None, how="", reason="none"))
    return result("t.py::engines", verdicts, replace(measurement(), parts=parts))


RESULTS = {
    "all verdicts": result(),
    "no budget": result("t.py::free", ()),
    "nothing measured": TestResult("t.py::nothing", (), {}),
    "several engines": several_engines(),
    "another engine": result("t.py::other", (), replace(measurement(), engine=OTHER)),
    "failed requests": result("t.py::failed", (), replace(measurement(), requests=(request(0, error="refused"),))),
    "a host": result("t.py::host", (), replace(measurement(), host=HOST)),
    "a host that tells less": result("t.py::less", (), replace(measurement(), host=HostState(3.0, processors=4))),
    "devices": result("t.py::gpu", (), replace(measurement(), devices=(on(trace(), conditions=THROTTLED),))),
    "other devices": result("t.py::two", (), replace(measurement(), devices=(on(trace()), on(trace(9), SECOND)))),
    "no memory": result("t.py::blind", (BROKEN,), replace(measurement(), memory=None, memory_missing="no access")),
    "a load that has no answer": result("t.py::refused", (), replace(measurement(), loads=(UNANSWERED,))),
    "a load that has answers": result("t.py::load", (), replace(measurement(), loads=(ANSWERED,))),
    "rounds": result("t.py::rounds", (), replace(measurement(), rounds=3, looks=3, attempt=2)),
    "pairs": replace(result("t.py::pairs", ()), pairs=PAIRS),
    "failed by itself": replace(result("t.py::itself"), outcome="failed", failed_by="test"),
}


def in_full(*results: TestResult) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(json.dumps(build_report(results, session={"host": "runner"})))
    return report


def there_and_back(report: dict[str, Any]) -> dict[str, Any]:
    return expand_report(json.loads(json.dumps(compact_report(report), sort_keys=True)))


@pytest.mark.parametrize("kind", RESULTS)
def test_nothing_is_lost_of_a_test_in_a_report_of_its_own(kind: str) -> None:
    report = in_full(RESULTS[kind])
    assert there_and_back(report) == report


def test_nothing_is_lost_of_a_whole_suite_and_each_test_says_the_same_as_alone() -> None:
    report = in_full(*RESULTS.values())
    again = there_and_back(report)
    assert again == report
    for test, result_ in zip(again["tests"], RESULTS.values(), strict=True):
        assert test == there_and_back(in_full(result_))["tests"][0]


def test_engines_workloads_and_reasons_stand_once() -> None:
    written = compact_report(in_full(*(replace(result(), nodeid=f"t.py::test_{number}") for number in range(5))))
    assert (len(written["engines"]), len(written["workloads"])) == (1, 1)
    assert [test["measurement"]["engine"] for test in written["tests"]] == [0] * 5
    assert len({why for why, _ in written["missing"]}) == len(written["missing"])


def test_a_measurement_of_few_parts_is_kept_as_well() -> None:
    report = make_report(make_test(), make_test("t.py::b", {"memory.peak": None}, make_engine(digest="d" * 64)))
    assert there_and_back(report) == report


def test_a_test_that_names_what_no_table_has_is_an_error() -> None:
    written = compact_report(in_full(result()))
    with pytest.raises(IndexError):
        expand_report({**written, "engines": []})
