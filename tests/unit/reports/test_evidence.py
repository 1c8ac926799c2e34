"""What reports say of devices: reports/evidence.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.measurement.device_trace import Conditions, DeviceTrace, Energy
from pytest_llmperf.reports.evidence import collect_evidence
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.device_samples import ENERGY, SECOND, THROTTLED, on
from tests.helpers.report_samples import ENGINE, measurement, trace
from tests.helpers.streams import whole


def lines(*devices: DeviceTrace, **fields: object) -> list[tuple[str, str]]:
    return collect_evidence(measurement_to_wire(replace(measurement(), devices=devices, **fields)))  # type: ignore[arg-type]


def of(label: str, *devices: DeviceTrace) -> str:
    (text,) = [text for kind, text in lines(*devices) if kind == label]
    return text


def test_each_device_has_its_state_its_memory_and_its_energy_and_the_host_its_memory() -> None:
    labels = [label for label, _ in lines(on(trace()), on(trace(), SECOND))]
    assert labels[:7] == ["device", "memory", "energy", "device", "memory", "energy", "host"]
    assert [label for label, _ in lines()][:1] == ["memory"]


def test_the_state_of_a_device_is_one_sentence() -> None:
    assert of("device", on(trace(), conditions=THROTTLED)) == (
        "NVIDIA L4 GPU-11111111-aaaa; 41 °C before, 67 °C after, SM clock 1846 MHz, kernels ran 87 % of the time, "
        "slowed down: software power cap 1.50 s, newcomer 4711 (trainer), newcomer 4712 (not visible from here)"
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (Conditions(), "its state was not read"),
        (Conditions(throttled_seconds={"hardware thermal": 0.0}), "not slowed down"),
        (Conditions(utilization=0.0), "kernels ran 0 % of the time, whether it was slowed down is not told"),
    ],
)
def test_what_is_not_known_of_a_device_is_left_out(state: Conditions, text: str) -> None:
    assert of("device", on(trace(), conditions=state)) == f"NVIDIA L4 GPU-11111111-aaaa; {text}"


def test_energy_is_told_with_what_the_idle_device_would_have_taken() -> None:
    assert of("energy", on(trace())) == (
        "300 J; 180 J above the 40.0 W of the idle device; mean instant power 99.0 W; energy counter from tick to tick"
    )


def test_energy_that_is_not_known_says_why() -> None:
    assert (
        of("energy", on(trace(), energy=Energy(reason="no counter", instant_watts=9.0))) == "not measured: no counter"
    )


def test_energy_that_is_not_to_be_trusted_says_so() -> None:
    odd = replace(ENERGY, above_idle_joules=None, instant_watts=None, fault="one of the two sensors is wrong")
    assert of("energy", on(trace(), energy=odd)) == (
        "300 J; energy counter from tick to tick; not to be trusted: one of the two sensors is wrong"
    )


def test_memory_of_a_device_that_is_missing_says_why() -> None:
    hung = on(replace(trace(), missing="the driver hangs"))
    texts = [text for label, text in lines(hung) if label == "memory"]
    assert texts[1:] == ["not measured: the driver hangs"]


def test_devices_that_were_not_read_are_told_of() -> None:
    assert ("device", "not measured: no driver") in lines(devices_missing="no driver")


def test_host_memory_that_cannot_be_seen_beside_a_device_that_can_is_the_hosts() -> None:
    remote = lines(on(trace()), memory=None, memory_missing="the processes cannot be seen")
    assert ("host", "not measured: the processes cannot be seen") in remote


@pytest.mark.parametrize(("variant", "text"), [("", "vllm 0.11.0, Qwen/"), ("new", "new: vllm 0.11.0, Qwen/")])
def test_the_engine_is_called_by_its_label_first(variant: str, text: str) -> None:
    [told] = [text for kind, text in lines(engine=replace(ENGINE, variant=variant)) if kind == "engine"]
    assert told.startswith(text)


def test_embeddings_and_scores_are_told_apart_from_requests_for_text() -> None:
    sent = [
        replace(whole(0, 90), work="embed", inputs=3, prompt_tokens=12),
        replace(whole(100, 90), work="rank", inputs=2, prompt_tokens=6),
        replace(whole(200, 90, error="HTTP 500: boom"), work="embed"),
    ]
    counted = "2 for embeddings and 1 for ranks or scores, 1 failed; texts: 5, tokens: 18"
    beside = [text for label, text in lines(others=tuple(sent)) if label == "requests"]
    assert beside[1:] == [f"beside them, {counted}", "beside them, 1 failed: HTTP 500: boom"]
    alone = [text for label, text in lines(requests=(), others=tuple(sent[:1])) if label == "requests"]
    assert alone == ["1 for embeddings, 0 failed; texts: 3, tokens: 12"]
