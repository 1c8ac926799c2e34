"""Stores a run at its end, or says why it is not stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.budgets.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_llmperf.plugin.baselines.asked import BaselineOptions
    from pytest_llmperf.reports.result import TestResult

_UNUSABLE = (Status.INVALID, Status.NOT_MEASURED, Status.NO_BUDGET)
_ANYWAY = "--llmperf-save-anyway stores it all the same"


def why_not_stored(results: Sequence[TestResult], *, ended_early: str, failed: int, anyway: bool) -> str:
    """Why a run is not stored, in one sentence; empty if it is.

    Args:
        results: of the tests that were measured.
        ended_early: why the run ended before its last test; empty if it did not. Such a run is never stored.
        failed: how many tests failed or could not be collected.
        anyway: whether failures and missing verdicts are to be overlooked.
    """
    if ended_early:
        return f"the run ended early: {ended_early}"
    if not any(result.measurement for result in results):
        return "no test was measured"
    if anyway:
        return ""
    if failed:
        return f"{'1 test' if failed == 1 else f'{failed} tests'} failed ({_ANYWAY})"
    for result in results:
        for verdict in result.verdicts:
            if verdict.status in _UNUSABLE:
                return f"{result.nodeid}: {verdict.sentence()} ({_ANYWAY})"
    return ""


def save_reference(results: Sequence[TestResult], path: Path) -> str:
    """Writes the next tokens of the engine of a run to a file; returns the line that says where.

    Raises:
        StoreError: the run has none, or those of several engines, or the file cannot be written.
    """
    from copy import deepcopy

    from pytest_llmperf.quality.reference import write_reference
    from pytest_llmperf.reports.json_report import take_next_tokens
    from pytest_llmperf.system.files.whole import write_whole

    kept: dict[tuple[str, str], dict[str, Any]] = {}
    for result in results:
        take_next_tokens(deepcopy(dict(result.measurement)), kept)
    if not kept:
        raise StoreError("no test with a limit on quality.agreement or quality.kl has asked an engine")
    engines = dict.fromkeys(one["engine"] for one in kept.values())
    if len(engines) > 1:
        raise StoreError(f"a reference is of one engine, and this run has {', '.join(engines)}")
    try:
        write_whole(path, write_reference(list(kept.values())))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from None
    return f"reference of {next(iter(engines))}: {path}"


def store_run(results: Sequence[TestResult], session: Mapping[str, Any], asked: BaselineOptions) -> list[str]:
    """Stores a run, one file for each engine; returns the lines that say where.

    Raises:
        StoreError: it could not be stored, and nothing was.
    """
    from pytest_llmperf.baselines.store import Store
    from pytest_llmperf.reports.json_report import build_report

    measured = [result for result in results if result.measurement]
    report = build_report(measured, session=session, keeps_next_tokens=True)
    paths = Store(asked.store).save(asked.save, report)
    if not paths:
        raise StoreError("no test was measured")
    return [f"stored as {asked.save}: {path}" for path in paths]
