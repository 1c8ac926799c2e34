"""Runs as the HTML report shows them: of every state, hostile, and large."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.measurement import RecordedValue
from tests.helpers.report_samples import BROKEN, ENGINE, PASSING, UNMEASURED, measurement, result
from tests.helpers.verdicts import verdict

if TYPE_CHECKING:
    from pytest_llmperf.reports.result import TestResult

FACTS: dict[str, Any] = {
    "pytest_llmperf": "0.1.0",
    "started": "2026-11-20T10:00:00Z",
    "command_line": ["pytest", "--llm-engine=vllm", "tests"],
    "host": "node7",
    "driver": "580.95.05",
    "strict": False,
    "session_noise": None,
    "git": {"commit": "0123abcd", "branch": "main", "dirty": False},
    "findings": [],
    "run": {"exit_status": 1, "options": ["--llm-engine=vllm"], "failures": []},
}
SURE = replace(PASSING, interval=Interval(62.0, 70.0, 12, 12.0, "request"))
CLOSE = replace(
    verdict(
        Status.INCONCLUSIVE, "latency.ttft_p50", "latency.ttft", 0.1, "100 ms", 0.1, reason="about 90 more requests"
    ),
    interval=Interval(0.098, 0.104, 12, 12.0, "request"),
)


def mixed_run() -> list[TestResult]:
    """Six tests of three functions: FAIL, NOT MEASURED, INCONCLUSIVE, PASS twice, and one without budgets."""
    return [
        result("tests/test_chat.py::test_answer[short]", (SURE,), outcome="passed"),
        result("tests/test_chat.py::test_answer[long]", (SURE, BROKEN)),
        result("tests/test_chat.py::test_answer[empty]", (CLOSE, SURE), outcome="passed"),
        result("tests/test_load.py::test_burst", (UNMEASURED,), outcome="passed"),
        replace(result("tests/test_load.py::test_quiet", (PASSING,), outcome="passed"), duration_s=0.2),
        result("tests/test_load.py::test_plain", (), outcome="passed"),
    ]


def hostile_run(text: str) -> tuple[list[TestResult], dict[str, Any]]:
    """A run in which everything that others choose is ``text``: names, ids, settings, answers, errors, reasons."""
    engine = replace(
        ENGINE, name=text, model=text, version=text, variant=text, quantisation=text, arguments=((text, text),)
    )
    base = measurement()
    failed = replace(base.requests[0], error=text, chunks=(), output_tokens=None, finish_reason=None)
    other = replace(base.requests[1], model=text)
    measured = replace(
        base,
        engine=engine,
        requests=(failed, other, *base.requests[2:]),
        records=(RecordedValue(text, 1.0, text),),
        faults=(text,),
        disturbances=(text,),
        engine_stats={text: 1.0},
        memory_missing=text,
        devices_missing=text,
    )
    wrong = replace(BROKEN, reason=text, how=text, limit_text=f"16 GiB{text}", engine=text)
    results = [result(f"test_{text}.py::test[{text}]", (wrong, UNMEASURED), measured)]
    run = {"exit_status": 1, "options": [text], "failures": [[text, text, text]]}
    facts = dict.fromkeys(("pytest_llmperf", "started", "host", "driver", "platform", "python"), text)
    git = {"commit": text, "branch": text, "dirty": False}
    return results, {**facts, "git": git, "findings": [text], "baselines": [text], "command_line": [text], "run": run}


def large_run(count: int) -> list[TestResult]:
    """So many tests, ten of each function; every tenth breaks a budget."""
    one, other = result(verdicts=(SURE, PASSING), outcome="passed"), result()
    return [
        replace(one if at % 10 else other, nodeid=f"tests/test_chat.py::test_answer_{at // 10}[prompt-{at % 10}]")
        for at in range(count)
    ]
