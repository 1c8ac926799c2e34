"""A whole report as a file holds it, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.compact.differences import Table, fill_in, find_common, leave_out
from pytest_llmperf.reports.compact.measurement import Tables, compact_measurement, expand_measurement
from pytest_llmperf.reports.compact.pairs import compact_pairs, expand_pairs
from pytest_llmperf.reports.compact.parts import SHARED, list_shared
from pytest_llmperf.reports.compact.verdicts import compact_verdict, expand_verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

_TABLES = ("engines", "devices", "workloads", "missing")
_USUAL_TEST: dict[str, Any] = {"failed_by": "", "verdicts": []}


def compact_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report with tables of what its tests have alike, and with tests that say the rest. Nothing is lost.

    A report of one test alone says the same of it as one of the whole suite: :func:`expand_report` makes both equal.
    """
    measurements = [test["measurement"] for test in report["tests"]]
    shared = {part: [one for each in measurements for one in list_shared(each, part)] for part in SHARED}
    usual = {part: common for part, keys in SHARED.items() if (common := find_common(shared[part], keys))}
    tables = Tables(report["metrics"], usual)
    tests = [_compact_test(test, tables) for test in report["tests"]]
    head = {key: value for key, value in report.items() if key != "tests"}
    return {**head, "usual": usual, **{name: getattr(tables, name).rows for name in _TABLES}, "tests": tests}


def expand_report(written: Mapping[str, Any]) -> dict[str, Any]:
    """The report that :func:`compact_report` made ``written`` of.

    Raises:
        KeyError: a part is missing.
        IndexError: a test names an entry that is in no table.
        AttributeError, TypeError, ValueError: a part has not the shape that it should have.
    """
    tables = Tables(written["metrics"], written["usual"], *(_make_table(written[name]) for name in _TABLES))
    tests = [_expand_test(test, tables) for test in written["tests"]]
    head = {key: value for key, value in written.items() if key not in ("usual", "tests", *_TABLES)}
    return {**head, "tests": tests}


def _make_table(rows: list[Any]) -> Table:
    table = Table()
    table.rows.extend(rows)
    return table


def _compact_test(test: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    measurement, found = test["measurement"], dict(test)
    if "verdicts" in found:
        found["verdicts"] = [compact_verdict(one, measurement, tables.metrics) for one in test["verdicts"]]
    if "pairs" in found:
        found["pairs"] = compact_pairs(test["pairs"])
    found["measurement"] = compact_measurement(measurement, tables)
    return leave_out(found, _USUAL_TEST)


def _expand_test(written: Mapping[str, Any], tables: Tables) -> dict[str, Any]:
    found = fill_in(written, _USUAL_TEST)
    measurement = expand_measurement(written["measurement"], tables)
    if "verdicts" in found:
        found["verdicts"] = [expand_verdict(one, measurement, tables.metrics) for one in found["verdicts"]]
    if "pairs" in found:
        found["pairs"] = expand_pairs(found["pairs"])
    return {**found, "measurement": measurement}
