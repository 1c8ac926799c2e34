"""The measurements of one test's engines, told apart."""

from __future__ import annotations

import pytest

from pytest_llmperf.measurement.engine_info import EngineInfo
from pytest_llmperf.measurement.parts import label_parts
from tests.helpers.device_samples import FIRST, SECOND, on
from tests.helpers.streams import L4, measured, trace


@pytest.mark.parametrize(
    ("engines", "labels"),
    [
        (("vllm:a", "ollama:b"), ("vllm", "ollama")),
        (("ollama:a", "ollama:b", "vllm:a"), ("ollama:a", "ollama:b", "vllm")),
        (("vllm:a", "vllm:a"), ("vllm #1", "vllm #2")),
        (("vllm:a=old", "vllm:a=new"), ("old", "new")),
        (("vllm:a=old", "ollama:b"), ("old", "ollama")),
        (("vllm:a=old", "vllm:b"), ("old", "vllm:b")),
        (("vllm:a=old", "vllm:a", "vllm:a"), ("old", "vllm #1", "vllm #2")),
    ],
)
def test_each_engine_has_the_shortest_label_that_no_other_has(
    engines: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    asked = [(name, *model.partition("=")[::2]) for name, model in (engine.split(":") for engine in engines)]
    parts = [measured(engine=EngineInfo(name, "1", model, variant=variant)) for name, model, variant in asked]
    assert tuple(part.label for part in label_parts(parts)) == labels


def test_the_energy_of_a_device_that_two_engines_used_belongs_to_neither() -> None:
    memory = trace(1, 2)
    parts = (
        measured(engine=L4, devices=(on(memory, FIRST), on(memory, SECOND))),
        measured(engine=L4, devices=(on(memory, SECOND),)),
    )
    first, second = label_parts(parts)
    assert first.devices[0].energy.joules == 300.0
    for device in (first.devices[1], second.devices[0]):
        assert device.energy.joules is None
        assert "one counter for all" in device.energy.reason
        assert device.memory is memory
