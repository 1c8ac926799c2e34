"""The state of a whole test: that of its worst budget, or what else is to be said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.verdicts import SEVERITY, sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult

TEST_FAILED = "TEST FAILED"
"""The test failed, and no budget of it did: an assertion of its own, or an error."""

MEASURED = "MEASURED"
"""The test has no budgets."""

STATES: Sequence[str] = (SEVERITY[0].value, TEST_FAILED, *(status.value for status in SEVERITY[1:]), MEASURED)
"""Every state, the worst first."""

_TONES = {Status.FAIL.value: "fail", TEST_FAILED: "fail", Status.PASS.value: "pass", MEASURED: "plain"}


def find_state(result: TestResult) -> str:
    """One of ``STATES``."""
    found = [verdict.status.value for verdict in result.verdicts]
    if result.failed_by in ("test", "teardown"):
        found.append(TEST_FAILED)
    return min(found, key=STATES.index, default=MEASURED)


def find_tone(state: str) -> str:
    """The class of a state in the page: ``fail``, ``warn``, ``pass`` or ``plain``."""
    return _TONES.get(state, "warn")


def list_verdicts(result: TestResult) -> list[Verdict]:
    """The verdicts of a test, the worst first."""
    return [verdict for _, verdict in sort_worst_first([(result, verdict) for verdict in result.verdicts])]
