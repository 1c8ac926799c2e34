"""The call phase of a measured test: its rounds, its verdicts, and the report that carries them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.comparison.pairs import refuse_pairs
from pytest_llmperf.budgets.judge import judge, select_broken
from pytest_llmperf.budgets.limit import is_comparison, select
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin import benchmark
from pytest_llmperf.plugin.outcomes import (
    BudgetExceeded,
    BudgetFailure,
    LLMPerfWarning,
    NoEngine,
    NoVerdict,
    OneLineFailure,
)
from pytest_llmperf.plugin.preflight.budget_reader import LIMITS
from pytest_llmperf.plugin.preflight.engine_overrides import EngineChoice
from pytest_llmperf.plugin.session import LOGS, MEASURED_RUN, RESULT, SESSION, Session
from pytest_llmperf.reports.junit import list_properties, replace_properties
from pytest_llmperf.reports.result import TestResult, from_wire, to_wire
from pytest_llmperf.reports.terminal.failure_table import render_failure
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from pytest_llmperf.system.known_keys import hide_keys_in, knows_keys
from pytest_llmperf.system.printable import make_printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun
    from pytest_llmperf.plugin.pairing.paired_run import PairedRun
    from pytest_llmperf.plugin.pairing.sides import MakesClients
    from pytest_llmperf.plugin.settings import Settings
    from pytest_llmperf.plugin.terminal import Terminal
    from pytest_llmperf.reports.result import FailedBy

PAIRED_RUN: pytest.StashKey[PairedRun] = pytest.StashKey()
WHY_UNPAIRED: pytest.StashKey[str] = pytest.StashKey()
_NARROWEST, _WIDEST = 60, 100


def open_window(item: pytest.Item, measured: MeasuredRun, session: Session) -> None:
    """Warms up the engines of a test, runs its own warm-up and opens its window.

    The first round comes next, which pytest runs itself.
    """
    measured.open(is_warmup=True)  # for what may fail before the first round that counts
    session.use_engines(item, measured)
    session.warm_up(item, measured)
    for caveat in measured.find_caveats():
        item.warn(LLMPerfWarning(caveat))
    if session.settings.against and LIMITS in item.stash:
        _pair_engines(item, measured, session)
    if PAIRED_RUN in item.stash:
        item.stash[PAIRED_RUN].open()
        return
    for _ in range(session.settings.warmup if _is_repeated(item) else 0):
        item.runtest()
    measured.empty_caches()
    measured.open()


def run_further_rounds(item: pytest.Item, measured: MeasuredRun, settings: Settings) -> None:
    """Runs all rounds after the first: as many as were asked for, or until the budgets of the test are decided."""
    if PAIRED_RUN in item.stash:
        item.stash[PAIRED_RUN].run_further()
        return
    if not _is_repeated(item):
        return
    while measured.needs_another_round() if settings.rounds is None else measured.rounds < settings.rounds:
        measured.begin_round()
        item.runtest()


def _is_repeated(item: pytest.Item) -> bool:
    return LIMITS in item.stash and isinstance(item, pytest.Function) and not benchmark.repeats(item)


def _pair_engines(item: pytest.Item, measured: MeasuredRun, session: Session) -> None:
    """Prepares a test for its turns on two engines, or notes why it cannot have them."""
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.plugin.pairing.paired_run import Means, PairedRun
    from pytest_llmperf.plugin.pairing.repeatability import why_not_repeatable
    from pytest_llmperf.plugin.pairing.sides import CLIENT_FACTORIES, Sides

    engine = getattr(item, "funcargs", {}).get("llm_engine")
    reason = why_not_repeatable(item, engine) or session.why_not_comparable(item, engine)
    if reason or not isinstance(engine, Engine) or not isinstance(item, pytest.Function):
        item.stash[WHY_UNPAIRED] = reason
        return
    limits: list[Limit] = item.stash[LIMITS]
    factories: list[MakesClients] = item.stash.get(CLIENT_FACTORIES, [])
    pair = session.load_pair(engine, count_budgeted(item.session.items))
    item.stash[PAIRED_RUN] = PairedRun(
        item,
        measured,
        limits,
        pair,
        Sides(item, engine, factories, session.relays.stand_in),
        Means(
            session.acquire,
            lambda run: session.warm_up(item, run),
            session.take_note_of_engines,
            session.terminal.show,
        ),
        seed=session.settings.seed,
        warmup=session.settings.warmup,
    )


def count_budgeted(items: Sequence[pytest.Item]) -> int:
    """How many of these tests have budgets."""
    return sum(1 for item in items if LIMITS in item.stash)


def note_turn(item: pytest.Item, error: BaseException) -> None:
    """Adds to the error of a test on which of two engines it ran."""
    if PAIRED_RUN in item.stash:
        error.add_note(f"llmperf: the test ran on {item.stash[PAIRED_RUN].place}")


def end_turns(item: pytest.Item) -> None:
    """Leads a test that ran on two engines back to its own one; does nothing for other tests."""
    if PAIRED_RUN in item.stash:
        item.stash[PAIRED_RUN].restore()
        del item.stash[PAIRED_RUN]
    if WHY_UNPAIRED in item.stash:
        del item.stash[WHY_UNPAIRED]


def _close(item: pytest.Item, measured: MeasuredRun) -> tuple[Measurement, list[Verdict], dict[str, Any]]:
    """Ends the measurement of a test; returns it with its verdicts and its pairs, which are empty without an A/B."""
    paired = item.stash.get(PAIRED_RUN, None)
    session, limits = item.config.stash[SESSION], item.stash.get(LIMITS, [])
    compared = [limit for limit in limits if is_comparison(limit)]

    def assess(measurement: Measurement, engines: Sequence[Engine] | None = None) -> Measurement:
        asked = measured.engines if engines is None else engines
        return session.quality.assess(measurement, asked, limits) if compared else measurement

    if paired is not None:
        measurement, verdicts = paired.close()
        measurement = assess(measurement, [paired.new])
        return measurement, [*verdicts, *_judge_comparisons(compared, measurement)], paired.to_wire()
    measurement, verdicts = measured.close(assess)
    if reason := item.stash.get(WHY_UNPAIRED, ""):
        verdicts = refuse_pairs(limits, measurement.engine, f"it cannot run on both engines: {reason}")
        verdicts += _judge_comparisons(compared, measurement)
    return measurement, verdicts, {}


def _judge_comparisons(limits: Sequence[Limit], measurement: Measurement) -> list[Verdict]:
    """The verdicts on next tokens under an A/B, which compares them without turns."""
    return judge(select(limits, measurement.engine), measurement) if limits else []


def judge_test(item: pytest.Item, measured: MeasuredRun, *, is_whole: bool = True) -> BudgetFailure | None:
    """Closes the window and judges the budgets; returns the failure, None if they let the test pass.

    ``is_whole`` says whether the body of the test ran to its end.
    """
    measurement, verdicts, pairs = _close(item, measured)
    del item.stash[MEASURED_RUN]
    item.config.stash[SESSION].measured = None
    result = TestResult(
        item.nodeid,
        tuple(verdicts),
        measurement_to_wire(measurement, [verdict.name for verdict in verdicts if verdict.name]),
        pairs=pairs,
        engine=_find_engine_of_suite(item),
        is_whole=is_whole,
        **locate_test(item),
    )
    if knows_keys():
        # Before it is drawn: lines are broken, and a key in two parts is not known.
        result = from_wire(hide_keys_in(to_wire(result)))
    item.stash[RESULT] = result
    item.stash[LOGS] = item.config.stash[SESSION].take_note_of_engines(measured)
    replace_properties(item.user_properties, list_properties(result))
    benchmark.add_extra_info(item, result)
    settings = item.config.stash[SESSION].settings
    failing = select_broken(verdicts, strict=settings.strict, inconclusive=settings.fail_inconclusive)
    if settings.baselines.makes_first:
        failing = [verdict for verdict in failing if verdict.status is not Status.NO_BASELINE]
    return _create_failure(failing, measurement) if failing else None


def locate_test(item: pytest.Item) -> dict[str, Any]:
    """The ``file`` and the ``line`` of a test's definition, as the attributes of a result.

    Empty without a line, and for code that is in no file, as that of ``exec``.
    """
    file, line, _ = item.location
    is_known = line is not None and (item.config.rootpath / file).is_file()
    return {"file": Path(file).as_posix(), "line": line + 1} if line is not None and is_known else {}


def _find_engine_of_suite(item: pytest.Item) -> str:
    """The label of the engine that the id of a test names; empty if the run has one engine only."""
    choice = getattr(getattr(item, "callspec", None), "params", {}).get("llm_engine")
    is_one = len(item.config.stash[SESSION].settings.suite_engines) < 2
    return choice.spec.label if isinstance(choice, EngineChoice) and choice.spec is not None and not is_one else ""


def _create_failure(failing: Sequence[Verdict], measurement: Measurement) -> BudgetFailure:
    """The exception whose meaning fits all of these verdicts, with the first of each meaning in its message."""
    exceeded = [verdict for verdict in failing if verdict.status is Status.FAIL]
    unjudged = [verdict for verdict in failing if verdict.status is not Status.FAIL]
    sentences = [verdict.sentence() for verdict in (*exceeded[:1], *unjudged[:1])]
    if exceeded and measurement.engine:
        sentences[0] += f" on {measurement.engine.device_name}"
    rest = len(failing) - len(sentences)
    message = "; ".join(sentences) + (f" (and {rest} more)" if rest else "")
    if exceeded and unjudged:
        return BudgetFailure(message)
    return BudgetExceeded(message) if exceeded else NoVerdict(message)


def attach_result(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> None:
    """Adds the table and the logs to the report of a failure, and the result to that of the call phase.

    A skip because no engine was given is marked, so that the summary can count those.
    """
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, NoEngine):
        report.llmperf_no_engine = True  # type: ignore[attr-defined]
    if isinstance(error, OneLineFailure):
        _place_failure(item, report)
    sections = list(getattr(error, "sections", ()))
    if call.when == "call" and RESULT in item.stash:
        failed_by: FailedBy = "budget" if isinstance(error, BudgetFailure) else "test"
        result = item.stash[RESULT].with_outcome(str(report.outcome), float(call.duration), failed_by)
        del item.stash[RESULT]
        report.llmperf = to_wire(result)  # type: ignore[attr-defined]
        table = [("llmperf", _render_failure(result, item.config.stash[SESSION].terminal))] if result.verdicts else []
        sections = [*table, *item.stash[LOGS], *sections]
    add_section = getattr(report.longrepr, "addsection", None)
    if report.failed and add_section is not None:
        for title, text in sections:
            add_section(title, make_printable(text))


def _place_failure(item: pytest.Item, report: pytest.TestReport) -> None:
    """Names the definition of the test as the place of its failure, which was raised in a hook.

    That is what ``--tb=line``, editors and annotations show.
    """
    path, line, _ = item.reportinfo()
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is not None and line is not None:
        crash.path, crash.lineno = str(path), line + 1


def _render_failure(result: TestResult, terminal: Terminal) -> str:
    """The evidence below a failed test: as wide as the terminal, within what can be read."""
    width = max(_NARROWEST, min(_WIDEST, terminal.width or _WIDEST))
    return render_failure(result, width=width, unicode=terminal.knows_unicode)
