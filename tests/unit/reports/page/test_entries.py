"""The tests as the page lists them."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.reports.page.entries import group_tests, make_anchor
from pytest_llmperf.reports.page.states import MEASURED, STATES, TEST_FAILED, find_tone
from tests.helpers.report_samples import BROKEN, PASSING, UNMEASURED, result


def test_functions_come_with_their_worst_test_first_and_tests_inside_of_them_too() -> None:
    groups = group_tests(
        [
            result("test_a.py::test_good", (PASSING,), outcome="passed"),
            result("test_a.py::test_many[1]", (PASSING,), outcome="passed"),
            result("test_a.py::test_many[2]", (UNMEASURED, BROKEN)),
            replace(result("test_a.py::test_wrong", (PASSING, UNMEASURED)), failed_by="test"),
            replace(result("test_a.py::test_zipped", (PASSING,), outcome="passed"), failed_by="teardown"),
            result("test_a.py::test_plain", (), outcome="passed"),
        ]
    )
    assert [(group.function, [entry.state for entry in group.entries]) for group in groups] == [
        ("test_a.py::test_many", ["FAIL", "PASS"]),
        ("test_a.py::test_wrong", [TEST_FAILED]),
        ("test_a.py::test_zipped", [TEST_FAILED]),
        ("test_a.py::test_good", ["PASS"]),
        ("test_a.py::test_plain", [MEASURED]),
    ]
    assert [entry.parameters for entry in groups[0].entries] == ["[2]", "[1]"]
    assert groups[0].entries[0].lead == BROKEN
    assert groups[-1].entries[0].lead is None


def test_every_state_has_a_tone_and_anchors_differ() -> None:
    assert {find_tone(state) for state in STATES} == {"fail", "warn", "pass", "plain"}
    assert len({make_anchor(nodeid) for nodeid in ("a", "A", "a[1]", "\udcff", "\udcfe")}) == 5
