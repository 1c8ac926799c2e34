"""The section below a failed test: each budget, how its number was measured, and the evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.result import find_part, shows_cost
from pytest_llmperf.reports.terminal.budget_lines import align_budgets, describe_budget
from pytest_llmperf.reports.terminal.groups import Row
from pytest_llmperf.reports.text import GAP, measure_width, pad, to_ascii, to_one_line, wrap
from pytest_llmperf.reports.verdicts import format_reason, sort_worst_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from pytest_llmperf.reports.result import TestResult
    from pytest_llmperf.reports.terminal.budget_lines import Spell

_LABEL_WIDTH = 10


def render_failure(result: TestResult, *, width: int = 100, unicode: bool = True) -> str:
    """The budgets of one test with all the evidence, worst first, in lines of at most ``width`` cells.

    With ``unicode=False`` in plain ASCII. Never contains escape sequences.
    """
    spell: Spell = to_one_line if unicode else lambda text: to_ascii(to_one_line(text))
    verdicts = [verdict for _, verdict in sort_worst_first([(result, v) for v in result.verdicts])]
    blocks = [_budgets(verdicts, width, spell, costs=shows_cost([result]))] if verdicts else []
    labelled = [("test", result.place)] if result.place else []
    labelled += [("why", format_reason(v)) for v in verdicts if v.status is not Status.PASS]
    labelled += [("how", text) for v in verdicts if (text := _how(v, result.measurement))]
    labelled += collect_evidence(result.measurement, unicode=unicode)
    blocks.append(_paragraphs([(label, spell(text)) for label, text in labelled], width))
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _budgets(verdicts: Sequence[Verdict], width: int, spell: Spell, *, costs: bool) -> list[str]:
    rows = [Row(verdict, ((verdict.status, 1),)) for verdict in verdicts]
    lines = align_budgets((), rows, width, spell, costs=costs)
    if lines is None:
        return [line for row in rows for line in describe_budget(row, width, spell)]
    rule = spell("─") * max(map(measure_width, lines))
    return [lines[0], rule, *lines[1:]]


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
