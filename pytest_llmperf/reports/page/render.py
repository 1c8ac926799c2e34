"""From the results and the facts of a run to the text of the page."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.page.command import format_command
from pytest_llmperf.reports.page.decided import describe_decision
from pytest_llmperf.reports.page.entries import Entry, group_tests
from pytest_llmperf.reports.page.facts import describe_engines, describe_session
from pytest_llmperf.reports.page.readings import Readings, find_common_missing, group_by_reason, read_readings
from pytest_llmperf.reports.page.sides import find_arrow, find_side_by_side
from pytest_llmperf.reports.page.states import STATES, find_tone
from pytest_llmperf.reports.terminal.failure_table import format_limit, format_reason

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from pytest_llmperf.reports.result import TestResult

_FOLDER = "pytest_llmperf.reports.page"
_LEFT_OUT_OF_EVIDENCE = frozenset({"recorded", "engine", "inside"})
"""Labels of evidence that the page shows in tables of their own."""


@dataclass(frozen=True)
class Section:
    """What the page shows of one test beside its budgets."""

    entry: Entry
    readings: Readings
    evidence: tuple[tuple[str, str], ...]
    command: str
    plots: str = ""


def render(results: Sequence[TestResult], session: Mapping[str, Any]) -> str:
    """The whole page. ``session`` has the facts of the run, and in ``run`` what only this report shows."""
    run: Mapping[str, Any] = session.get("run", {})
    groups = group_tests(results)
    entries = [entry for group in groups for entry in group.entries]
    common = find_common_missing(results)
    states = [entry.state for entry in entries]
    script, style = _read("page.js"), _read("page.css")
    return (
        _environment()
        .get_template("page.html")
        .render(
            decision=describe_decision(results, session, run),
            groups=groups,
            sections=[_make_section(entry, common, run) for entry in entries],
            states=[(state, states.count(state)) for state in STATES if state in states],
            engines=describe_engines(results),
            session=describe_session(session),
            comparisons=run.get("comparisons", ()),
            missing=group_by_reason(common),
            formulas=_list_formulas(results),
            script=script,
            style=style,
            script_hash=_hash(script),
            style_hash=_hash(style),
            matrix=find_side_by_side(results, run.get("engines", ())),
            trends="",
            version=session.get("pytest_llmperf", ""),
            started=session.get("started", ""),
        )
    )


def _make_section(entry: Entry, common: Sequence[tuple[str, str]], run: Mapping[str, Any]) -> Section:
    measurement = entry.result.measurement
    evidence = [pair for pair in collect_evidence(measurement) if pair[0] not in _LEFT_OUT_OF_EVIDENCE]
    return Section(
        entry=entry,
        readings=read_readings(measurement, common),
        evidence=tuple(evidence),
        command=format_command(entry.nodeid, run),
    )


def _list_formulas(results: Sequence[TestResult]) -> list[tuple[str, str]]:
    """Name and formula of every metric that some test has a reading of."""
    found: dict[str, str] = {}
    for result in results:
        metrics, readings = result.measurement.get("metrics", {}), result.measurement.get("readings", {})
        for name, metric in metrics.items():
            if name not in found and any(reading.startswith(name) for reading in readings):
                found[name] = metric["formula"]
    return sorted(found.items())


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files(_FOLDER)
    templates = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name.endswith("html")}
    environment = Environment(
        loader=DictLoader(templates),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_finalize,
    )
    environment.filters |= {
        "limit": format_limit,
        "reason": format_reason,
        "tone": find_tone,
        "arrow": find_arrow,
        "seconds": _seconds,
    }
    return environment


def _seconds(value: float) -> str:
    return format_value(value, SECONDS)


def _finalize(value: object) -> object:
    """Text without characters that no page may have, or that turn the direction of what follows."""
    if type(value) is str:
        return "".join(char if char.isprintable() or char == "\n" else " " for char in value)
    return value


def _read(name: str) -> Any:
    from markupsafe import Markup

    return Markup(files(_FOLDER).joinpath(name).read_text(encoding="utf-8"))


def _hash(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()
