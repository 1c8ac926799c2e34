"""What a reader should know of tests with budgets whatever their verdicts: one line for each fact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.engine_info import is_same_model
from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.measurement.unread import format_unread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.reports.result import TestResult

NOTES = 8
_CANCELLED_SHOWN = 3
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def list_notes(results: Sequence[TestResult]) -> list[str]:
    """The facts of all tests with budgets, each once with the tests that it holds for, ``NOTES`` of them at most.

    Facts that differ in numbers only are one, and so are short answers.
    """
    found: dict[str, dict[str, list[str]]] = {}
    measured = [result for result in results if result.verdicts and result.measurement]
    for result in measured:
        for text in (*_describe(result.measurement), *_describe_failed(result)):
            found.setdefault(_NUMBERS.sub("0", text), {}).setdefault(text, []).append(result.nodeid)
    lines = [_describe_alike(texts) for texts in found.values()]
    left_out = len(lines) - NOTES
    lines = [*lines[:NOTES], *([f"+{left_out} more notes"] if left_out > 0 else [])]
    return [*lines, *_describe_all_short(measured)]


def _describe_alike(texts: Mapping[str, Sequence[str]]) -> str:
    """The first of texts that differ in numbers only, with its tests and how many tests have other numbers."""
    (first, tests), *others = texts.items()
    beside = sum(len(nodeids) for _, nodeids in others)
    return f"{first} ({_name(tests)}{f'; {beside} more with other numbers' if beside else ''})"


def _describe(measurement: Mapping[str, Any]) -> Iterator[str]:
    """The facts of one measurement in its wire form."""
    yield from measurement["disturbances"]
    host = measurement["host"]
    if host is not None and host["starved"] and measurement["requests"]["total"]:
        yield host["starved"]
    unread = measurement["requests"]["unread"]
    if unread:
        yield f"the test sent {format_unread({call['call']: call['count'] for call in unread})}"
    yield from describe_other_models(measurement)


def _describe_failed(result: TestResult) -> Iterator[str]:
    """The failed requests that no verdict of the test speaks of, a sentence for those for text and one for the others.

    Failures in a load are held against the share that it tolerates.
    """
    requests = result.measurement["requests"]
    inputs = requests["inputs"]
    groups = [] if result.measurement["loads"] else [("requests for text", requests, requests["total"])]
    if inputs:
        groups.append(("requests for embeddings or scores", inputs, inputs["embed"] + inputs["rank"]))
    for called, counted, total in groups:
        errors = list(counted["errors"])
        if errors and not any(error in verdict.reason for error in errors for verdict in result.verdicts):
            yield f"{counted['failed']} of {total} {called} failed, most with: {errors[0]}"


def describe_cancelled(measurement: Mapping[str, Any]) -> Iterator[str]:
    """What came of the requests that the test expected to be cancelled, a sentence for each of the first ones."""
    cancelled = measurement["cancelled"]
    for one in cancelled[:_CANCELLED_SHOWN]:
        tokens = "tokens not counted" if one["tokens"] is None else f"{one['tokens']} tokens"
        first = "no token" if one["ttft_s"] is None else f"first token after {_seconds(one['ttft_s'])}, {tokens}"
        noticed = one["noticed_after_s"]
        end = f"when the server noticed is not known: {one['reason']}"
        end = end if noticed is None else f"the server noticed within {_seconds(noticed)} ({one['how']})"
        yield f"after {_seconds(one['cancelled_after_s'])}, as expected: {first}; {end}"
    if len(cancelled) > _CANCELLED_SHOWN:
        yield f"and {len(cancelled) - _CANCELLED_SHOWN} other requests"


def _seconds(value: float) -> str:
    return format_value(value, SECONDS)


def describe_other_models(measurement: Mapping[str, Any]) -> Iterator[str]:
    """Which answers came from another model than that of the engine, a sentence for each engine of the test."""
    for part in measurement["parts"] or [measurement]:
        models, engine = part["requests"]["models"], part["engine"]
        asked = engine["model"] if engine else ""
        others = {name: count for name, count in models.items() if asked and not is_same_model(name, asked)}
        if others:
            count = f"{sum(others.values())} of {sum(models.values())} answers"
            yield f"{count} came from {', '.join(others)}, not from {asked}"


def describe_short(short: Mapping[str, Any]) -> str:
    """How many answers have fewer tokens than were asked for; "" if none has."""
    if not short["answers"]:
        return ""
    shortest = f"the shortest has {short['tokens']} of {short['asked_tokens']} tokens"
    return f"{_count_short(short['answers'], short['cut_off'])}; {shortest}"


def _count_short(answers: int, cut_off: int) -> str:
    counted = "1 answer is" if answers == 1 else f"{answers} answers are"
    if not cut_off:
        return f"{counted} shorter than asked for"
    which = "cut off" if cut_off == answers else f"{cut_off} of them cut off"
    return f"{counted} shorter than asked for, {which}: the context was full, or the server has a limit"


def _describe_all_short(measured: Sequence[TestResult]) -> list[str]:
    tests = [result for result in measured if result.measurement["requests"]["short"]["answers"]]
    if not tests:
        return []
    found = [result.measurement["requests"]["short"] for result in tests]
    shortest = min(found, key=lambda short: short["tokens"] / short["asked_tokens"])
    answers, cut_off = (sum(short[key] for short in found) for key in ("answers", "cut_off"))
    whole = {**shortest, "answers": answers, "cut_off": cut_off}
    return [f"{describe_short(whole)} ({_name([result.nodeid for result in tests])})"]


def _name(tests: Sequence[str]) -> str:
    return tests[0] if len(tests) == 1 else f"{tests[0]} and {len(tests) - 1} more"
