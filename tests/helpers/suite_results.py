"""Results of a suite that ran on several engines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.report_samples import ENGINE, MS, START, measurement, request

if TYPE_CHECKING:
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.measurement import Measurement


def run_on(label: str, *verdicts: Verdict, test: str = "t.py::test", slower: int = 1, **changed: Any) -> TestResult:
    """A test on one engine of several, whose twelve requests come ``slower`` times as far apart."""
    base = measurement()
    requests = tuple(request(300 * slower * number) for number in range(12))
    measured = replace(base, engine=replace(ENGINE, variant=label), requests=requests)
    measured = replace(measured, window=replace(base.window, end_ns=START + 4000 * slower * MS))
    return make_result(replace(measured, **changed), *verdicts, test=test, label=label)


def make_result(measured: Measurement, *verdicts: Verdict, test: str, label: str) -> TestResult:
    wire = measurement_to_wire(measured, [verdict.name for verdict in verdicts])
    nodeid = test[:-1] + f"-{label}]" if test.endswith("]") else f"{test}[{label}]"
    return TestResult(nodeid, verdicts, wire, "passed", 4.1, engine=label)
