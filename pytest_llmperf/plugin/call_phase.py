"""The call phase of a measured test: its rounds, its verdicts, and the report that carries them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import select_broken
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin import benchmark
from pytest_llmperf.plugin.outcomes import BudgetExceeded, LLMPerfWarning
from pytest_llmperf.plugin.session import LIMITS, LOGS, MEASURED_RUN, RESULT, SESSION, Session
from pytest_llmperf.reports.failure_table import failure_table
from pytest_llmperf.reports.junit import properties, replace_properties
from pytest_llmperf.reports.result import TestResult, to_wire
from pytest_llmperf.reports.wire import measurement_to_wire

if TYPE_CHECKING:
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun


def run_rounds(item: pytest.Item, measured: MeasuredRun, session: Session) -> None:
    """Opens the window and runs the warm-up and all rounds but the last, which pytest runs itself."""
    measured.open()  # for what may fail before the first round that counts
    session.use_engines(item, measured)
    for caveat in measured.find_caveats():
        item.warn(LLMPerfWarning(caveat))
    repeated = LIMITS in item.stash and isinstance(item, pytest.Function) and not benchmark.repeats(item)
    for _ in range(session.settings.warmup if repeated else 0):
        item.runtest()
    measured.rounds = session.settings.rounds if repeated else 1
    measured.open()
    for _ in range(measured.rounds - 1):
        item.runtest()


def judge_test(item: pytest.Item, measured: MeasuredRun) -> BudgetExceeded | None:
    """Closes the window and judges the budgets; returns the failure if one is broken, else None."""
    measurement, verdicts = measured.close()
    del item.stash[MEASURED_RUN]
    item.config.stash[SESSION].measured = None
    result = TestResult(
        item.nodeid,
        tuple(verdicts),
        measurement_to_wire(measurement, [verdict.name for verdict in verdicts if verdict.name]),
    )
    item.stash[RESULT] = result
    item.stash[LOGS] = measured.log_tails()
    replace_properties(item.user_properties, properties(result))
    benchmark.note(item, result)
    failing = select_broken(verdicts, strict=item.config.stash[SESSION].settings.strict)
    if not failing:
        return None
    return BudgetExceeded(_headline(failing, measurement))


def _headline(failing: list[Verdict], measurement: Measurement) -> str:
    worst = failing[0]
    where = f" on {measurement.engine.device_name}" if measurement.engine and worst.status is Status.FAIL else ""
    more = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    return f"{worst.sentence()}{where}{more}"


def attach_result(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Adds the table and the logs to the report of a failure, and the result to that of the call phase."""
    sections = list(getattr(call.excinfo.value, "sections", ())) if call.excinfo is not None else []
    if call.when == "call" and RESULT in item.stash:
        result = item.stash[RESULT].with_outcome(str(report.outcome), float(call.duration))
        del item.stash[RESULT]
        report.llmperf = to_wire(result)  # type: ignore[attr-defined]
        table = [("llmperf", failure_table(result))] if result.verdicts else []
        sections = [*table, *item.stash[LOGS], *sections]
    add_section = getattr(report.longrepr, "addsection", None)
    if report.failed and add_section is not None:
        for title, text in sections:
            add_section(title, text)
