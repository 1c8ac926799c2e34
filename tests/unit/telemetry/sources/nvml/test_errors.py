"""Every error while reading, from every source: the sentence, and whether to ask again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.errors import Code
from pytest_llmperf.testing import GIB, Fault, ScriptedDevice
from tests.helpers.scripted_gpus import backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.telemetry.records.source import Source
    from pytest_llmperf.telemetry.sources.nvml.backend import NvmlBackend

MEMORY, FIELDS = "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetFieldValues"
PATIENCE = 10


def explain_refusal(source: Source) -> SourceError:
    with pytest.raises(SourceError) as refused:
        source.read(1)
    assert "\n" not in str(refused.value)
    return refused.value


READERS: dict[str, tuple[str, Callable[[NvmlBackend], Source]]] = {
    "memory": (MEMORY, lambda gpus: gpus.memory(0)),
    "sensors": (FIELDS, lambda gpus: gpus.sensors(0)),
    "energy": (FIELDS, lambda gpus: gpus.energy(0)),
    "state": ("*", lambda gpus: gpus.state(0)),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("code", "why", "words"),
    [
        (Code.NO_PERMISSION, Why.ABSENT, "this user may not read the .*: root may"),
        (Code.GPU_IS_LOST, Why.LOST, "the GPU is lost, the kernel log .* `Xid`: reset it or reboot"),
        (Code.RESET_REQUIRED, Why.LOST, "the GPU must be reset, .*`nvidia-smi --gpu-reset`"),
        (Code.FUNCTION_NOT_FOUND, Why.ABSENT, "this driver is too old to give the .*: update it"),
        (Code.NOT_FOUND, Why.TRANSIENT, "the driver has no .* at this moment"),
        (Code.TIMEOUT, Why.TRANSIENT, "the driver did not give the .* in time"),
        (Code.ARGUMENT_VERSION_MISMATCH, Why.TRANSIENT, "the driver does not understand how the .* is asked for"),
        (Code.INSUFFICIENT_SIZE, Why.TRANSIENT, "grew faster than it could be read"),
        (Code.UNKNOWN, Why.TRANSIENT, "failed to give the .*, for a reason unknown to itself"),
        (20, Why.TRANSIENT, r"failed to give the .* \(NVML error 20 of nvmlDevice"),
        (Code.DRIVER_NOT_LOADED, Why.UNAVAILABLE, "installed but not loaded"),
        (Code.LIB_RM_VERSION_MISMATCH, Why.UNAVAILABLE, "was updated, but the old one is still loaded"),
    ],
)
def test_an_error_while_reading_is_one_sentence_and_says_whether_to_ask_again(
    reader: str, code: int, why: Why, words: str
) -> None:
    function, source_of = READERS[reader]
    with backend() as (gpus, script, _):
        source = source_of(gpus)
        script.faults.append(Fault(function, code))
        error = explain_refusal(source)
        assert error.why is why
        with pytest.raises(SourceError, match=words):
            source.read(1)
        script.faults.clear()
        if why is Why.TRANSIENT:
            assert source.read(1)


@pytest.mark.parametrize("reader", READERS)
def test_not_supported_is_believed_the_tenth_time_in_a_row(reader: str) -> None:
    function, source_of = READERS[reader]
    with backend() as (gpus, script, _):
        source = source_of(gpus)
        for _ in range(3):
            script.faults.append(Fault(function, Code.NOT_SUPPORTED))
            for _ in range(PATIENCE - 1):
                assert explain_refusal(source).why is Why.TRANSIENT
            script.faults.clear()
            assert source.read(1)
        script.faults.append(Fault(function, Code.NOT_SUPPORTED))
        assert [explain_refusal(source).why for _ in range(PATIENCE)] == [Why.TRANSIENT] * (PATIENCE - 1) + [Why.ABSENT]


def test_one_lost_gpu_leaves_the_others_readable() -> None:
    with backend(ScriptedDevice(), ScriptedDevice(used=GIB)) as (gpus, script, _):
        sources = [gpus.memory(0), gpus.memory(1)]
        script.faults.append(Fault("*", Code.GPU_IS_LOST, device=script.devices[0].uuid))
        assert explain_refusal(sources[0]).why is Why.LOST
        assert sources[1].read(1)[0].value == GIB


def test_sources_have_nothing_to_close() -> None:
    with backend() as (gpus, _, _):
        for _, source_of in READERS.values():
            source = source_of(gpus)
            source.close()
            assert source.read(1)
