"""Memory, from traces to one number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.memory import find_traces, read_settled
from pytest_llmperf.metrics.table import read
from tests.helpers.device_samples import FIRST, SECOND, on
from tests.helpers.streams import L4, MS, measured, trace

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.measurement import Measurement

HOST = trace(1, 2)


def on_gpu(*devices: DeviceTrace, **fields: object) -> Measurement:
    return measured(**{"engine": L4, "memory": HOST, "devices": devices, **fields})


def test_memory_is_that_of_the_device_and_host_peak_that_of_the_host() -> None:
    found = on_gpu(on(trace(5, 9, 7)))
    peak = read("memory.peak", found)
    assert (peak.value, peak.samples, peak.how) == (9, 3, "NVIDIA L4 GPU-11111111: resident memory")
    assert read("memory.growth", found).value == 4
    assert read("memory.host_peak", found).value == 2


def test_of_several_devices_the_fullest_counts_and_is_named() -> None:
    found = on_gpu(on(trace(5, 9)), on(trace(1, 12), SECOND))
    for key, value in (("peak", 12), ("growth", 11)):
        reading = read(f"memory.{key}", found)
        assert (reading.value, reading.how) == (value, "NVIDIA L4 GPU-22222222, the fullest of 2: resident memory")


def test_the_fullest_may_be_another_one_for_each_metric() -> None:
    found = on_gpu(on(trace(8, 9)), on(trace(1, 7), SECOND))
    assert (read("memory.peak", found).value, read("memory.growth", found).value) == (9, 6)


def test_where_every_device_gave_memory_back_the_one_that_gave_least_counts() -> None:
    found = on_gpu(on(trace(9, settled_bytes=4)), on(trace(9, settled_bytes=7), SECOND))
    reading = read("memory.retained", found)
    assert reading.value == -2
    assert "GPU-22222222" in reading.how


def test_one_device_that_was_not_measured_leaves_the_whole_without_a_number() -> None:
    found = on_gpu(on(trace(5, 9)), on(trace(1, 2, missing="the driver hangs"), SECOND))
    reading = read("memory.peak", found)
    assert (reading.value, reading.reason) == (None, "NVIDIA L4 GPU-22222222: the driver hangs")


def test_a_reason_that_names_the_device_is_not_told_of_it_again() -> None:
    found = on_gpu(on(trace(missing="NVIDIA L4 (GPU-11111111): the driver gives no memory level")))
    assert read("memory.peak", found).reason == "NVIDIA L4 (GPU-11111111): the driver gives no memory level"


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("peak", {}, "the sampler gave no sample"),
        ("retained", {"settled_reason": "it still moved"}, "it still moved"),
        ("retained", {}, "the run did not wait for the memory to settle"),
        ("growth", {"before_bytes": None}, "no sample from before the test"),
        ("retained", {"before_bytes": None, "settled_bytes": 5}, "no sample from before the test"),
    ],
)
def test_a_trace_that_does_not_have_the_number_says_why(key: str, fields: dict[str, object], reason: str) -> None:
    levels = () if reason == "the sampler gave no sample" else (5, 9)
    assert read(f"memory.{key}", on_gpu(on(trace(*levels, **fields)))).reason == f"NVIDIA L4 GPU-11111111: {reason}"


def test_a_settled_level_is_what_the_device_settled_at_and_not_what_rose() -> None:
    assert read_settled(on_gpu(on(trace(5, 9, settled_bytes=4)))).value == 4
    assert read_settled(on_gpu(on(trace(5, 9, settled_bytes=0, before_bytes=None)))).value == 0
    assert read_settled(on_gpu(on(trace(5, settled_reason="it moved")))).value is None


def test_an_engine_on_the_cpu_has_its_memory_in_the_hosts() -> None:
    found = measured(memory=trace(5, 9))
    assert (read("memory.peak", found).value, read("memory.host_peak", found).how) == (9, "resident memory")
    assert find_traces(measured(memory_missing="it cannot be seen")) == Missing("it cannot be seen")
    assert find_traces(measured(engine=None)) == Missing("the test used no engine")


def test_an_engine_on_a_gpu_that_was_not_read_has_no_memory_of_the_hosts() -> None:
    assert read("memory.peak", on_gpu(devices_missing="no driver")).reason == "no driver"
    assert read("memory.peak", on_gpu()).reason == "the memory of the engine's GPU was not read"
    assert read("memory.host_peak", on_gpu()).value == 2


def test_a_part_of_a_test_has_memory_of_its_own() -> None:
    part = on_gpu(on(trace(5, 6, 9, 7), FIRST)).cut(Window(0, 11 * MS))
    assert read("memory.peak", part).value == 9


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("idle", "it is measured at the end of a test that limits it, or before the test unloads an engine"),
        ("unloaded", "the test did not call llm_engine.unload() or sleep()"),
    ],
)
def test_levels_that_the_test_noted_are_read_as_they_are(key: str, reason: str) -> None:
    noted = Reading(7.0, "resident memory")
    assert read(f"memory.{key}", measured(**{key: noted})) is noted
    assert read(f"memory.{key}", measured()).reason == reason
    assert read(f"memory.{key}", measured(engine=None)).reason == "the test used no engine"
