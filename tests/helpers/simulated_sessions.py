"""Reports as they are stored, made of measurements and limits."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.interval import Confidence
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports.json_report import build_report
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.streams import MS, measured, stream, trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement

NODEID = "tests/test_chat.py::test_answer"


def measure_session(seed: int, slower: float = 1.0, count: int = 60, **fields: Any) -> Measurement:
    """One session of a test: requests one after another, of about 200 ms to the first token and 5 ms to each next.

    Sessions differ by 3 %. ``slower`` makes all times so many times as long.
    """
    generator = random.Random(seed)
    times = slower * (1 + 0.03 * generator.gauss(0, 1))
    requests, now = [], 0.0
    for _ in range(count):
        first = 200 * times * (1 + 0.1 * generator.gauss(0, 1))
        gaps = [5 * times * (1 + 0.05 * generator.gauss(0, 1)) for _ in range(7)]
        arrivals = [now + first + sum(gaps[:at]) for at in range(8)]
        requests.append(stream(*arrivals, sent_ms=now, output_tokens=8, prompt_tokens=12, status=200))
        now = arrivals[-1] + 1
    given = {"window": Window(0, round(now * MS)), "memory": trace(2**30, 2**30 + 2**20), **fields}
    return measured(*requests, **given)


def make_entry(
    measurement: Measurement, limits: Sequence[Limit] = (), outcome: str = "passed", nodeid: str = NODEID
) -> TestResult:
    """The result of a test with these limits, as a run judges it."""
    verdicts = judge(limits, measurement, Confidence())
    names = [verdict.name for verdict in verdicts if verdict.name]
    found = TestResult(nodeid, tuple(verdicts), measurement_to_wire(measurement, names))
    is_broken = any(verdict.status is not Status.PASS for verdict in verdicts)
    return found.with_outcome(outcome, 1.5, "budget" if is_broken else "test")


def make_report(*results: TestResult, **session: Any) -> dict[str, Any]:
    """A report with these results, through JSON and back."""
    facts = {"session_noise": None, "python": "3.12.1", "git": None, **session}
    report: dict[str, Any] = json.loads(json.dumps(build_report(results, session=facts)))
    return report
