"""Which plots the page has of each test, within a size for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.plots.distribution import draw_distribution
from pytest_llmperf.reports.plots.host_strip import draw_host_strip
from pytest_llmperf.reports.plots.kv_cache import draw_kv_cache
from pytest_llmperf.reports.plots.memory import draw_memory
from pytest_llmperf.reports.plots.pair import draw_pair

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.reports.page.entries import Entry

WHOLE_BYTES = 40_000
"""Of plots: tests that did not pass have all of theirs until so much is spent."""

MOST_BYTES = 65_000
"""Of plots: the tests that follow have those of their limits until so much is spent, and then none."""

FEWEST_VALUES = 2
"""Of a distribution that is drawn without a limit."""


@dataclass(frozen=True)
class Drawing:
    """The plots of one test as SVG; ``is_whole`` if none is left out for the size of the page."""

    svg: str
    is_whole: bool


def draw_tests(entries: Sequence[Entry]) -> list[Drawing]:
    """The plots of each test, in the same order; the tests that need to be looked at come first."""
    found = []
    spent = 0
    for entry in entries:
        is_whole = spent < WHOLE_BYTES
        svg = draw_test(entry, whole=is_whole and entry.tone != "pass") if spent < MOST_BYTES else ""
        spent += len(svg.encode())
        found.append(Drawing(svg, is_whole))
    return found


def draw_test(entry: Entry, *, whole: bool) -> str:
    """The plots of one test: those over time and of pairs, which are wide, and the distributions, which are not.

    If they are not the ``whole`` of them, they are those that its limits are about.
    """
    columns = ("".join(_draw_wide(entry, whole=whole)), "".join(_draw_distributions(entry, whole=whole)))
    names = ("wide", "values")
    return "".join(f"<div class={name}>{plots}</div>" for name, plots in zip(names, columns, strict=True) if plots)


def _draw_wide(entry: Entry, *, whole: bool) -> Iterator[str]:
    measurement, verdicts = entry.result.measurement, entry.verdicts
    if entry.result.pairs:
        yield draw_pair(entry.result.pairs, verdicts)
    if measurement and (whole or any(verdict.metric.startswith("memory.") for verdict in verdicts)):
        yield draw_memory(measurement, verdicts)
    if measurement and whole:
        yield draw_kv_cache(measurement, verdicts)
        yield draw_host_strip(measurement)


def _draw_distributions(entry: Entry, *, whole: bool) -> Iterator[str]:
    measurement, verdicts = entry.result.measurement, entry.verdicts
    limited = {verdict.metric for verdict in verdicts}
    distributions: Mapping[str, Any] = measurement.get("distributions", {})
    for metric, distribution in distributions.items():
        if metric in limited or (whole and distribution["count"] >= FEWEST_VALUES):
            yield draw_distribution(metric, distribution, verdicts)
