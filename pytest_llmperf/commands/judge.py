"""``pytest-llmperf judge``: the verdicts of stored measurements, without an engine."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.commands.output import complain, print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.config_file import FileBudget
    from pytest_llmperf.budgets.verdict import Verdict

BROKEN, BAD_INPUT = 1, 2


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("judge", help="judge the measurements of reports, without an engine")
    parser.add_argument(
        "reports", nargs="+", metavar="REPORT", help="a JSON report, or a folder of them such as a store"
    )
    parser.add_argument("--budgets", metavar="PATH", help="judge under the budgets of this llmperf.toml instead")
    parser.add_argument("--strict", action="store_true", help="a budget without a verdict fails as well")
    parser.add_argument("--inconclusive", choices=("pass", "fail"), default="pass", help="what an INCONCLUSIVE does")
    parser.add_argument("--json", action="store_true", help="print all verdicts as JSON")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Judges all reports. Returns 1 if a budget is broken, 2 if a report or the budgets cannot be read, else 0."""
    from pytest_llmperf.budgets.limit import BudgetError

    try:
        budgets = None if asked.budgets is None else _read_budgets(Path(asked.budgets), asked.reports)
    except (BudgetError, OSError) as error:
        complain(f"{asked.budgets}: {error.strerror}" if isinstance(error, OSError) else str(error))
        return BAD_INPUT
    judge = _Judge(budgets, strict=asked.strict, inconclusive=asked.inconclusive == "fail", as_json=asked.json)
    for path in _list_files(asked.reports):
        judge.judge_report(path)
    return judge.finish()


def _read_budgets(path: Path, reports: Sequence[str]) -> tuple[FileBudget, ...]:
    """The budgets of a file, which may limit metrics that are known from the reports only."""
    from pytest_llmperf.budgets.config_file import read_budget_file
    from pytest_llmperf.budgets.limit import BudgetError

    try:
        return read_budget_file(path).budgets
    except BudgetError:
        _register_metrics(reports)
        return read_budget_file(path).budgets


def _register_metrics(reports: Sequence[str]) -> None:
    """Makes the metrics of a project's own known; what is wrong with a report is told when it is judged."""
    from pytest_llmperf.baselines.rejudging.own_metrics import register_metrics_of
    from pytest_llmperf.reports.compact.faults import WRONG_SHAPE
    from pytest_llmperf.reports.report_file import ReportError, read_report

    for file in _list_files(reports):
        with suppress(ReportError, *WRONG_SHAPE):
            register_metrics_of(read_report(file))


def _list_files(texts: Sequence[str]) -> Iterator[Path]:
    """The files as given; of a folder all reports below it, but for hidden ones."""
    for text in texts:
        path = Path(text)
        if not path.is_dir():
            yield path
            continue
        yield from sorted(
            p for p in path.rglob("*.json") if not any(x.startswith(".") for x in p.relative_to(path).parts)
        )


class _Judge:
    """Judges reports one after another, prints a line for each, and counts."""

    def __init__(
        self, budgets: tuple[FileBudget, ...] | None, *, strict: bool, inconclusive: bool, as_json: bool
    ) -> None:
        self._budgets = budgets
        self._strict = strict
        self._inconclusive = inconclusive
        self._as_json = as_json
        self._plain: list[dict[str, Any]] = []
        self._reports = self._tests = self._bad = self._broken = 0
        self._counts: Counter[str] = Counter()
        self._matched: set[str] = set()

    def judge_report(self, path: Path) -> None:
        """Judges one report. One that cannot be read is told on standard error."""
        from pytest_llmperf.budgets.limit import BudgetError
        from pytest_llmperf.reports.compact.faults import WRONG_SHAPE, describe_wrong_shape
        from pytest_llmperf.reports.report_file import ReportError, read_report

        try:
            report = read_report(path)
            verdicts = {test["nodeid"]: self._judge_test(test, report) for test in report["tests"]}
        except (BudgetError, ReportError) as error:
            complain(str(error) if isinstance(error, ReportError) else f"{path}: {error}")
            self._bad += 1
            return
        except WRONG_SHAPE as error:
            complain(f"{path}: {describe_wrong_shape(error)}")
            self._bad += 1
            return
        self._reports += 1
        self._tests += len(verdicts)
        self._show(path, verdicts)

    def _judge_test(self, test: Mapping[str, Any], report: Mapping[str, Any]) -> list[Verdict]:
        if self._budgets is None:
            from pytest_llmperf.reports.result import from_wire

            return list(from_wire(test).verdicts)
        from pytest_llmperf.baselines.rejudging.currency import find_currency
        from pytest_llmperf.baselines.rejudging.judge import judge_again
        from pytest_llmperf.budgets.config_file import find_limits
        from pytest_llmperf.budgets.limit import matches, use_currency

        self._matched |= {one.source for one in self._budgets if matches(test["nodeid"], one.tests)}
        limits = find_limits(test["nodeid"], self._budgets)
        limits = use_currency(limits, find_currency(report["metrics"]), "the costs in the report")
        return judge_again(limits, test, report["session"].get("session_noise"))

    def _show(self, path: Path, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
        from pytest_llmperf.budgets.judge import select_broken

        counts = Counter(verdict.status.value for found in verdicts.values() for verdict in found)
        self._counts += counts
        broken = [
            (nodeid, verdict)
            for nodeid, found in verdicts.items()
            for verdict in select_broken(found, strict=self._strict, inconclusive=self._inconclusive)
        ]
        self._broken += len(broken)
        if self._as_json:
            self._plain.append(_make_plain(path, verdicts, counts))
            return
        print_lines([f"{path}: {_count(len(verdicts), 'test')}, budgets: {_format(counts)}"])
        print_lines(f"  {verdict.status} {nodeid} - {verdict.sentence()}" for nodeid, verdict in broken)

    def finish(self) -> int:
        """Prints the totals and returns the exit status."""
        judged = sum(self._counts.values())
        if self._as_json:
            print(json.dumps({"reports": self._plain, "counts": dict(self._counts)}, indent=1, ensure_ascii=False))
        else:
            print(
                f"{_count(self._reports, 'report')}, {_count(self._tests, 'test')}, budgets: {_format(self._counts)}"
                + (f"; {_count(self._bad, 'report')} could not be read" if self._bad else "")
            )
        unmatched = [one for one in self._budgets or () if one.source not in self._matched]
        for one in unmatched:
            complain(f"{one.source}: tests = {one.tests!r} matches no test of these reports")
        if not judged:
            complain("no budget was judged: the tests of these reports have none")
        if self._bad or not judged:
            return BAD_INPUT
        return BROKEN if self._broken or (self._strict and unmatched) else 0


def _make_plain(path: Path, verdicts: Mapping[str, Sequence[Verdict]], counts: Counter[str]) -> dict[str, Any]:
    from pytest_llmperf.reports.result import TestResult, to_wire

    tests = [
        {"nodeid": nodeid, "verdicts": to_wire(TestResult(nodeid, tuple(found), {}))["verdicts"]}
        for nodeid, found in verdicts.items()
    ]
    return {"path": str(path), "counts": dict(counts), "tests": tests}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _format(counts: Mapping[str, int]) -> str:
    from pytest_llmperf.budgets.verdict import Status

    return ", ".join(f"{counts[status]} {status}" for status in Status if counts.get(status)) or "none"
