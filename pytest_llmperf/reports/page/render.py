"""From the results and the facts of a run to the text of the page."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.page.command import format_command
from pytest_llmperf.reports.page.decided import describe_decision
from pytest_llmperf.reports.page.drawings import Drawing, draw_tests
from pytest_llmperf.reports.page.entries import ListedTest, group_tests
from pytest_llmperf.reports.page.facts import describe_engines, describe_session
from pytest_llmperf.reports.page.readings import Readings, find_common_missing, group_by_reason, read_readings
from pytest_llmperf.reports.page.sides import find_side_by_side
from pytest_llmperf.reports.page.states import STATES
from pytest_llmperf.reports.page.style import make_page_style, read_file
from pytest_llmperf.reports.page.templates import mark_safe, open_templates
from pytest_llmperf.reports.page.trends import draw_trends
from pytest_llmperf.reports.plots.lanes import draw_key
from pytest_llmperf.reports.sparkline import BLOCKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from markupsafe import Markup

    from pytest_llmperf.reports.result import TestResult

_IN_TABLES = frozenset({"recorded", "inside"})
"""Labels of evidence that the page shows in tables; the engine is one as well, unless the test has several."""

_MAIN_EVIDENCE = frozenset({"fault", "meanwhile", "model", "requests", "engine"})
"""Labels of evidence that every test has, however large the page is."""


@dataclass(frozen=True)
class Section:
    """What the page shows of one test beside its budgets.

    Attributes:
        entry: the test.
        readings: what was measured.
        tables: titles and pairs of a name and a value, to stand in columns.
        line: pairs of a name and a value in one line, where the page has many tests.
        evidence: pairs of a label and a sentence.
        command: that runs the test again.
        drawing: its plots, of which ``plots`` are those that are written out.
    """

    entry: ListedTest
    readings: Readings
    tables: tuple[tuple[str, Sequence[tuple[str, str]]], ...]
    line: str
    evidence: tuple[tuple[str, str], ...]
    command: str
    drawing: Drawing
    plots: Markup


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """The whole page. ``session`` has the facts of the run, and in ``run`` what only this report shows."""
    run: Mapping[str, Any] = session.get("run", {})
    groups = group_tests(results)
    entries = [entry for group in groups for entry in group.entries]
    drawings, packed = draw_tests(entries)
    common = find_common_missing(results)
    states = [entry.state for entry in entries]
    script, style = mark_safe(read_file("page.js")), mark_safe(make_page_style())
    return (
        open_templates()
        .get_template("page.html")
        .render(
            decision=describe_decision(results, session, run),
            groups=groups,
            sections=[
                _make_section(entry, drawing, common, run) for entry, drawing in zip(entries, drawings, strict=True)
            ],
            key=mark_safe(draw_key()),
            packed=packed,
            reduced=sum(1 for drawing in drawings if not drawing.is_whole),
            undrawn=sum(1 for drawing in drawings if not (drawing.is_whole or drawing.has_plots)),
            states=[(state, states.count(state)) for state in STATES if state in states],
            engines=describe_engines(results, run.get("engines", ())),
            session=describe_session(session),
            baselines=session.get("baselines", ()),
            missing=group_by_reason(common),
            formulas=_list_formulas(results),
            script=script,
            style=style,
            script_hash=_hash(script),
            style_hash=_hash(style),
            matrix=find_side_by_side(results, run.get("engines", ())),
            trends=draw_trends(run.get("trends", ())),
            version=session.get("pytest_llmperf", ""),
            started=session.get("started", ""),
        )
    )


def _make_section(
    entry: ListedTest, drawing: Drawing, common: Sequence[tuple[str, str]], run: Mapping[str, Any]
) -> Section:
    measurement = entry.result.measurement
    in_tables = _IN_TABLES if measurement.get("parts") else _IN_TABLES | {"engine"}
    evidence = [
        (label, text.lstrip(BLOCKS).lstrip())
        for label, text in collect_evidence(measurement)
        if label not in in_tables and (drawing.is_whole or label in _MAIN_EVIDENCE)
    ]
    readings = read_readings(measurement, common)
    limited = {verdict.name for verdict in entry.verdicts}
    values = [(name, value) for name, value in readings.values if name not in limited]
    recorded = ("Recorded by the test", readings.recorded)
    counters = ("Counters of the engine", readings.counters)
    tables = (("Readings", values), recorded, counters) if drawing.is_whole else (recorded,)
    return Section(
        entry=entry,
        readings=readings,
        tables=tuple((title, pairs) for title, pairs in tables if pairs),
        line="" if drawing.is_whole else " · ".join([*_tell_latencies(readings), *(f"{n} {v}" for n, v in values)]),
        evidence=tuple(evidence),
        command=format_command(entry.nodeid, run),
        drawing=drawing,
        plots=mark_safe(drawing.svg),
    )


def _tell_latencies(readings: Readings) -> Iterator[str]:
    """``latency.ttft p50 121 ms, max 301 ms`` for each latency."""
    for name, cells in readings.latencies.rows:
        known = zip(readings.latencies.columns, cells, strict=True)
        yield f"{name} {', '.join(f'{statistic} {cell}' for statistic, cell in known if cell)}"


def _list_formulas(results: Sequence[TestResult]) -> list[tuple[str, str]]:
    """Name and formula of every metric that some test has a reading of."""
    found: dict[str, str] = {}
    for result in results:
        metrics, readings = result.measurement.get("metrics", {}), result.measurement.get("readings", {})
        for name, metric in metrics.items():
            if name not in found and any(reading.startswith(name) for reading in readings):
                found[name] = metric["formula"]
    return sorted(found.items())


def _hash(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()
