"""Why budgets have no PASS and no FAIL: each reason once, with the budgets and the tests that it holds for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.terminal.groups import find_case, find_function
from pytest_llmperf.reports.verdicts import sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult

    Pairs = list[tuple[TestResult, Verdict]]

REASONS = 8
_MOST_BUDGETS = 3
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def list_reasons(results: Sequence[TestResult], most: int = REASONS) -> list[str]:
    """``latency.ttft_p95 NOT MEASURED: p95 needs 130 requests, the test gave 12 (test_chat.py::test_a and 3 more)``.

    One sentence for each reason, the worst status first, ``most`` at most and one that counts the rest. Reasons for the
    same budgets that differ in numbers only are one, with the numbers of the worst.
    """
    pairs = sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts])
    exact: dict[tuple[Status, str], Pairs] = {}
    for result, verdict in pairs:
        if verdict.status not in (Status.PASS, Status.FAIL):
            exact.setdefault((verdict.status, verdict.reason), []).append((result, verdict))
    alike: dict[tuple[Status, str, frozenset[str]], Pairs] = {}
    for (status, reason), own in exact.items():
        budgets = frozenset(verdict.title for _, verdict in own)
        alike.setdefault((status, _NUMBERS.sub("0", reason), budgets), []).extend(own)
    lines = [_describe(own) for own in alike.values()]
    left_out = len(lines) - most
    return [*lines[:most], *([f"+{left_out} more reasons"] if left_out > 0 else [])]


def _describe(pairs: Pairs) -> str:
    verdict = pairs[0][1]
    budgets = list(dict.fromkeys(own.title for _, own in pairs if own.name))
    named = ", ".join(budgets[:_MOST_BUDGETS])
    if more := len(budgets[_MOST_BUDGETS:]):
        named += f" and {more} more"
    if verdict.status is Status.INCONCLUSIVE:
        named += f" {verdict.measured_with_interval}"
    return f"{f'{named} ' if named else ''}{verdict.status}: {verdict.reason} ({_name_tests(pairs)})"


def _name_tests(pairs: Pairs) -> str:
    """``test_chat.py::test_a``, ``test_chat.py::test_a, 30 cases``, ``test_chat.py::test_a[1] and 4 more``."""
    tests = {result.nodeid: result for result, _ in pairs}
    functions = {find_function(result) for result in tests.values()}
    first = next(iter(tests))
    if len(tests) == 1:
        return first
    if len(functions) > 1:
        return f"{first} and {len(tests) - 1} more"
    is_one = len({verdict.reason for _, verdict in pairs}) == 1
    return f"{functions.pop()}, {len(tests)} cases{'' if is_one else f', the worst {find_case(tests[first])}'}"
