"""The memory of an engine over time, and what is left of it inside a part."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import MS, trace


def part(start_ms: float, end_ms: float) -> Window:
    return Window(round(start_ms * MS), round(end_ms * MS))


@pytest.mark.parametrize(
    ("window", "levels", "before"),
    [
        (part(15, 25), (2, 3, 4), 2),
        (part(10, 30), (2, 3, 4), 2),
        (part(12, 13), (2, 3), 2),
        (part(10, 10), (2,), 2),
        (part(0, 40), (1, 2, 3, 4, 5), 1),
        (part(35, 99), (4, 5), 4),
        (part(50, 99), (5,), 5),
        (part(-20, 5), (1, 2), None),
    ],
)
def test_a_part_of_a_trace_keeps_one_sample_on_either_side(
    window: Window, levels: tuple[int, ...], before: int | None
) -> None:
    found = trace(1, 2, 3, 4, 5).cut(window)
    assert tuple(level for _, level in found.samples) == levels
    assert found.before_bytes == before


def test_a_part_of_a_trace_has_its_own_largest_gap_and_keeps_what_was_wrong() -> None:
    samples = ((0, 1), (10 * MS, 1), (90 * MS, 1), (100 * MS, 1))
    whole = MemoryTrace(samples, "resident memory", 1, 1, max_gap_ns=80 * MS, fault="a gap of 80 ms")
    assert whole.cut(part(0, 10)).max_gap_ns == 10 * MS
    assert whole.cut(part(20, 30)).max_gap_ns == 80 * MS
    assert whole.cut(part(0, 10)).fault == "a gap of 80 ms"


def test_a_part_of_a_trace_did_not_wait_for_the_memory_to_settle() -> None:
    assert trace(1, 2, settled_bytes=1).cut(part(0, 5)).settled_bytes is None


def test_a_trace_without_samples_has_no_parts() -> None:
    found = trace().cut(part(0, 5))
    assert (found.samples, found.before_bytes, found.max_gap_ns) == ((), None, 0)
