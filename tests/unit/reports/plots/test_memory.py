"""Memory and requests over time: reports/plots/memory.py, lanes.py and time_axis.py."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.reports.plots.memory import draw_memory
from pytest_llmperf.reports.plots.time_axis import LEFT, RIGHT
from tests.helpers.drawings import read_drawing
from tests.helpers.verdicts import verdict

GIB = 2**30


def measurement(
    memory: dict[str, list[list[float]]] | None = None, lanes: list[list[Any]] | None = None, seconds: float = 10.0
) -> dict[str, Any]:
    """What a drawing reads of a measurement in its wire form."""
    failed = sum(lane[3] == "failed" for lane in lanes or [])
    return {
        "window": {"name": "test", "seconds": seconds},
        "series": {"start_s": 0.0, "end_s": seconds, "memory": memory or {}},
        "lanes": lanes or [],
        "lanes_of": len(lanes or []),
        "requests": {"total": len(lanes or []), "failed": failed},
    }


def peak(limit: float, measured: float = 3 * GIB, status: Status = Status.PASS) -> Verdict:
    return verdict(status, "memory.peak", "memory.peak", limit, f"{limit / GIB:g} GiB", measured)


def test_levels_and_limit_lie_where_their_values_are() -> None:
    rising = {"host": [[0.0, 1 * GIB], [5.0, 3 * GIB], [10.0, 2 * GIB]]}
    drawn = read_drawing(draw_memory(measurement(rising), [peak(4 * GIB)]))
    (line,) = drawn.lines("l")
    (limit,) = drawn.lines("L")
    xs, ys = zip(*line, strict=True)
    assert xs == pytest.approx((LEFT, (LEFT + RIGHT) / 2, RIGHT), abs=1)
    assert ys[0] - ys[2] == pytest.approx(ys[2] - ys[1], abs=1.1)
    assert ys[1] - limit[0][1] == pytest.approx(ys[2] - ys[1], abs=1.1)
    assert drawn.lines("o") == [(line[1], line[1])]
    assert "from 1.00 GiB to a peak of 3.00 GiB at 5.00 s" in drawn.description
    assert "memory.peak 3.00 GiB, limit 4 GiB: PASS" in drawn.description


def test_a_limit_far_above_is_named_and_squashes_nothing() -> None:
    drawn = read_drawing(draw_memory(measurement({"host": [[0, GIB], [10, 2 * GIB]]}), [peak(400 * GIB)]))
    assert not drawn.lines("L")
    assert "400 GiB" in drawn.label("↑").text
    (line,) = drawn.lines("l")
    assert abs(line[0][1] - line[1][1]) > 40


def test_requests_lie_below_on_the_same_time() -> None:
    lanes: list[list[Any]] = [
        [0.0, 2.5, 5.0, "answered", 1.0],
        [2.5, None, 7.5, "failed", None],
        [5.0, 6.0, 10.0, "short", None],
    ]
    drawn = read_drawing(draw_memory(measurement({"host": [[0, GIB], [10, GIB]]}, lanes), []))
    at = {second: LEFT + (RIGHT - LEFT) * second / 10 for second in (0, 1, 2.5, 5, 6, 7.5, 10)}
    assert _spans(drawn.lines("w")) == [pytest.approx((at[0], at[1]), abs=1)]
    assert _spans(drawn.lines("p")) == [
        pytest.approx(span, abs=1) for span in ((at[1], at[2.5]), (at[2.5], at[7.5]), (at[5], at[6]))
    ]
    assert _spans(drawn.lines("d")) == [pytest.approx(span, abs=1) for span in ((at[2.5], at[5]), (at[6], at[10]))]
    rows = [line[0][1] for line in drawn.lines("p")]
    assert rows[0] == rows[2] < rows[1], "a row is free again when its request has ended"
    cross = drawn.lines("X")
    assert len(cross) == 2
    assert sum(point[0] for line in cross for point in line) / 4 == pytest.approx(at[7.5], abs=1)
    assert drawn.label("1 failed")
    assert "3 requests, up to 2 at once, 1 failed, the longest 5.00 s" in drawn.description


def _spans(lines: list[tuple[tuple[float, float], ...]]) -> list[tuple[float, float]]:
    return [(line[0][0], line[-1][0]) for line in lines]


def test_without_memory_there_are_the_requests_and_without_both_nothing() -> None:
    assert read_drawing(draw_memory(measurement(None, [[0, 1, 2, "answered", None]]), [])).title == "Requests over time"
    assert draw_memory(measurement(), []) == ""
    assert draw_memory({"window": {"seconds": 1.0}, "requests": {"total": 0, "failed": 0}}, []) == ""
