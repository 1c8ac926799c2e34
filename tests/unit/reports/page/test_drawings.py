"""Which plots the page has of each test: reports/page/drawings.py."""

from __future__ import annotations

import zlib
from base64 import b64decode

import pytest

from pytest_llmperf.measurement.capacity.result import CapacityResult, MeasuredPoint
from pytest_llmperf.reports.page import drawings
from pytest_llmperf.reports.page.drawings import draw_tests
from pytest_llmperf.reports.page.entries import ListedTest, group_tests, make_entry
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.page_samples import mixed_run
from tests.helpers.streams import measured


@pytest.fixture
def entries() -> list[ListedTest]:
    return [entry for group in group_tests(mixed_run()) for entry in group.entries]


def unpack(packed: str) -> list[str]:
    return zlib.decompress(b64decode(packed)).decode().split("\0")


def test_plots_are_written_out_unless_their_test_passed(entries: list[ListedTest]) -> None:
    found, packed = draw_tests(entries)
    plots = unpack(packed)
    assert [drawing.place for drawing in found if drawing.place is not None] == list(range(len(plots)))
    assert all(plot.count("<svg") == plot.count("</svg>") >= 1 for plot in plots)
    for entry, drawing in zip(entries, found, strict=True):
        assert not (drawing.svg and entry.tone == "pass")
        assert drawing.is_whole
    assert any(drawing.svg for drawing in found)


def test_a_page_that_is_full_has_fewer_plots_of_the_last_tests(
    entries: list[ListedTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = draw_tests(entries)
    for name in ("WRITTEN_BYTES", "FEW_TESTS_BYTES", "WHOLE_BYTES", "MOST_BYTES"):
        monkeypatch.setattr(drawings, name, 1)
    found, packed = draw_tests(entries)
    assert (found[0].svg, found[0].is_whole) == (whole[0].svg, True)
    assert not any(drawing.svg or drawing.is_whole or drawing.place is not None for drawing in found[1:])
    assert packed == ""


def test_before_that_they_have_what_happened_over_time(
    entries: list[ListedTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawings, "WHOLE_BYTES", 1)
    found, packed = draw_tests(entries)
    assert found[0].svg.count("<svg") > 1
    drawn = [*(drawing.svg for drawing in found[1:] if drawing.svg), *unpack(packed)]
    assert len(drawn) == len(found) - 1
    assert all(plots.count("<svg") == 1 and "over time" in plots for plots in drawn)


def test_the_same_test_on_two_engines_has_both_curves_in_one_plot() -> None:
    point = MeasuredPoint(4.0, None, 80, 0, 9.0, {"latency.ttft_p95": 0.1})
    measurement = measurement_to_wire(measured(capacities=(CapacityResult(4.0, curve=(point,)),)))
    results = [TestResult(f"t.py::test[{engine}]", (), measurement, "passed", engine=engine) for engine in ("b", "a")]
    found, _ = draw_tests([make_entry(result) for result in results])
    plots = [drawing.svg for drawing in found]
    assert all("a: 100 ms to 100 ms in 1 point. b: 100 ms" in plot for plot in plots)
