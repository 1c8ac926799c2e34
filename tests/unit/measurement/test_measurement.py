"""What a measurement says of itself, and what is left of it inside a part of its window."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.measurement import Device, EngineInfo, MemoryTrace, Reading, RecordedValue
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import CPU, L4, MS, measured, stream, trace


def part(start_ms: float, end_ms: float) -> Window:
    return Window(round(start_ms * MS), round(end_ms * MS))


def test_a_window_is_measured_in_seconds() -> None:
    assert part(250, 1000).seconds == 0.75


def test_latency_counts_from_the_scheduled_moment_where_there_is_one() -> None:
    assert RequestTiming(5, 9).start_ns == 5
    assert RequestTiming(5, 9, scheduled_ns=2).start_ns == 2
    assert RequestTiming(5, 9, scheduled_ns=0).start_ns == 0


def test_an_engine_names_its_devices_once_each_and_in_order() -> None:
    devices = (Device("cuda", "NVIDIA L4", "1"), Device("cuda", "NVIDIA A10", "2"), Device("cuda", "NVIDIA L4", "3"))
    assert EngineInfo("vllm", "1", "m", devices).device_name == "NVIDIA A10 + NVIDIA L4"
    assert EngineInfo("openai", "1", "m").device_name == "unknown device"


def test_an_engine_is_on_the_cpu_only_if_all_its_devices_are_known_to_be() -> None:
    assert CPU.on_cpu
    assert not L4.on_cpu
    assert not EngineInfo("openai", "1", "m").on_cpu
    assert not EngineInfo("ollama", "1", "m", (*CPU.devices, *L4.devices)).on_cpu


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


def test_a_missing_reading_has_a_reason_and_no_value() -> None:
    assert Reading.missing("nobody looked") == Reading(None, reason="nobody looked")
