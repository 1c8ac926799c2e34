"""Which plots the page has of each test, within a size for all of them.

Those of the tests that need to be looked at are written out. Those of the others are packed together: a hundred tests
have 300 kB of them, which become 60, as they have the same words. The script of the page puts them into their places.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.matrix.nodeids import strip_engines
from pytest_llmperf.reports.plots.distribution import draw_distribution
from pytest_llmperf.reports.plots.host_strip import draw_host_strip
from pytest_llmperf.reports.plots.kv_cache import draw_kv_cache
from pytest_llmperf.reports.plots.memory import draw_memory
from pytest_llmperf.reports.plots.pair import draw_pair
from pytest_llmperf.reports.plots.rate_curves import draw_rate_curves

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_llmperf.reports.page.entries import ListedTest
    from pytest_llmperf.reports.result import TestResult

WRITTEN_BYTES, FEW_TESTS_BYTES, TEST_BYTES = 30_000, 100_000, 900
"""Of plots: tests have all evidence, and those that did not pass have their plots written out, until so much is drawn;
with few tests it is more, less so much for each of them."""

WHOLE_BYTES, MOST_BYTES = 120_000, 310_000
"""Of plots: all others are packed; those of each test until so much is drawn, then its memory with its requests, and
then none."""

_BETWEEN = "\0"
"""Between two packed tests: no SVG holds it."""


@dataclass(frozen=True)
class Drawing:
    """The plots of one test.

    Attributes:
        svg: what is written out; empty if they are packed, or left out for the size of the page.
        place: among those that are packed; None for others.
        is_whole: whether nothing of the test is left out for the size of the page.
    """

    svg: str = ""
    place: int | None = None
    is_whole: bool = True

    @property
    def has_plots(self) -> bool:
        """Whether it has any, written out or packed."""
        return bool(self.svg) or self.place is not None


def draw_tests(entries: Sequence[ListedTest]) -> tuple[list[Drawing], str]:
    """The plots of each test, in the same order, and those that are packed; the tests that need to be looked at come
    first."""
    found: list[Drawing] = []
    packed: list[str] = []
    drawn, written_bytes = 0, max(WRITTEN_BYTES, FEW_TESTS_BYTES - TEST_BYTES * len(entries))
    for entry, same in zip(entries, _find_same(entries), strict=True):
        svg = _draw_within(entry, drawn, same)
        is_whole = drawn < written_bytes
        drawn += len(svg)
        if (is_whole and entry.tone != "pass") or not svg:
            found.append(Drawing(svg, is_whole=is_whole))
        else:
            found.append(Drawing(place=len(packed), is_whole=is_whole))
            packed.append(svg)
    return found, _pack(packed)


def _find_same(entries: Sequence[ListedTest]) -> list[list[TestResult]]:
    """For each test the same one on all engines of the run, itself among them, in the order of their labels."""
    results = [entry.result for entry in entries]
    same: dict[str, list[TestResult]] = {}
    names = strip_engines([(result.nodeid, result.engine) for result in results])
    for name, result in zip(names, results, strict=True):
        same.setdefault(name, []).append(result)
    return [sorted(same[name], key=lambda result: result.engine) for name in names]


def _draw_within(entry: ListedTest, drawn: int, same: Sequence[TestResult]) -> str:
    """The plots of a test for which the page has room, when it has so many bytes of others."""
    if drawn < WHOLE_BYTES:
        return draw_test(entry, whole=True, same=same)
    measurement = entry.result.measurement
    svg = draw_memory(measurement, entry.verdicts) if measurement and drawn < MOST_BYTES else ""
    return _put_into("wide", svg)


def _pack(drawn: Sequence[str]) -> str:
    """The plots of several tests in base64, made smaller by zlib; empty without any."""
    return b64encode(zlib.compress(_BETWEEN.join(drawn).encode(), 9)).decode() if drawn else ""


def draw_test(entry: ListedTest, *, whole: bool, same: Sequence[TestResult] = ()) -> str:
    """The plots of one test: those over time and of pairs, which are wide, and the distributions, which are not.

    If they are not the ``whole`` of them, they are its memory and those that its limits are about. ``same`` has the
    same test on each engine of the run, whose curves over rates are drawn together; empty for this test alone.
    """
    wide, values = (
        "".join(_draw_wide(entry, whole=whole, same=same)),
        "".join(_draw_distributions(entry, whole=whole)),
    )
    return _put_into("wide", wide) + _put_into("values", values)


def _put_into(css: str, plots: str) -> str:
    return f"<div class={css}>{plots}</div>" if plots else ""


def _draw_wide(entry: ListedTest, *, whole: bool, same: Sequence[TestResult]) -> Iterator[str]:
    measurement, verdicts = entry.result.measurement, entry.verdicts
    if entry.result.pairs:
        yield draw_pair(entry.result.pairs, verdicts)
    if measurement.get("capacities") or measurement.get("sweeps"):
        engines = [one for result in same or [entry.result] for one in _list_engines(result)]
        yield from draw_rate_curves(engines)
    if measurement:
        yield draw_memory(measurement, verdicts)
    if measurement and whole:
        yield draw_kv_cache(measurement, verdicts)
        yield draw_host_strip(measurement)


def _list_engines(result: TestResult) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The engines of a test, each with what was measured of it."""
    for part in result.measurement.get("parts") or [result.measurement]:
        engine = part.get("engine") or {}
        yield part.get("label") or result.engine or engine.get("title") or engine.get("name", ""), part


def _draw_distributions(entry: ListedTest, *, whole: bool) -> Iterator[str]:
    measurement, verdicts = entry.result.measurement, entry.verdicts
    limited = {verdict.metric for verdict in verdicts}
    distributions: Mapping[str, Any] = measurement.get("distributions", {})
    for metric, distribution in distributions.items():
        if metric in limited or whole:
            unit = measurement.get("metrics", {}).get(metric, {}).get("unit", "s")
            yield draw_distribution(metric, distribution, verdicts, unit, measurement.get("readings", {}))
