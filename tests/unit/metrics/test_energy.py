"""Energy, from the counters of devices to joules and watts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.device_trace import DeviceTrace, Energy
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.missing import NO_TOKEN_COUNT
from pytest_llmperf.metrics.table import read
from tests.helpers.device_samples import ENERGY, SECOND, on
from tests.helpers.streams import CPU, L4, MS, measured, stream, trace, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement

HOST = trace(1, 2)


def on_gpu(*devices: DeviceTrace, **fields: object) -> Measurement:
    return measured(**{"engine": L4, "memory": HOST, "devices": devices, **fields})


ANSWERS = (stream(10, 20, output_tokens=40), whole(0, 90, output_tokens=20))
SECONDS = Window(0, 4000 * MS)


def test_energy_is_the_sum_over_the_devices() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, replace(ENERGY, joules=60.0)), requests=ANSWERS, window=SECONDS)
    total = read("energy.total", found)
    assert (total.value, total.how) == (360.0, "sum over 2 devices, each: energy counter from tick to tick")
    assert read("energy.mean_power", found).value == 90.0
    per_token = read("energy.per_output_token", found)
    assert (per_token.value, per_token.samples) == (6.0, 60)
    assert per_token.how.endswith("; 60 output tokens")
    assert read("energy.total", found) == total


def test_of_one_device_energy_is_told_as_it_was_read() -> None:
    assert read("energy.total", on_gpu(on(HOST))).how == "energy counter from tick to tick"


def test_one_device_without_energy_leaves_the_sum_without_a_number() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, Energy(reason="no energy counter was read")))
    for key in ("total", "per_output_token", "mean_power"):
        assert read(f"energy.{key}", found).reason == "NVIDIA L4 GPU-22222222: no energy counter was read"


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
    assert read("energy.per_output_token", found).reason == reason
    assert read("energy.total", found).value == 300.0


def test_without_a_device_there_is_no_energy() -> None:
    assert read("energy.total", measured(engine=None)).reason == "the test used no engine"
    assert read("energy.total", measured(engine=CPU)).reason == "no energy counter is read on AMD EPYC 7B13"
    assert read("energy.total", on_gpu(devices_missing="no driver")).reason == "no driver"
    assert read("energy.total", on_gpu()).reason == "the energy of the engine's GPU was not read"


def test_a_part_of_a_test_has_no_energy() -> None:
    part = on_gpu(on(HOST)).cut(Window(0, 11 * MS))
    assert "not for a part of it" in read("energy.total", part).reason
