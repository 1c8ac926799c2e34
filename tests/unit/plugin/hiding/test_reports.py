"""Keys in pytest's own reports of tests: plugin/hiding/reports.py."""

from __future__ import annotations

import pytest

from pytest_llmperf.plugin.hiding.reports import hide_keys_of_report
from pytest_llmperf.system.known_keys import note_key

KEY = "sk-0123456789"


def _report() -> pytest.TestReport:
    try:
        raise ValueError(f"no {KEY}")
    except ValueError as error:
        info = pytest.ExceptionInfo.from_exception(error)
    properties, sections = [("llmperf.model", KEY)], [("Captured stdout call", f"a {KEY}")]
    name, place = f"test_it.py::test_it[{KEY}]", ("test_it.py", 1, "test_it")
    shown = info.getrepr(style="long", showlocals=True)
    return pytest.TestReport(name, place, {}, "failed", shown, "call", sections, user_properties=properties)


def test_nothing_but_the_name_of_a_test_has_the_key() -> None:
    report = _report()
    assert KEY in report.longreprtext
    note_key(KEY)
    hide_keys_of_report(report)
    assert KEY not in report.longreprtext
    assert "ValueError: no ***" in report.longreprtext
    assert report.longrepr.reprcrash.message == "ValueError: no ***"  # type: ignore[union-attr]
    assert report.sections == [("Captured stdout call", "a ***")]
    assert report.user_properties == [("llmperf.model", "***")]
    assert report.nodeid.endswith(f"[{KEY}]")
