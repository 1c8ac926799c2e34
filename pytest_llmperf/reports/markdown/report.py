"""The report for people on a web page: a file, or the summary of a GitHub Actions step."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.reports.curve_evidence import describe_place, describe_rate, describe_value, thin_out
from pytest_llmperf.reports.evidence import format_engine
from pytest_llmperf.reports.host.sentences import describe_host
from pytest_llmperf.reports.matrix.build import build_matrix
from pytest_llmperf.reports.matrix.tables import MOST_ROWS_OF_A_PAGE, describe_matrix, list_cells, select_rows
from pytest_llmperf.reports.measured import table as measured
from pytest_llmperf.reports.measured.values import list_measured
from pytest_llmperf.reports.notes import list_notes
from pytest_llmperf.reports.page.decided import describe_decision
from pytest_llmperf.reports.result import count_statuses, shows_cost
from pytest_llmperf.reports.terminal.failure_table import render_failure
from pytest_llmperf.reports.terminal.groups import group_by_function, rank_row
from pytest_llmperf.reports.terminal.reasons import list_reasons
from pytest_llmperf.reports.terminal.summary import describe_pairs, format_counts
from pytest_llmperf.reports.text import NO_VALUE, to_one_line
from pytest_llmperf.reports.verdicts import COST, format_limit, sort_worst_first

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.matrix.matrix import Matrix
    from pytest_llmperf.reports.page.decided import Decision
    from pytest_llmperf.reports.result import TestResult
    from pytest_llmperf.reports.terminal.groups import FunctionRows

MOST_CHARACTERS = 60_000
"""A comment on a pull request takes 65,536 characters."""
MOST_REASONS = 30
MOST_OF_A_SENTENCE = 1_000
STEP_SUMMARY_BYTES = 2**20
MOST_POINTS = 8
"""Of a curve over rates."""
MOST_MEASURED = 40
"""Tests without budgets whose numbers are shown."""
_NOTE_OF_CUT = "\n\n_The rest was cut: GitHub shows at most 1 MiB of a step summary._\n"
_ICONS = {Status.PASS: "✅", Status.FAIL: "❌"}
_OTHER_ICON = "⚠️"
_MARKUP = re.compile(r"[|`*_\[\]\\~#$]")


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """What decided the run, its budgets by test function, why some have no verdict, and failures in full.

    At most ``MOST_CHARACTERS`` long: what is left out is counted, with the report that has it. Of ``session`` the
    findings stand below the headline, what it was compared with below the table, and the entries that are text or
    numbers at the end; ``run`` says what failed the run, and ``reports`` names its other reports.
    """
    more = _shorten(", ".join(session.get("reports", ())) or "--llmperf-report=out.html", 100)
    decision = describe_decision(results, session, session.get("run", {}))
    groups = group_by_function(results)
    matrix = None if any(result.pairs for result in results) else build_matrix(results, session.get("engines", ()))
    facts = {key: value for key, value in session.items() if isinstance(value, str | int | float)}
    findings = [f"- {_OTHER_ICON} {_escape(_shorten(line))}" for line in decision.findings]
    compared = _list_sentences([*describe_pairs(_sort(results)), *session.get("baselines", ())])
    own = [f"- ❌ {_code(cause.nodeid)}: {_escape(_shorten(cause.reason))}" for cause in decision.causes if cause.phase]
    above = [
        _title(decision, results),
        _fit([*findings, *own], 6_000, more),
        _fit(_table(groups, costs=shows_cost(results)), 16_000, more),
        _fit(compared, 4_000, more),
        _fit(_list_sentences(list_reasons(results, MOST_REASONS)), 8_000, more),
    ]
    below = [
        _fit(_list_sentences(list_notes(results)), 4_000, more),
        _fit(_measured(results, matrix).splitlines(), 5_000, more),
        _fit(list(_list_curves(results)), 5_000, more),
        _fit([] if matrix is None else _side_by_side(matrix).splitlines(), 6_000, more),
        _fit([f"- Engine: {text}" for text in _engines(results)], 3_000, more),
        _fit([" · ".join(_escape(f"{key} {value}") for key, value in facts.items())], 2_000, more),
    ]
    room = MOST_CHARACTERS - sum(len(block) + 2 for block in (*above, *below))
    details = _list_details([result for _, result in _rank_failed(results)], room, more)
    room -= sum(len(block) + 2 for block in details)
    hosts = _hosts(results)
    blocks = [*above, *details, *below[:1], hosts if len(hosts) + 2 <= room else "", *below[1:]]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _list_sentences(texts: Sequence[str]) -> list[str]:
    """An item of a list for each text."""
    return [f"- {_escape(_shorten(text))}" for text in texts]


def _shorten(text: str, most: int = MOST_OF_A_SENTENCE) -> str:
    """The beginning of a text, such as an error that quotes all that a server sent: others need room beside it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _fit(lines: Sequence[str], room: int, more: str) -> str:
    """As many of the lines, from the first, as fit into so many characters, and a line that counts the rest."""
    kept: list[str] = []
    rest = f"_+{len(lines)} more lines; see {_escape(more)}_"
    left = room - len(rest) - 2
    for line in lines:
        left -= len(line) + 1
        if left < 0:
            break
        kept.append(line)
    hidden = len(lines) - len(kept)
    if hidden:
        kept += ["", f"_+{hidden} more line{'' if hidden == 1 else 's'}; see {_escape(more)}_"]
    return "\n".join(kept).strip()


def _rank_failed(results: Sequence[TestResult]) -> list[tuple[int, TestResult]]:
    """The failed tests with budgets, the worst first, each once."""
    ranks: dict[str, int] = {}
    for at, (result, _) in enumerate(_sort(results)):
        ranks.setdefault(result.nodeid, at)
    return sorted(((ranks[r.nodeid], r) for r in results if _has_failed(r)), key=lambda pair: pair[0])


def _list_details(failed: Sequence[TestResult], room: int, more: str) -> list[str]:
    """The failures in full, as many as fit into so many characters, and a line that counts the rest."""
    found: list[str] = []
    room -= 200 + len(more)
    for at, result in enumerate(failed):
        text = _details(result)
        room -= len(text) + 2
        if room < 0:
            rest = len(failed) - at
            return [*found, f"_+{rest} more failed test{'' if rest == 1 else 's'}; see {_escape(more)}_"]
        found.append(text)
    return found


def append(path: str | os.PathLike[str], text: str) -> None:
    """Append ``text`` to the file of ``$GITHUB_STEP_SUMMARY``.

    GitHub drops a summary of more than 1 MiB altogether. So what would not fit is cut, before a failure or
    between two lines of the table, and a line says so.
    """
    target = Path(path)
    room = STEP_SUMMARY_BYTES - (target.stat().st_size if target.exists() else 0)
    with target.open("a", encoding="utf-8", newline="\n") as file:
        file.write(_cut(text, room))


def _cut(text: str, room: int) -> str:
    encoded = text.encode()
    if len(encoded) <= room:
        return text
    left = room - len(_NOTE_OF_CUT.encode())
    if left < 0:
        return ""
    kept = encoded[:left].decode(errors="ignore")
    end = kept.rfind("\n\n<details>")
    return kept[: end if end >= 0 else max(0, kept.rfind("\n"))] + _NOTE_OF_CUT


def _has_failed(result: TestResult) -> bool:
    return any(v.status is Status.FAIL for v in result.verdicts) or (
        result.outcome == "failed" and bool(result.verdicts)
    )


def _title(decision: Decision, results: Sequence[TestResult]) -> str:
    """The same headline that the HTML report has, with an icon."""
    found = count_statuses(results)
    total = sum(found.values())
    icon = (
        "❌ " if decision.failed else "" if not total else "✅ " if total == found[Status.PASS] else f"{_OTHER_ICON} "
    )
    headline = decision.headline.removeprefix("Failed: ").removeprefix("Passed: ")
    return f"## LLM performance: {icon}{headline}\n\nBudgets: {format_counts(results)}"


def _sort(results: Sequence[TestResult]) -> list[tuple[TestResult, Verdict]]:
    return sort_worst_first([(result, verdict) for result in results for verdict in result.verdicts])


def _table(groups: Sequence[FunctionRows], *, costs: bool) -> list[str]:
    """A row for each budget of each test function, the worst first; none without budgets."""
    if not groups:
        return []
    lines = [
        f"| verdict | test | budget | measured | limit | margin |{f' {COST} |' if costs else ''}",
        f"| :-- | :-- | :-- | --: | --: | --: |{' --: |' if costs else ''}",
    ]
    rows = sorted(((group, row) for group in groups for row in group.rows), key=lambda pair: rank_row(pair[1]))
    for group, row in rows:
        v = row.verdict
        worst = f" the worst {_code(row.worst_case)}" if row.worst_case else ""
        cells = [
            f"{_ICONS.get(v.status, _OTHER_ICON)} {row.outcome}",
            f"{_code(group.name)}{worst}",
            _code(v.title) if v.name else NO_VALUE,
            v.measured_with_interval,
            _escape(format_limit(v)),
            v.margin_text,
        ]
        lines.append(f"| {' | '.join([*cells, v.cost_text] if costs else cells)} |")
    return lines


def _details(result: TestResult) -> str:
    table = render_failure(result)
    fence = "`" * max(3, _longest_run_of_backticks(table) + 1)
    title = f"<summary>❌ <code>{html.escape(to_one_line(result.nodeid))}</code></summary>"
    return f"<details>\n{title}\n\n{fence}text\n{table}\n{fence}\n\n</details>"


def _measured(results: Sequence[TestResult], matrix: Matrix | None) -> str:
    """What tests without budgets measured, and what others recorded, but for those in the table of the engines."""
    tests = list_measured(results, besides=matrix.list_nodeids(results) if matrix is not None else ())
    if not tests:
        return ""
    shown = tests[:MOST_MEASURED]
    header, *rows = measured.list_cells(shown)
    lines = [f"| {' | '.join(map(_escape, header))} |", f"| :-- |{' --: |' * (len(header) - 1)}"]
    lines += [f"| {' | '.join([_code(test), *map(_escape, cells)])} |" for test, *cells in rows]
    more = [f"+{len(tests) - len(shown)} more tests"] if len(tests) > len(shown) else []
    return "\n".join([*lines, "", *map(_escape, [*more, *measured.describe_reasons(shown)])]).rstrip()


def _list_curves(results: Sequence[TestResult]) -> Iterator[str]:
    """The searches for the highest rate and the sweeps of each test, with their curves as tables."""
    for result in results:
        parts = result.measurement.get("parts") or [result.measurement]
        for kind in ("capacities", "sweeps"):
            for found in (one for part in parts for one in part.get(kind, ())):
                rate = f"{describe_rate(found)} with {' and '.join(found['conditions'])}; " if "rate" in found else ""
                yield f"- {_code(result.nodeid)}: {_escape(_shorten(rate + found['asked']))}"
                yield from _list_rows(thin_out(found["curve"], MOST_POINTS))


def _list_rows(points: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A table of points, below an item of a list."""
    if not points:
        return
    names = list(dict.fromkeys(name for point in points for name in point["values"]))
    yield ""
    yield f"  | at | {' | '.join(_escape(name.partition('.')[2] or name) for name in names)} | in flight |"
    yield f"  | :-- |{' --: |' * (len(names) + 1)}"
    for point in points:
        cells = [describe_value(name, v) if (v := point["values"].get(name)) else NO_VALUE for name in names]
        flight = f"{point['in_flight']:.3g}"
        yield f"  | {' | '.join(map(_escape, [describe_place(point), *cells, flight]))} |"
    yield ""


def _side_by_side(matrix: Matrix) -> str:
    """The tests that all engines of the run have in common."""
    shown = select_rows(matrix, MOST_ROWS_OF_A_PAGE)
    header, *rows = list_cells(shown)
    lines = [f"| {' | '.join(map(_escape, header))} |", f"| :-- | :-- |{' --: |' * len(matrix.columns)}"]
    for test, metric, *cells in rows:
        lines.append(f"| {' | '.join([_code(test) if test else '', _code(metric), *map(_escape, cells)])} |")
    more = matrix.tests - shown.tests
    notes = [f"+{more} more {'test' if more == 1 else 'tests'} with less difference"] if more else []
    return "\n".join([*lines, "", *map(_escape, [*notes, *describe_matrix(shown)])]).rstrip()


def _engines(results: Sequence[TestResult]) -> list[str]:
    parts = [part for result in results for part in result.measurement.get("parts") or [result.measurement]]
    engines = (part.get("engine") for part in parts)
    return [_escape(text) for text in dict.fromkeys(format_engine(engine) for engine in engines if engine)]


def _hosts(results: Sequence[TestResult]) -> str:
    """What the host did during each test with budgets, folded."""
    found = [(r.nodeid, host) for r in results if r.verdicts and (host := r.measurement.get("host")) is not None]
    lines = [f"- {_code(nodeid)}: {_escape('; '.join(describe_host(host)))}" for nodeid, host in found]
    if not lines:
        return ""
    return "\n".join(["<details>", "<summary>The host during each test</summary>", "", *lines, "", "</details>"])


def _code(text: str) -> str:
    """``text`` as code in a cell of a table, where even code has its pipes escaped."""
    line = to_one_line(text).replace("|", "\\|")
    if "`" not in line:
        return f"`{line}`"
    fence = "`" * (_longest_run_of_backticks(line) + 1)
    return f"{fence} {line} {fence}"


def _longest_run_of_backticks(text: str) -> int:
    return max((len(run) for run in re.findall(r"`+", text)), default=0)


def _escape(text: str) -> str:
    return _MARKUP.sub(r"\\\g<0>", html.escape(to_one_line(text), quote=False))
