"""The section below a failed test: each budget, how its number was measured, and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.result import find_part, shows_cost, sort_tightest_first
from pytest_llmperf.reports.text import GAP, NO_VALUE, align_columns, measure_width, pad, to_ascii, to_one_line, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from pytest_llmperf.reports.result import TestResult

SEVERITY = (
    Status.FAIL,
    Status.INVALID,
    Status.NOT_MEASURED,
    Status.NO_BUDGET,
    Status.NO_BASELINE,
    Status.INCONCLUSIVE,
    Status.PASS,
)
_HEADER = ("budget", "limit", "measured", "margin", "verdict")
COST = "engine time"
_LABEL_WIDTH = 10


def sort_worst_first(pairs: Sequence[tuple[TestResult, Verdict]]) -> list[tuple[TestResult, Verdict]]:
    """Sorts by severity of the verdict, and among equals by the room that is left."""
    return sorted(sort_tightest_first(pairs), key=lambda pair: SEVERITY.index(pair[1].status))


def render_failure(result: TestResult, *, width: int = 100, unicode: bool = True) -> str:
    """The budgets of one test with all the evidence, worst first, in lines of at most ``width`` cells.

    With ``unicode=False`` in plain ASCII. Never contains escape sequences.
    """
    spell: Callable[[str], str] = to_one_line if unicode else lambda text: to_ascii(to_one_line(text))
    verdicts = [verdict for _, verdict in sort_worst_first([(result, v) for v in result.verdicts])]
    blocks = [_budgets(verdicts, width, spell, costs=shows_cost([result]))] if verdicts else []
    labelled = [("why", format_reason(v)) for v in verdicts if v.status is not Status.PASS]
    labelled += [("how", text) for v in verdicts if (text := _how(v, result.measurement))]
    labelled += collect_evidence(result.measurement, unicode=unicode)
    blocks.append(_paragraphs([(label, spell(text)) for label, text in labelled], width))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def format_limit(verdict: Verdict) -> str:
    """``≤ 16 GiB``, ``≥ -5 %``: the limit as the user wrote it, with its direction; ``–`` without one."""
    if verdict.limit is None and not verdict.relative:
        return NO_VALUE
    sign = "≥" if verdict.better == "higher" else "≤"
    return f"{sign} {verdict.limit_text}"


def format_reason(verdict: Verdict) -> str:
    """Why there is no PASS, in one line."""
    sentence = verdict.sentence()
    if verdict.status is Status.FAIL and verdict.measured is not None and verdict.reason:
        return f"{sentence}: {verdict.reason}"
    return sentence.removesuffix(": ")


def _budgets(verdicts: Sequence[Verdict], width: int, spell: Callable[[str], str], *, costs: bool) -> list[str]:
    rows = [_HEADER, *(_row(verdict) for verdict in verdicts)]
    if costs:
        rows = [(*row, cost) for row, cost in zip(rows, [COST, *(v.cost_text for v in verdicts)], strict=True)]
    lines = align_columns(
        [[spell(cell) for cell in row] for row in rows], "<>>><>"[: len(rows[0])], width, mark=spell("…")
    )
    rule = spell("─") * max(measure_width(line) for line in lines)
    return [lines[0], rule, *lines[1:]]


def _row(v: Verdict) -> tuple[str, ...]:
    return (v.title or NO_VALUE, format_limit(v), v.measured_with_interval, v.margin_text, v.status.value)


def _paragraphs(labelled: Sequence[tuple[str, str]], width: int) -> list[str]:
    """The texts to the right of their labels; a label that repeats stands only once."""
    lines: list[str] = []
    previous = ""
    for label, text in labelled:
        first, *rest = wrap(text, width - _LABEL_WIDTH - len(GAP))
        lines.append(pad(label if label != previous else "", _LABEL_WIDTH) + first)
        lines += [" " * _LABEL_WIDTH + GAP + line for line in rest]
        previous = label
    return lines


def _how(verdict: Verdict, measurement: Mapping[str, Any]) -> str:
    """Formula, source, number of samples and evidence of the interval, each once: ``how`` often states some already."""
    if verdict.measured is None:
        return ""
    part = find_part(measurement, verdict.engine)
    formula = part.get("metrics", {}).get(verdict.metric, {}).get("formula", "")
    samples = part.get("readings", {}).get(verdict.name, {}).get("samples")
    is_whole = bool(formula) and verdict.how.startswith(f"{formula}, ")
    states_formula = is_whole or (bool(formula) and verdict.how.startswith(f"{formula}; "))
    parts = [verdict.how] if states_formula else [part for part in dict.fromkeys((formula, verdict.how)) if part]
    if samples is not None and not is_whole:
        parts.append(f"{samples} sample{'' if samples == 1 else 's'}")
    if verdict.interval is not None and verdict.interval.units:
        parts.append(f"interval from {verdict.interval.evidence_text}")
    return f"{verdict.title}: {'; '.join(parts)}"
