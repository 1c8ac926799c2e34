"""From the results of a run to its matrix.

Medians over the tests of each engine compare unlike work where the engines did not run the same tests; so only tests
that all of them ran have rows, and each row is of one test.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.engine_info import name_model
from pytest_llmperf.measurement.units import SECONDS, as_written, format_value
from pytest_llmperf.reports.main_metrics import MAIN
from pytest_llmperf.reports.matrix.matrix import INVALID, NONE, Cell, Column, Matrix, MatrixRow
from pytest_llmperf.reports.matrix.nodeids import strip_engines
from pytest_llmperf.reports.matrix.sides import Side
from pytest_llmperf.reports.result import find_variant

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.reports.result import TestResult

    Sides = Mapping[str, Side]
    """A test on each engine by its label."""


def build_matrix(results: Sequence[TestResult], order: Sequence[str] = ()) -> Matrix | None:
    """The matrix of a run; None for fewer than two engines, and if there is no test that all of them ran.

    The columns are the engines of ``--llm-engine``, in the ``order`` of these labels; in an A/B run the old engine and
    the new one; in a run with one engine those that its tests use together.
    """
    if any(result.engine for result in results):
        names = strip_engines([(result.nodeid, result.engine) for result in results])
        tests = _group((name, r.engine, _take_part(r, r.engine)) for name, r in zip(names, results, strict=True))
    elif any(result.pairs for result in results):
        return _build_from_pairs(results)
    else:
        tests = _keep_commonest(_group(_list_parts(results)))
    labels = _sort_labels(tests, order)
    if len(labels) < 2:
        return None
    shared = {test: sides for test, sides in tests.items() if all(label in sides for label in labels)}
    rows = [row for test, sides in shared.items() for row in _make_rows(test, [sides[label] for label in labels])]
    if not rows:
        return None
    left_out = tuple(test for test in tests if test not in shared)
    return Matrix(_make_columns(labels, shared), (*_make_startup_row(labels, shared), *rows), left_out)


# ------------------------------------------------------------------------------------------------- who ran what


def _group(found: Iterable[tuple[str, str, Side]]) -> dict[str, dict[str, Side]]:
    """The sides of each test by the label of the engine; what has none, or was not measured, is left out."""
    tests: dict[str, dict[str, Side]] = {}
    for test, label, side in found:
        if label and side.measurement.get("engine"):
            tests.setdefault(test, {})[label] = side
    return tests


def _list_parts(results: Sequence[TestResult]) -> Iterator[tuple[str, str, Side]]:
    """Each engine of the tests that used several."""
    for result in results:
        for part in result.measurement.get("parts") or ():
            yield result.nodeid, part["label"], _make_side(result, part)


def _take_part(result: TestResult, label: str) -> Side:
    """The engine of ``--llm-engine`` in a test, apart from further ones that the test uses beside it."""
    parts = result.measurement.get("parts") or ()
    part = next((one for one in parts if (engine := one.get("engine")) and label in _list_names(engine)), None)
    return _make_side(result, result.measurement if part is None else part)


def _make_side(result: TestResult, measurement: Mapping[str, Any]) -> Side:
    """A test on the engine of a measurement: of the whole test, or of one of its parts."""
    label = measurement.get("label", "")
    verdicts = [one for one in result.verdicts if one.engine == label]
    limited = dict.fromkeys(one.name for one in result.verdicts if one.name and one.engine in ("", label))
    return Side(measurement, verdicts, list(limited), _why_cut_short(result))


def _list_names(engine: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``--llm-engine`` may call an engine by."""
    return find_variant(engine), engine["name"], f"{engine['name']}:{name_model(engine['model'])}"


def _why_cut_short(result: TestResult) -> str:
    return "" if result.is_whole else "the test failed before its end"


def _keep_commonest(tests: dict[str, dict[str, Side]]) -> dict[str, dict[str, Side]]:
    """The tests that use those engines together which most tests do, of equally many the first."""
    counts = Counter(tuple(sorted(sides)) for sides in tests.values())
    if not counts:
        return {}
    chosen = counts.most_common(1)[0][0]
    return {test: sides for test, sides in tests.items() if tuple(sorted(sides)) == chosen}


def _sort_labels(tests: Mapping[str, Sides], order: Sequence[str]) -> list[str]:
    """The labels in the given order; what it does not name comes behind, as it was seen first."""
    seen = list(dict.fromkeys(label for sides in tests.values() for label in sides))
    return [label for label in order if label in seen] + [label for label in seen if label not in order]


# -------------------------------------------------------------------------------------------------------- columns


def _make_columns(labels: Sequence[str], tests: Mapping[str, Sides]) -> tuple[Column, ...]:
    engines = [[sides[label].measurement["engine"] for sides in tests.values()] for label in labels]
    titles = [" / ".join(dict.fromkeys(_describe(engine) for engine in group)) for group in engines]
    settings = [_find_common_settings(group) for group in engines]
    found = []
    for label, title, own in zip(labels, titles, settings, strict=True):
        same = [other for other, named in zip(settings, titles, strict=True) if named == title]
        differing = [f"{name}={value}" for name, value in own if not all((name, value) in other for other in same)]
        found.append(Column(label, ", ".join([title, *differing])))
    return tuple(found)


def _describe(engine: Mapping[str, Any]) -> str:
    return f"{engine['name']} {engine['version']} {engine['model']}"


def _find_common_settings(engines: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The settings that all engines of one label have: tests may override some."""
    first, *others = [list(engine.get("arguments", {}).items()) for engine in engines]
    return [one for one in first if all(one in other for other in others)]


# ----------------------------------------------------------------------------------------------------------- rows


def _make_startup_row(labels: Sequence[str], tests: Mapping[str, Sides]) -> Iterator[MatrixRow]:
    """How long each engine took to start, unless one of them was started with several settings, or none was here."""
    cells = []
    for label in labels:
        engines = [sides[label].measurement["engine"] for sides in tests.values()]
        if len({engine.get("fingerprint") for engine in engines}) > 1:
            return
        known = [engine["startup_seconds"] for engine in engines if engine.get("startup_seconds") is not None]
        cells.append(
            Cell(known[0], format_value(known[0], SECONDS))
            if known
            else Cell(None, sign=NONE, reason="it was running already")
        )
    if any(cell.value is not None for cell in cells):
        yield MatrixRow("", "latency.startup", "lower", _add_ratios(cells))


def _make_rows(test: str, sides: Sequence[Side]) -> Iterator[MatrixRow]:
    """A row for each metric that the test limits, or for the main ones if it limits none; and for what it recorded."""
    limited = list(dict.fromkeys(name for side in sides for name in side.limited))
    for name in limited or _choose_main(sides):
        if any(side.has(name) for side in sides):
            written = next((v.limit_text for side in sides for v in side.verdicts if v.name == name), "")
            better = next((found for side in sides if (found := side.find_better(name))), "")
            units = {side.find_unit(name) for side in sides if side.has(name)}
            yield MatrixRow(test, name, better, _compare([side.make_cell(name, written) for side in sides], units))
    for name in dict.fromkeys(name for side in sides for name in side.records):
        units = {side.records[name][1] for side in sides if name in side.records}
        yield MatrixRow(test, name, "", _compare([side.make_recorded_cell(name) for side in sides], units))


def _choose_main(sides: Sequence[Side]) -> list[str]:
    """The main metrics, each at a statistic that all engines have, if there is one."""
    return [next((name for name in names if all(side.has(name) for side in sides)), names[-1]) for names in MAIN]


def _compare(cells: Sequence[Cell], units: Collection[str]) -> tuple[Cell, ...]:
    """The cells with ratios, unless they are of several units, such as currencies."""
    return _add_ratios(cells) if len(units) < 2 else tuple(cells)


def _add_ratios(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    first, *others = cells
    return (first, *(_with_ratio(cell, first) for cell in others))


def _with_ratio(cell: Cell, first: Cell) -> Cell:
    if cell.sign or first.sign or not first.value or cell.value is None or first.value < 0 or cell.value < 0:
        return cell
    return Cell(cell.value, cell.text, cell.value / first.value)


# -------------------------------------------------------------------------------------------------------------- A/B


def _build_from_pairs(results: Sequence[TestResult]) -> Matrix | None:
    """Of a run that compared two engines by turns: the averages that its verdicts compare."""
    paired = [result for result in results if result.pairs]
    labels = (paired[0].pairs["old"], paired[0].pairs["new"])
    rows = [row for result in paired for verdict in result.verdicts if (row := _make_paired_row(result, verdict))]
    if not rows:
        return None
    left_out = tuple(result.nodeid for result in results if result.verdicts and not result.pairs)
    titles = {
        label: _describe(engine)
        for result in paired
        if (engine := result.measurement.get("engine"))
        for label in labels
        if label in _list_names(engine)
    }
    return Matrix(tuple(Column(label, titles.get(label, "")) for label in labels), tuple(rows), left_out)


def _make_paired_row(result: TestResult, verdict: Verdict) -> MatrixRow | None:
    if verdict.measured is None and verdict.baseline is None:
        return None
    quantity = as_written(verdict.quantity, verdict.limit_text)
    why = verdict.reason if verdict.status is Status.INVALID else _why_cut_short(result)
    cells = [
        Cell(None, sign=NONE, reason=verdict.reason or "not measured")
        if value is None
        else Cell(value, format_value(value, quantity), sign=INVALID if why else "", reason=why)
        for value in (verdict.baseline, verdict.measured)
    ]
    return MatrixRow(result.nodeid, verdict.name, verdict.better, _add_ratios(cells))
