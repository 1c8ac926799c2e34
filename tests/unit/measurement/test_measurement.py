"""What is left of a measurement inside a part of its window."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.measurement import RecordedValue
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.unread import UnreadCall
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import CPU, MS, measured, stream, trace


def part(start_ms: float, end_ms: float) -> Window:
    return Window(round(start_ms * MS), round(end_ms * MS))


def test_a_window_is_measured_in_seconds() -> None:
    assert part(250, 1000).seconds == 0.75


def test_a_missing_reading_has_a_reason_and_no_value() -> None:
    assert Reading.missing("nobody looked") == Reading(None, reason="nobody looked")


def test_a_part_of_a_measurement_holds_the_requests_sent_in_it() -> None:
    requests = [stream(at + 50, sent_ms=at) for at in (0, 100, 199, 200)]
    found = measured(*requests, memory=trace(*range(40)), faults=("the engine ended",)).cut(part(100, 200))
    assert [request.sent_ns // MS for request in found.requests] == [100, 199]
    assert found.memory is not None
    assert found.memory.before_bytes == 10
    assert found.memory.samples[-1] == (200 * MS, 20)
    assert found.faults == ("the engine ended",)
    assert found.engine is CPU


def test_a_part_of_a_measurement_without_memory_says_why_there_is_none() -> None:
    found = measured(memory_missing="the processes cannot be seen", records=(RecordedValue("a", 1, "1"),)).cut(
        part(0, 1)
    )
    assert found.memory is None
    assert found.memory_missing == "the processes cannot be seen"


def test_the_time_of_the_engine_counts_requests_at_the_same_time_once_and_no_pause() -> None:
    together = [stream(100, sent_ms=0), stream(250, sent_ms=50), stream(120, sent_ms=110)]
    failed = stream(500, sent_ms=400, error="HTTP 500")
    unread = (
        UnreadCall("POST /v1/messages", 600 * MS, 650 * MS),
        UnreadCall("GET /metrics", 700 * MS, 900 * MS, harmless=True),
    )
    assert measured(*together, failed, unread=unread).engine_seconds == pytest.approx(0.4)
    assert measured().engine_seconds == 0
