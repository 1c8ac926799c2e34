from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_llmperf.measurement.device_trace import DeviceProcess
from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sources.nvml.errors import Code
from pytest_llmperf.testing import GIB, Fault, ScriptedDevice, ScriptedInstance, ScriptedProcess
from tests.helpers.scripted_gpus import SECOND, backend

LIST = "nvmlDeviceGetComputeRunningProcesses_v3"
MPS = "nvmlDeviceGetMPSComputeRunningProcesses_v3"
NAME = "nvmlSystemGetProcessName"


def gpu(*processes: ScriptedProcess) -> ScriptedDevice:
    return ScriptedDevice(processes=list(processes))


def test_compute_processes_and_clients_of_mps_are_listed_by_pid_and_graphics_are_not() -> None:
    device = gpu(
        ScriptedProcess(30, GIB, kind="mps", name="client"),
        ScriptedProcess(20, 2 * GIB, name="/usr/bin/python3.11 -m vllm"),
        ScriptedProcess(10, GIB, kind="graphics", name="Xorg"),
        ScriptedProcess(40, GIB, name="VLLM::EngineCore"),
    )
    with backend(device) as (gpus, _, _):
        assert gpus.processes(0) == [
            DeviceProcess(20, "python3.11", 2 * GIB),
            DeviceProcess(30, "client", GIB),
            DeviceProcess(40, "VLLM::EngineCore", GIB),
        ]


@pytest.mark.parametrize("used", [None, 0, 2**50, 2**63])
def test_memory_that_the_driver_does_not_know_is_not_a_number(used: int | None) -> None:
    with backend(gpu(ScriptedProcess(20, used))) as (gpus, _, _):
        assert gpus.processes(0) == [DeviceProcess(20, "python", None)]


def test_a_list_takes_one_call_and_one_that_outgrew_its_room_is_read_again_with_more() -> None:
    device = gpu(*(ScriptedProcess(pid, GIB) for pid in range(1, 31)))
    with backend(device) as (gpus, _, double):
        assert len(gpus.processes(0)) == 30
        assert double.calls[LIST] == 1
        device.processes += [ScriptedProcess(pid, GIB) for pid in range(31, 201)]
        assert len(gpus.processes(0)) == 200
        assert double.calls[LIST] == 3
        assert len(gpus.processes(0)) == 200
        assert double.calls[LIST] == 4


def test_a_list_that_always_grows_is_tried_again_the_next_time() -> None:
    with backend(gpu(ScriptedProcess(7, GIB)), faults=(Fault(LIST, Code.INSUFFICIENT_SIZE, times=4),)) as (gpus, _, _):
        with pytest.raises(SourceError, match="list of processes grew faster than it could be read") as refused:
            gpus.processes(0)
        assert refused.value.why is Why.TRANSIENT
        assert [process.pid for process in gpus.processes(0)] == [7]


@pytest.mark.parametrize("pid", [0, 2**32 - 1])
def test_a_scrambled_list_is_refused(pid: int) -> None:
    with backend(gpu(ScriptedProcess(7, GIB), ScriptedProcess(pid, GIB))) as (gpus, _, _):
        with pytest.raises(SourceError, match="list of processes is scrambled") as refused:
            gpus.processes(0)
        assert refused.value.why is Why.TRANSIENT


def test_a_process_in_several_instances_holds_the_sum_of_them() -> None:
    parts = [ScriptedInstance(gpu_instance=number, processes=[ScriptedProcess(7, number * GIB)]) for number in (1, 2)]
    with backend(ScriptedDevice(name="NVIDIA A100", mig=parts)) as (gpus, _, _):
        assert gpus.processes(0) == [DeviceProcess(7, "python", 3 * GIB)]
        assert gpus.processes(2) == [DeviceProcess(7, "python", 2 * GIB)]


def test_what_processes_hold_fits_a_record_however_many_there_are() -> None:
    most = 2**48 - 1
    device = gpu(*(ScriptedProcess(pid, most) for pid in range(1, 101)), ScriptedProcess(101, most + 1))
    with backend(device) as (gpus, _, _):
        *stated, last = gpus.processes(0)
        assert {process.used_bytes for process in stated} == {most}
        assert sum(process.used_bytes or 0 for process in stated) < 2**63
        assert last.used_bytes is None


def test_the_list_follows_processes_that_come_and_go() -> None:
    with backend(gpu(ScriptedProcess(7, GIB, end_ns=11 * SECOND))) as (gpus, script, _):
        assert len(gpus.processes(0)) == 1
        script.now_ns = 11 * SECOND
        assert gpus.processes(0) == []


def test_a_process_that_the_driver_cannot_name_is_named_by_the_system_if_it_is_there() -> None:
    own, gone = os.getpid(), 2**22 + 1
    with backend(gpu(ScriptedProcess(own, GIB), ScriptedProcess(gone, GIB)), faults=(Fault(NAME, Code.NOT_FOUND),)) as (
        gpus,
        _,
        _,
    ):
        comm = Path(f"/proc/{own}/comm")
        expected = comm.read_text(encoding="utf-8").strip() if comm.exists() else ""
        assert [process.name for process in gpus.processes(0)] == [expected, ""]


def test_a_driver_without_mps_has_no_clients_and_is_not_asked_for_ever() -> None:
    with backend(gpu(ScriptedProcess(7, GIB)), faults=(Fault(MPS, Code.NOT_SUPPORTED),)) as (gpus, _, double):
        for _ in range(12):
            assert len(gpus.processes(0)) == 1
        assert double.calls[MPS] == 10
    with backend(gpu(ScriptedProcess(7, GIB)), missing=frozenset({MPS})) as (gpus, _, _):
        assert len(gpus.processes(0)) == 1


def test_clients_of_mps_that_cannot_be_listed_this_once_are_not_none() -> None:
    with backend(gpu(ScriptedProcess(7, GIB)), faults=(Fault(MPS, Code.TIMEOUT, times=1),)) as (gpus, _, _):
        with pytest.raises(SourceError, match="did not give the list of processes in time") as refused:
            gpus.processes(0)
        assert refused.value.why is Why.TRANSIENT
        assert len(gpus.processes(0)) == 1


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (Code.NO_PERMISSION, Why.ABSENT),
        (Code.FUNCTION_NOT_FOUND, Why.ABSENT),
        (Code.GPU_IS_LOST, Why.LOST),
        (Code.RESET_REQUIRED, Why.LOST),
        (Code.UNKNOWN, Why.TRANSIENT),
    ],
)
def test_a_list_that_is_refused_says_whether_to_ask_again(code: Code, why: Why) -> None:
    with backend(faults=(Fault(LIST, code),)) as (gpus, _, _):
        with pytest.raises(SourceError) as refused:
            gpus.processes(0)
        assert refused.value.why is why


def test_a_list_that_is_not_supported_is_absent_the_tenth_time() -> None:
    with backend(faults=(Fault(LIST, Code.NOT_SUPPORTED),)) as (gpus, _, _):
        reasons = []
        for _ in range(10):
            with pytest.raises(SourceError, match="the driver gives no list of processes") as refused:
                gpus.processes(0)
            reasons.append(refused.value.why)
        assert reasons == [Why.TRANSIENT] * 9 + [Why.ABSENT]
