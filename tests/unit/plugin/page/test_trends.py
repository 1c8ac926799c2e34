"""What the store knows of the metrics that a run limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.baselines.store import Store
from pytest_llmperf.plugin.page.trends import read_trends
from pytest_llmperf.reports.page.trends import MOST_BYTES, draw_trends
from tests.helpers.report_samples import BROKEN, PASSING, result
from tests.helpers.stored_reports import make_report, make_test

if TYPE_CHECKING:
    from pathlib import Path

STEADY, GROWN = "t.py::test_steady", "t.py::test_grown"
RESULTS = [result(STEADY, (PASSING, BROKEN)), result(GROWN, (BROKEN,))]


def fill(folder: Path, runs: int) -> None:
    for run in range(runs):
        noise = 1 + run % 3 / 1000
        steady = make_test(STEADY, {"memory.peak": 1e9 * noise, "throughput.output": 100.0 * noise})
        grown = make_test(GROWN, {"memory.peak": (1e9 if run < runs / 2 else 2e9) * noise})
        Store(folder).save("main", make_report(steady, grown, day=run))


def test_each_limited_metric_has_its_history_and_what_changed_comes_first(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    found = read_trends(RESULTS, tmp_path, "main")
    assert [(one["test"], one["metric"], len(one["changes"])) for one in found] == [
        (GROWN, "memory.peak", 1),
        (STEADY, "memory.peak", 0),
        (STEADY, "throughput.output", 0),
    ]
    drawn = draw_trends(found)
    assert drawn is not None
    assert [trend.nodeid for trend in drawn.shown] == [GROWN, STEADY, STEADY]
    assert all(trend.svg.startswith("<svg") for trend in drawn.shown)


def test_there_is_none_without_a_store_without_limits_and_of_few_runs(tmp_path: Path) -> None:
    assert read_trends(RESULTS, tmp_path / "none", "main") == []
    fill(tmp_path, 2)
    assert read_trends(RESULTS, tmp_path, "main") == []
    assert read_trends(RESULTS, tmp_path, "nightly") == []
    assert read_trends([replace(one, verdicts=()) for one in RESULTS], tmp_path, "main") == []
    assert draw_trends([]) is None


def test_a_page_has_so_many_as_its_size_allows(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    found = read_trends(RESULTS, tmp_path, "main") * 100
    drawn = draw_trends(found)
    assert drawn is not None
    assert 0 < drawn.more < len(found)
    assert len("".join(trend.svg for trend in drawn.shown)) < 1.2 * MOST_BYTES
