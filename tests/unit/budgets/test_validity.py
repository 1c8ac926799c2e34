"""What makes a measurement untrustworthy, and for which metrics."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.validity import why_disturbed, why_invalid
from pytest_llmperf.measurement.device_trace import Conditions, DeviceProcess
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.metric import SampleSource
from pytest_llmperf.metrics.table import METRICS
from tests.helpers.device_samples import ENERGY, SECOND, THROTTLED, TRAINER, on
from tests.helpers.streams import L4, MS, measured, stream, trace, whole

if TYPE_CHECKING:
    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming, Work


def fault(metric: str, measurement: Measurement) -> str:
    """All that is said against a limit that does not hold."""
    row = METRICS[metric]
    reasons = (why_invalid(row, measurement), why_disturbed(row, measurement, None, holds=False))
    return "; ".join(filter(None, reasons))


GOOD = stream(100, 120, output_tokens=2)
OF_INPUTS = {"throughput.inputs", "throughput.input_tokens", "latency.embed", "latency.rank"}
BEFORE_THE_TEST = {"latency.startup", "memory.weights", "memory.kv_reserved"}
FROM_SAMPLER = {"memory.peak", "memory.growth", "memory.retained", "memory.host_peak", "memory.required"}


@pytest.mark.parametrize("metric", METRICS)
def test_nothing_is_wrong_with_a_good_measurement(metric: str) -> None:
    assert fault(metric, measured(GOOD, whole(0, 90, output_tokens=3), memory=trace(1, 2))) == ""
    assert fault(metric, measured()) == ""


@pytest.mark.parametrize("metric", METRICS)
def test_a_failed_request_taints_every_number_but_those_from_before_the_test(metric: str) -> None:
    found = measured(GOOD, stream(error="HTTP 500: boom"), stream(error="timed out"))
    untouched = metric in BEFORE_THE_TEST | OF_INPUTS
    expected = "" if untouched else "2 of 3 requests failed, the first with: HTTP 500: boom"
    assert fault(metric, found) == expected


@pytest.mark.parametrize(
    ("work", "own"), [("embed", OF_INPUTS - {"latency.rank"}), ("rank", OF_INPUTS - {"latency.embed"})]
)
def test_failed_embeddings_taint_their_own_metrics_and_those_of_all_that_the_engine_did(
    work: Work, own: set[str]
) -> None:
    failed = replace(whole(0, 90, error="HTTP 500: boom"), work=work)
    found = replace(measured(GOOD), others=(failed,))
    of_text = (SampleSource.REQUESTS, SampleSource.SEARCH)
    of_all = {name for name, row in METRICS.items() if row.source not in of_text} - BEFORE_THE_TEST
    assert {metric for metric in METRICS if fault(metric, found)} == own | of_all
    assert fault("throughput.inputs", found) == "1 of 1 requests failed, the first with: HTTP 500: boom"
    assert fault("memory.host_peak", found) == (
        "1 of 1 requests for embeddings or scores failed, the first with: HTTP 500: boom"
    )


@pytest.mark.parametrize("metric", METRICS)
def test_samples_that_cannot_be_trusted_taint_what_is_read_from_them(metric: str) -> None:
    found = measured(GOOD, memory=trace(1, 2, fault="the sampler stalled for 2.0 s"))
    assert fault(metric, found) == ("the sampler stalled for 2.0 s" if metric in FROM_SAMPLER else "")


@pytest.mark.parametrize(
    "empty",
    [
        stream(100, output_tokens=0),
        stream(output_tokens=0),
        stream(output_tokens=1, finish_reason="stop"),
        stream(),
        whole(0, 90, output_tokens=0),
    ],
    ids=["counted none", "nothing came", "an end-of-sequence token only", "neither counted nor came", "not streamed"],
)
def test_an_answer_without_tokens_is_no_answer(empty: RequestTiming) -> None:
    assert fault("throughput.output", measured(GOOD, empty)) == "1 of 2 answers had no token"


@pytest.mark.parametrize(
    "answer", [stream(100, output_tokens=1), stream(100), whole(0, 90, output_tokens=1), whole(0, 90)]
)
def test_an_answer_with_tokens_is_one_even_if_nobody_counted_them(answer: RequestTiming) -> None:
    assert fault("throughput.output", measured(answer)) == ""


def test_a_failed_request_is_not_called_empty_as_well() -> None:
    assert fault("latency.ttft", measured(stream(error="cut", output_tokens=0))) == (
        "1 of 1 requests failed, the first with: cut"
    )


PREFILL = {"latency.ttft", "latency.ttft_answer", "throughput.total", "throughput.goodput"}


@pytest.mark.parametrize("metric", METRICS)
def test_prompts_from_a_cache_that_nobody_asked_for_taint_what_depends_on_reading_them(metric: str) -> None:
    cached = stream(100, 120, output_tokens=2, cached_tokens=256)
    expected = (
        "1 of 2 requests took 256 prompt tokens from a cache, which the test did not ask for (share_prefix=True does)"
    )
    assert fault(metric, measured(GOOD, cached)) == (expected if metric in PREFILL else "")


def test_prompts_from_a_cache_that_the_test_asked_for_are_fine() -> None:
    asked = stream(100, 120, output_tokens=2, cached_tokens=256, shared_prefix=True)
    assert fault("latency.ttft", measured(GOOD, asked)) == ""
    assert fault("latency.ttft", measured(stream(100, 120, output_tokens=2, cached_tokens=0))) == ""


def test_all_that_is_wrong_is_said() -> None:
    found = measured(
        stream(error="cut"),
        stream(output_tokens=0),
        memory=trace(1, fault="a gap of 2 s"),
        faults=("the engine ended",),
    )
    assert fault("memory.peak", found) == (
        "the engine ended; 1 of 2 requests failed, the first with: cut; 1 of 2 answers had no token; a gap of 2 s"
    )
    assert fault("memory.weights", found) == ""


@pytest.mark.parametrize("metric", METRICS)
def test_a_device_that_was_slowed_down_taints_times_and_rates_and_newcomers_the_energy(metric: str) -> None:
    found = measured(GOOD, engine=L4, devices=(on(trace(1, 2)), on(trace(1, 2), SECOND, conditions=THROTTLED)))
    text = fault(metric, found)
    without = (*BEFORE_THE_TEST, "cost.total", "cost.idle_month")
    if metric in without or METRICS[metric].source is SampleSource.ENGINE or metric.startswith(("memory.", "quality.")):
        assert text == ""
    elif metric.startswith("energy."):
        assert "their energy is counted too: 4711 (trainer), 4712" in text
    else:
        assert text.endswith("times and rates are not the engine's own")


@pytest.mark.parametrize("metric", METRICS)
def test_a_software_power_cap_is_how_a_loaded_device_works(metric: str) -> None:
    capped = Conditions(throttled_seconds={"software power cap": 0.9}, temperature_c=(60, 80), sm_clock_mhz=1200)
    assert fault(metric, measured(GOOD, engine=L4, devices=(on(trace(1, 2), conditions=capped),))) == ""


@pytest.mark.parametrize("metric", METRICS)
def test_sensors_that_disagree_taint_the_energy_alone(metric: str) -> None:
    odd = on(trace(1, 2), energy=replace(ENERGY, fault="one of the two sensors is wrong"))
    text = fault(metric, measured(GOOD, engine=L4, devices=(odd,)))
    assert bool(text) == metric.startswith("energy.")


@pytest.mark.parametrize("metric", METRICS)
def test_a_device_that_was_lost_taints_the_memory_read_from_it(metric: str) -> None:
    devices = (on(trace(1, 2)), on(trace(1, 2, fault="the GPU is lost"), SECOND))
    text = fault(metric, measured(GOOD, engine=L4, memory=trace(1, 2), devices=devices))
    assert text == ("the GPU is lost" if metric in FROM_SAMPLER - {"memory.host_peak"} else "")


@pytest.mark.parametrize("metric", METRICS)
def test_host_memory_that_cannot_be_trusted_does_not_taint_that_of_a_device(metric: str) -> None:
    found = measured(GOOD, engine=L4, memory=trace(1, 2, fault="the sampler stalled"), devices=(on(trace(1, 2)),))
    assert fault(metric, found) == ("the sampler stalled" if metric == "memory.host_peak" else "")


# -------------------------------------------------------------------------------------------------------------- devices

HOST = trace(1, 2)


def on_gpu(*devices: DeviceTrace) -> Measurement:
    return measured(engine=L4, memory=HOST, devices=devices)


def test_energy_of_newcomers_is_not_the_engines() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, conditions=Conditions(newcomers=(TRAINER, DeviceProcess(5)))))
    assert fault("energy.total", found) == (
        "NVIDIA L4 GPU-22222222: others computed on the device during the test, and their energy is counted too: "
        "4711 (trainer), 5"
    )


def test_sensors_that_disagree_are_a_fault_of_the_energy() -> None:
    found = on_gpu(on(HOST, energy=replace(ENERGY, fault="one of the two sensors is wrong")))
    assert fault("energy.total", found) == "NVIDIA L4 GPU-11111111: one of the two sensors is wrong"


def test_a_slowdown_is_told_with_the_first_device_that_has_one() -> None:
    found = on_gpu(on(HOST), on(HOST, SECOND, conditions=THROTTLED))
    assert fault("throughput.output", found).startswith("NVIDIA L4 GPU-22222222: process 4711 (trainer) also computed")


def test_a_part_of_a_test_is_not_judged_by_the_conditions_of_the_whole() -> None:
    part = on_gpu(on(HOST, conditions=THROTTLED)).cut(Window(0, 11 * MS))
    assert fault("throughput.output", part) == ""
