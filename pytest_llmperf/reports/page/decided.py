"""What decided a run: each thing that made it fail, or what it proves if nothing did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.page.entries import make_anchor
from pytest_llmperf.reports.page.states import TEST_FAILED, find_tone
from pytest_llmperf.reports.result import count_statuses
from pytest_llmperf.reports.verdicts import format_limit, sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult


_WHERE = {"setup": "in setup: ", "teardown": "in teardown: ", "collect": "while collecting: "}
_NOTHING = "Nothing was measured"
_MOST_CHARACTERS = 500
_NO_TESTS = 5
"""pytest's exit status where no test ran, which fails a job of CI as well."""


@dataclass(frozen=True)
class Cause:
    """One thing that failed the run, or that would have under stricter options.

    Attributes:
        state: the status of a budget, or ``TEST FAILED``.
        nodeid: of the test.
        anchor: of the test in the page; empty if it was not measured.
        budget: the metric as limited; empty if it is not about a budget.
        measured: the value with its interval.
        limit: with its direction.
        reason: in one sentence.
        phase: ``call``, ``setup``, ``teardown`` or ``collect`` of a failure that is not about a budget; another word if
            the process that ran the test ended.
    """

    state: str
    nodeid: str
    anchor: str
    budget: str = ""
    measured: str = ""
    limit: str = ""
    reason: str = ""
    phase: str = ""

    @property
    def tone(self) -> str:
        """``fail`` or ``warn``."""
        return find_tone(self.state)


@dataclass(frozen=True)
class Decision:
    """The outcome of a run.

    Attributes:
        failed: whether the run failed.
        headline: in a few words.
        causes: what failed it, the worst first.
        open: budgets without a PASS that failed nothing.
        findings: sentences about the run as a whole.
        proof: sentences on what a run that held all its budgets proves; empty for others.
    """

    failed: bool
    headline: str
    causes: tuple[Cause, ...]
    open: tuple[Cause, ...]
    findings: tuple[str, ...]
    proof: tuple[str, ...]

    @property
    def tone(self) -> str:
        """``fail``, ``pass``, or ``warn`` for a run that neither failed nor measured anything."""
        return "fail" if self.failed else "warn" if self.headline == _NOTHING else "pass"


def describe_decision(results: Sequence[TestResult], session: Mapping[str, Any], run: Mapping[str, Any]) -> Decision:
    """What decided a run.

    Args:
        results: of its measured tests.
        session: the facts that every report has.
        run: what only the page has: ``exit_status``; ``failing``, the statuses that fail a test of this run;
            ``failures``, a list of node id, phase and message for each failure that no budget explains; and ``ended``,
            why tests were left out at the end.
    """
    pairs = sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts])
    failing = run.get("failing", (Status.FAIL.value,))
    causes: list[Cause] = []
    others: list[Cause] = []
    for result, verdict in pairs:
        if result.outcome == "failed" and verdict.status.value in failing:
            causes.append(_make_cause(result, verdict))
        elif verdict.status is not Status.PASS:
            others.append(_make_cause(result, verdict))
    measured = {result.nodeid for result in results}
    own = list(_list_own_failures(run.get("failures", ()), measured))
    broken = sum(1 for cause in causes if cause.state == Status.FAIL)
    causes = [*causes[:broken], *own, *causes[broken:]]
    ended = str(run.get("ended") or "")
    findings = (*([f"the run ended early: {ended}"] if ended else []), *map(str, session.get("findings", ())))
    failed = bool(causes) or bool(run.get("exit_status"))
    return Decision(
        failed=failed,
        headline=_describe_failure(results, causes, findings, run) if failed else _describe_success(results),
        causes=tuple(causes),
        open=tuple(others),
        findings=findings,
        proof=() if failed else tuple(_prove(results, others, session)),
    )


def _make_cause(result: TestResult, verdict: Verdict) -> Cause:
    return Cause(
        state=verdict.status.value,
        nodeid=result.nodeid,
        anchor=make_anchor(result.nodeid),
        budget=verdict.title,
        measured=verdict.measured_with_interval if verdict.measured is not None else "",
        limit=format_limit(verdict),
        reason=verdict.reason or _exceeds(verdict),
    )


def _exceeds(verdict: Verdict) -> str:
    """How far beyond its limit a value is; of a relative limit, the values that were compared."""
    if verdict.relative:
        return verdict.how
    if verdict.margin is None or verdict.margin >= 0:
        return ""
    side = "below" if verdict.better == "higher" else "above"
    return f"{verdict.margin_text.lstrip('-')} {side} the limit"


def _list_own_failures(failures: Sequence[Sequence[str]], measured: set[str]) -> Iterator[Cause]:
    for nodeid, phase, message in failures:
        where = _WHERE.get(phase, "")
        yield Cause(
            TEST_FAILED,
            nodeid,
            make_anchor(nodeid) if nodeid in measured else "",
            reason=f"{where}{_shorten(message)}",
            phase=phase,
        )


def _shorten(message: str) -> str:
    """A message that may hold a whole answer of a server."""
    return message if len(message) <= _MOST_CHARACTERS else f"{message[:_MOST_CHARACTERS]}…"


def _describe_failure(
    results: Sequence[TestResult], causes: Sequence[Cause], findings: Sequence[str], run: Mapping[str, Any]
) -> str:
    """The headline of a run that failed."""
    total = sum(len(result.verdicts) for result in results)
    broken = sum(1 for cause in causes if cause.state == Status.FAIL)
    own = [cause.phase for cause in causes if cause.state == TEST_FAILED]
    collecting = own.count("collect")
    beside = own.count("setup") + own.count("teardown")
    tests = len(own) - beside - collecting
    open_ = len(causes) - broken - len(own)
    errors = sum(1 for line in findings if line.startswith("error: "))
    parts = [f"{broken} of {_count(total, 'budget')} broken"] if broken else []
    parts += [f"{_count(open_, 'budget')} without a verdict"] if open_ else []
    parts += [f"{_count(tests, 'test')} failed without a budget"] if tests else []
    parts += [f"{_count(beside, 'error')} in setup or teardown"] if beside else []
    parts += [f"{_count(collecting, 'error')} while collecting"] if collecting else []
    parts += [f"{_count(errors, 'error')} of the run"] if errors else []
    parts += ["the run ended early"] if run.get("ended") else []
    status = run.get("exit_status")
    otherwise = "no test ran" if status == _NO_TESTS else f"pytest ended with status {status}"
    return f"Failed: {', '.join(parts) or otherwise}"


def _describe_success(results: Sequence[TestResult]) -> str:
    """The headline of a run that did not fail."""
    found = count_statuses(results)
    total, passed = sum(found.values()), found[Status.PASS]
    if not total:
        return f"Passed: {_count(len(results), 'test')} measured, no budgets" if results else _NOTHING
    if passed == total:
        return f"Passed: {'the budget' if total == 1 else f'all {total} budgets'} held"
    return f"Passed: {passed} of {_count(total, 'budget')} held, {total - passed} without a PASS"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _were(budgets: int) -> str:
    return "1 budget was" if budgets == 1 else f"{budgets} budgets were"


def _prove(results: Sequence[TestResult], others: Sequence[Cause], session: Mapping[str, Any]) -> Iterator[str]:
    """What the numbers of a run that passed are worth."""
    verdicts = [verdict for result in results for verdict in result.verdicts]
    if not results:
        return
    if not verdicts:
        yield "No test has a budget, so nothing was judged: this run shows numbers and proves nothing about them."
        return
    passed = [verdict for verdict in verdicts if verdict.status is Status.PASS]
    judged = [verdict for verdict in passed if verdict.interval is not None and verdict.interval.units]
    exact = len(passed) - len(judged)
    if judged:
        noise = session.get("session_noise")
        error = "1 %" if noise is None else "5 %"
        beside = (
            "Noise between sessions is not known and not part of that."
            if noise is None
            else f"That includes a noise between sessions of {noise:.0%}.".replace("%", " %")
        )
        exact_limit = f"a build exactly at its limit passes in at most {error} of runs."
        yield f"{_were(len(judged))} judged with confidence: {exact_limit} {beside}"
    if exact:
        yield f"{_were(exact)} compared with the limit directly."
    if others:
        yield f"{_count(len(others), 'budget')} had no PASS and failed nothing: see below."
