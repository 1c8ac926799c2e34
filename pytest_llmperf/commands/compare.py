"""``pytest-llmperf compare A.json B.json``: two reports side by side."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.commands.output import complain, print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.baselines.two_reports.changes import ChangeOfNumber, ChangeOfTest

BROKEN, BAD_INPUT = 1, 2
_HEADER = ("", "A", "B", "change", "")
_ONE_SESSION_EACH = (
    "One session each: the intervals hold the noise within each and nothing of that between sessions; "
    "pytest --llmperf-against compares two engines in one session."
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    parser = commands.add_parser("compare", help="show two reports side by side")
    parser.add_argument("old", metavar="A.json", help="the report to compare with")
    parser.add_argument("new", metavar="B.json", help="the report to look at")
    parser.add_argument(
        "--limit", metavar="SHARE", help="how much worse a number of B may be, such as '+10 %%'; else status 1"
    )
    parser.add_argument("--all", action="store_true", help="show every number, not only limited and usual ones")
    parser.add_argument("--json", action="store_true", help="print the changes as JSON, as shares and in base units")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Compares. Returns 1 if a limit was given and not kept, 2 if there is nothing to compare, else 0."""
    from pytest_llmperf.baselines.two_reports.changes import compare_tests
    from pytest_llmperf.baselines.two_reports.differences import list_context
    from pytest_llmperf.reports.report_file import ReportError, read_report

    try:
        limit = None if asked.limit is None else _parse_limit(asked.limit)
        old, new = read_report(Path(asked.old)), read_report(Path(asked.new))
    except (ReportError, ValueError) as error:
        complain(str(error))
        return BAD_INPUT
    try:
        sides = [{test["nodeid"]: test for test in report["tests"] if test["measurement"]} for report in (old, new)]
        common = [nodeid for nodeid in sides[0] if nodeid in sides[1]]
        metrics = (old["metrics"], new["metrics"])
        found = [
            compare_tests(sides[0][n], sides[1][n], limit=limit, everything=asked.all, metrics=metrics) for n in common
        ]
        context = list_context(old, new)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        wrong = f"one of them has not the shape of a report ({type(error).__name__}: {error})"
        complain(f"{asked.old}, {asked.new}: {wrong}")
        return BAD_INPUT
    alone = [_list_alone(sides[0], sides[1]), _list_alone(sides[1], sides[0])]
    if asked.json:
        print(json.dumps(_make_plain(found, context, alone), indent=1, ensure_ascii=False))
    else:
        print_lines(_render(asked, found, context, alone))
    if not common:
        complain("the reports have no test in common that both have measured")
        return BAD_INPUT
    return BROKEN if limit is not None and any(map(_is_broken, found)) else 0


def _parse_limit(text: str) -> float:
    """``"+10 %"``, ``"10%"`` → 0.1: by how much a number may get worse, in whichever direction that is.

    Raises:
        ValueError: it is no share.
    """
    from pytest_llmperf.measurement.units import SHARE, UnitError, parse

    try:
        return parse(text.strip().lstrip("+-"), SHARE)
    except UnitError as error:
        raise ValueError(f"--limit={error}") from None


def _list_alone(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    return [nodeid for nodeid in here if nodeid not in there]


def _is_broken(test: ChangeOfTest) -> bool:
    """Whether the numbers of a test did not keep a limit that was asked for, or cannot be compared."""
    from pytest_llmperf.budgets.verdict import Status

    statuses = [number.status for number in test.numbers]
    is_lost = any(number.new is None and number.status is Status.NOT_MEASURED for number in test.numbers)
    return bool(test.incomparable) or is_lost or Status.FAIL in statuses or Status.INVALID in statuses


def _render(
    asked: argparse.Namespace, found: Sequence[ChangeOfTest], context: Sequence[str], alone: Sequence[Sequence[str]]
) -> Iterator[str]:
    from pytest_llmperf.reports.text import align_columns

    width = shutil.get_terminal_size((120, 24)).columns
    yield f"A: {asked.old}"
    yield f"B: {asked.new}"
    if context:
        yield f"differ: {'; '.join(context)}"
    for test in found:
        yield test.nodeid
        if test.incomparable:
            yield f"  not comparable: {'; '.join(test.incomparable)}"
        rows = [_HEADER, *(_make_row(number) for number in test.numbers)]
        yield from (f"  {line}" for line in align_columns(rows, "<>>><", width - 2)) if test.numbers else ()
        for reason in dict.fromkeys(number.invalid for number in test.numbers if number.invalid):
            yield f"  INVALID: {', '.join(n.name for n in test.numbers if n.invalid == reason)}: {reason}"
    for name, nodeids in zip("AB", alone, strict=True):
        yield from (f"only in {name}: {nodeid}" for nodeid in nodeids)
    if any(not number.is_exact for test in found for number in test.numbers):
        yield _ONE_SESSION_EACH


def _make_row(number: ChangeOfNumber) -> tuple[str, ...]:
    from pytest_llmperf.measurement.units import format_change, format_value
    from pytest_llmperf.reports.text import NO_VALUE

    values = [NO_VALUE if v is None else format_value(v, number.quantity) for v in (number.old, number.new)]
    change = NO_VALUE if number.share is None else format_change(number.share)
    bounds = _describe_bounds(number)
    return number.name, *values, change, " ".join(filter(None, [bounds, str(number.status or "")]))


def _describe_bounds(number: ChangeOfNumber) -> str:
    from pytest_llmperf.measurement.units import format_change

    if number.share is None or number.is_exact:
        return ""
    if number.low is None and number.high is None:
        return "(not bounded)"
    if number.low is None or number.high is None:
        bound, words = (number.high, "at most") if number.low is None else (number.low, "at least")
        return f"({words} {format_change(bound or 0.0)})"
    return f"({format_change(number.low).removesuffix(' %')} to {format_change(number.high).removesuffix(' %')})"


def _make_plain(
    found: Sequence[ChangeOfTest], context: Sequence[str], alone: Sequence[Sequence[str]]
) -> dict[str, Any]:
    tests = [
        {
            "nodeid": test.nodeid,
            "incomparable": test.incomparable,
            "numbers": [_number_to_plain(n) for n in test.numbers],
        }
        for test in found
    ]
    return {"context": list(context), "tests": tests, "only_in_a": list(alone[0]), "only_in_b": list(alone[1])}


def _number_to_plain(number: ChangeOfNumber) -> dict[str, Any]:
    return {
        "name": number.name,
        "unit": number.quantity.base,
        "better": number.better,
        "old": number.old,
        "new": number.new,
        "change": number.share,
        "low": number.low,
        "high": number.high,
        "invalid": number.invalid,
        "status": None if number.status is None else number.status.value,
    }
