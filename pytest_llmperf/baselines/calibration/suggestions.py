"""The text of an ``llmperf.toml`` with limits that fit what several runs have measured."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.calibration.audit import AuditedBudget, fit_limit
from pytest_llmperf.baselines.calibration.audit_text import describe_doubts, describe_limit, describe_noise
from pytest_llmperf.baselines.calibration.history import is_noisy
from pytest_llmperf.measurement.units import as_written, format_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_llmperf.baselines.calibration.history import MetricHistory, MetricKey

DEFAULTS = (
    ("memory.required", "memory.peak"),
    ("throughput.output",),
    ("latency.ttft_p95", "latency.ttft_p50"),
    ("latency.tpot_p95", "latency.tpot_p50"),
)
"""What is limited in a test without budgets: of each row the first that enough runs have measured."""


@dataclass(frozen=True)
class _Place:
    """Where limits apply: one ``[[budget]]`` table."""

    nodeid: str
    engine: str
    device: str


def choose_histories(histories: Mapping[MetricKey, MetricHistory]) -> list[MetricHistory]:
    """What to limit: the metrics that a test limits already; of a test without budgets those of :data:`DEFAULTS`."""
    by_test: dict[str, list[MetricHistory]] = defaultdict(list)
    for history in histories.values():
        by_test[history.key.nodeid].append(history)
    return [history for found in by_test.values() for history in _choose(found)]


def _choose(found: Sequence[MetricHistory]) -> Iterator[MetricHistory]:
    limited = [history for history in found if history.limits]
    if limited:
        yield from limited
        return
    whole = {history.key.name: history for history in found if not history.key.engine}
    for names in DEFAULTS:
        known = [whole[name] for name in names if name in whole]
        yield from ([history for history in known if history.series is not None] or known)[:1]


def render_budgets(histories: Iterable[MetricHistory], title: Sequence[str], *, relative: bool) -> tuple[str, int]:
    """The text of the file, and the number of limits in it.

    Args:
        histories: the metrics to limit.
        title: the lines of the comment at its top.
        relative: whether rates, latencies and energies are limited against the baseline. Memory never is.
    """
    tables: dict[_Place, list[str]] = defaultdict(list)
    limits = 0
    for history in histories:
        lines, is_limited = _render_limit(history, relative=relative and is_noisy(history))
        tables[_find_place(history)] += lines
        limits += is_limited
    parts = ["\n".join(f"# {line}".rstrip() for line in title)]
    for place, lines in tables.items():
        has_limits = any(not line.startswith("#") for line in lines)
        parts.append("\n".join([*(_render_place(place) if has_limits else [f"# {place.nodeid}"]), *lines]))
    return "\n\n".join(parts) + "\n", limits


def _find_place(history: MetricHistory) -> _Place:
    """An absolute limit holds for the engine and the device that it was measured on."""
    engine = history.engine
    if engine is None:
        return _Place(history.key.nodeid, history.key.engine, "")
    device = engine.devices[0].name if engine.devices else ""
    return _Place(history.key.nodeid, history.key.engine or engine.name, device)


def _render_place(place: _Place) -> list[str]:
    rows = [("tests", place.nodeid), ("engine", place.engine), ("device", place.device)]
    return ["[[budget]]", *(f"{key} = {_quote(value)}" for key, value in rows if value)]


def _render_limit(history: MetricHistory, *, relative: bool) -> tuple[list[str], bool]:
    name, series = history.key.name, history.series
    now = ", ".join(text for text, _ in history.limits)
    if series is None:
        return [f"# {name}: no limit: {AuditedBudget(history, '').why_none}"], False
    budget = AuditedBudget(history, now, series)
    fitting = fit_limit(history, series, relative=relative)
    measured = format_value(series.median, as_written(history.quantity, now))
    about = f"# {measured} in {len(series.sessions)} runs, {describe_noise(budget)}{f'; now {now}' if now else ''}"
    if fitting is None:
        return [
            about,
            f"# {name}: no limit fits, as a run does not bound the value: more requests or rounds would",
        ], False
    says = [describe_limit(fitting.does, history.better), *describe_doubts(history)]
    return [about, *(f"# {line}" for line in says), f"{name} = {_quote(fitting.text)}"], True


def _quote(text: str) -> str:
    """A basic string of TOML, which is one of JSON but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
