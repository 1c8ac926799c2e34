"""Memory and energy, from traces to one number: resources.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.measurement.measurement import Conditions, DeviceProcess, DeviceTrace, Energy, Measurement
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.latency import NO_TOKEN_COUNT
from pytest_llmperf.metrics.memory_energy import (
    energy_fault,
    memory_traces,
    read_energy,
    read_idle,
    read_memory,
    slowdown,
)
from pytest_llmperf.metrics.table import read
from tests.helpers.device_samples import ENERGY, FIRST, SECOND, THROTTLED, TRAINER, on
from tests.helpers.streams import CPU, L4, MS, measured, stream, trace, whole

HOST = trace(1, 2)


def on_gpu(*devices: DeviceTrace, **fields: object) -> Measurement:
    return measured(**{"engine": L4, "memory": HOST, "devices": devices, **fields})


# -------------------------------------------------------------------------------------------------------------- memory


def test_memory_is_that_of_the_device_and_host_peak_that_of_the_host() -> None:
    found = on_gpu(on(trace(5, 9, 7)))
    peak = read_memory("peak", found)
    assert (peak.value, peak.samples, peak.how) == (9, 3, "NVIDIA L4 GPU-11111111: resident memory")
    assert read_memory("growth", found).value == 4
    assert read_memory("host_peak", found).value == 2


def test_of_several_devices_the_fullest_counts_and_is_named() -> None:
    found = on_gpu(on(trace(5, 9)), on(trace(1, 12), SECOND))
    for key, value in (("peak", 12), ("growth", 11)):
        reading = read_memory(key, found)
        assert (reading.value, reading.how) == (value, "NVIDIA L4 GPU-22222222, the fullest of 2: resident memory")


def test_the_fullest_may_be_another_one_for_each_metric() -> None:
    found = on_gpu(on(trace(8, 9)), on(trace(1, 7), SECOND))
    assert (read_memory("peak", found).value, read_memory("growth", found).value) == (9, 6)


def test_where_every_device_gave_memory_back_the_one_that_gave_least_counts() -> None:
    found = on_gpu(on(trace(9, settled_bytes=4)), on(trace(9, settled_bytes=7), SECOND))
    reading = read_memory("retained", found)
    assert reading.value == -2
    assert "GPU-22222222" in reading.how


def test_one_device_that_was_not_measured_leaves_the_whole_without_a_number() -> None:
    found = on_gpu(on(trace(5, 9)), on(trace(1, 2, missing="the driver hangs"), SECOND))
    reading = read_memory("peak", found)
    assert (reading.value, reading.reason) == (None, "NVIDIA L4 GPU-22222222: the driver hangs")


def test_a_reason_that_names_the_device_is_not_told_of_it_again() -> None:
    found = on_gpu(on(trace(missing="NVIDIA L4 (GPU-11111111): the driver gives no memory level")))
    assert read_memory("peak", found).reason == "NVIDIA L4 (GPU-11111111): the driver gives no memory level"


@pytest.mark.parametrize(
    ("key", "fields", "reason"),
    [
        ("peak", {}, "the sampler gave no sample"),
        ("retained", {"settled_reason": "it still moved"}, "it still moved"),
        ("retained", {}, "nobody waited for the memory to settle"),
        ("growth", {"before_bytes": None}, "no sample from before the test"),
        ("retained", {"before_bytes": None, "settled_bytes": 5}, "no sample from before the test"),
    ],
)
def test_a_trace_that_does_not_have_the_number_says_why(key: str, fields: dict[str, object], reason: str) -> None:
    levels = () if reason == "the sampler gave no sample" else (5, 9)
    assert read_memory(key, on_gpu(on(trace(*levels, **fields)))).reason == f"NVIDIA L4 GPU-11111111: {reason}"


def test_idle_is_the_level_that_the_device_settled_at_and_not_what_rose() -> None:
    assert read_idle(on_gpu(on(trace(5, 9, settled_bytes=4)))).value == 4
    assert read_idle(on_gpu(on(trace(5, 9, settled_bytes=0, before_bytes=None)))).value == 0
    assert read_idle(on_gpu(on(trace(5, settled_reason="it moved")))).value is None


def test_an_engine_on_the_cpu_has_its_memory_in_the_hosts() -> None:
    found = measured(memory=trace(5, 9))
    assert (read_memory("peak", found).value, read_memory("host_peak", found).how) == (9, "resident memory")
    assert memory_traces("peak", measured(memory_missing="it cannot be seen")) == "it cannot be seen"
    assert memory_traces("peak", measured(engine=None)) == "the test used no engine"


def test_an_engine_on_a_gpu_that_was_not_read_has_no_memory_of_the_hosts() -> None:
    assert read_memory("peak", on_gpu(devices_missing="no driver")).reason == "no driver"
    assert read_memory("peak", on_gpu()).reason == "the memory of the engine's GPU was not read"
    assert read_memory("host_peak", on_gpu()).value == 2


# -------------------------------------------------------------------------------------------------------------- energy

ANSWERS = (stream(10, 20, output_tokens=40), whole(0, 90, output_tokens=20))
SECONDS = Window(0, 4000 * MS)


def test_energy_is_the_sum_over_the_devices() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, replace(ENERGY, joules=60.0)), requests=ANSWERS, window=SECONDS)
    total = read_energy("total", found)
    assert (total.value, total.how) == (360.0, "sum over 2 devices, each: energy counter from tick to tick")
    assert read_energy("mean_power", found).value == 90.0
    per_token = read_energy("per_output_token", found)
    assert (per_token.value, per_token.samples) == (6.0, 60)
    assert per_token.how.endswith("; 60 output tokens")
    assert read("energy.total", None, found) == total


def test_of_one_device_energy_is_told_as_it_was_read() -> None:
    assert read_energy("total", on_gpu(on(HOST))).how == "energy counter from tick to tick"


def test_one_device_without_energy_leaves_the_sum_without_a_number() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, Energy(reason="no energy counter was read")))
    for key in ("total", "per_output_token", "mean_power"):
        assert read_energy(key, found).reason == "NVIDIA L4 GPU-22222222: no energy counter was read"


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ((), "the test got no output token through llm_client"),
        ((stream(error="cut", output_tokens=9),), "the test got no output token through llm_client"),
        ((stream(10, output_tokens=0),), "the test got no output token through llm_client"),
        ((*ANSWERS, stream(10)), NO_TOKEN_COUNT),
    ],
    ids=["no request", "only failed ones", "empty answers", "one was not counted"],
)
def test_energy_per_token_needs_all_tokens_to_be_counted(requests: tuple, reason: str) -> None:  # type: ignore[type-arg]
    found = on_gpu(on(HOST), requests=requests)
    assert read_energy("per_output_token", found).reason == reason
    assert read_energy("total", found).value == 300.0


def test_without_a_device_there_is_no_energy() -> None:
    assert read_energy("total", measured(engine=None)).reason == "the test used no engine"
    assert read_energy("total", measured(engine=CPU)).reason == "no energy counter is read on AMD EPYC 7B13"
    assert read_energy("total", on_gpu(devices_missing="no driver")).reason == "no driver"
    assert read_energy("total", on_gpu()).reason == "the energy of the engine's GPU was not read"


# ---------------------------------------------------------------------------------------------------- what is not right


def test_energy_of_newcomers_is_not_the_engines() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, conditions=Conditions(newcomers=(TRAINER, DeviceProcess(5)))))
    assert energy_fault(found) == (
        "NVIDIA L4 GPU-22222222: others computed on the device during the test, and their energy is counted too: "
        "4711 (trainer), 5"
    )


def test_sensors_that_disagree_are_a_fault_of_the_energy() -> None:
    found = on_gpu(on(HOST, energy=replace(ENERGY, fault="one of the two sensors is wrong")))
    assert energy_fault(found) == "NVIDIA L4 GPU-11111111: one of the two sensors is wrong"


def test_a_slowdown_is_told_with_the_first_device_that_has_one() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, conditions=THROTTLED))
    assert slowdown(found).startswith("NVIDIA L4 GPU-22222222: process 4711 (trainer) computed")


def test_nothing_is_wrong_with_quiet_devices() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND))
    assert (energy_fault(found), slowdown(found)) == ("", "")
    assert (energy_fault(measured()), slowdown(measured())) == ("", "")


def test_a_part_of_a_test_has_memory_but_no_energy_and_no_conditions() -> None:
    part = on_gpu(on(trace(5, 6, 9, 7), FIRST, conditions=THROTTLED)).cut(Window(0, 11 * MS))
    assert read_memory("peak", part).value == 9
    assert "not for a part of it" in read_energy("total", part).reason
    assert slowdown(part) == ""
