"""What a reader should know of tests with budgets whatever their verdicts: one line for each fact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.unread import format_unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult

NOTES = 8


def list_notes(results: Sequence[TestResult]) -> list[str]:
    """The facts of all tests with budgets, each once with the tests that it holds for, ``NOTES`` of them at most."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.verdicts and result.measurement:
            for text in describe_notes(result.measurement):
                found.setdefault(text, []).append(result.nodeid)
    lines = [f"{text} ({_name(tests)})" for text, tests in found.items()]
    left_out = len(lines) - NOTES
    return [*lines[:NOTES], *([f"+{left_out} more notes"] if left_out > 0 else [])]


def describe_notes(measurement: Mapping[str, Any]) -> Iterator[str]:
    """The facts of one measurement in its wire form."""
    yield from measurement["disturbances"]
    unread = measurement["requests"]["unread"]
    if unread:
        yield f"the test sent {format_unread({call['call']: call['count'] for call in unread})}"


def _name(tests: Sequence[str]) -> str:
    return tests[0] if len(tests) == 1 else f"{tests[0]} and {len(tests) - 1} more"
