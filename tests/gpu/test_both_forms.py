"""The double and the C library answer every question alike, for the same scenario at the same moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from pytest_llmperf.testing import (
    ANY,
    GIB,
    Curve,
    Fault,
    Scenario,
    ScriptedDevice,
    ScriptedInstance,
    ScriptedProcess,
    Spike,
    Throttle,
    scripted_nvml,
)
from tests.gpu.fake_library import SCENARIO, LiveScenario, build_library
from tests.gpu.in_process import loaded_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SECOND = 10**9
MOMENTS = (0, 1, SECOND // 4, SECOND, SECOND + 50_000_000, 3 * SECOND, 10**15 + 7)
WAVE: Curve = [(SECOND * step // 4, 100_000 + 200_000 * (step % 2)) for step in range(12)]
FIELDS = [74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 185, 186, 190, 191, 269, 270, 271, 9999, (186, 2)]


def busy() -> ScriptedDevice:
    return ScriptedDevice(
        name="NVIDIA H100 80GB HBM3",
        total=80 * GIB,
        reserved=GIB,
        used=[(0, GIB), (SECOND, 70 * GIB), (3 * SECOND, 90 * GIB)],
        spikes=[Spike(SECOND, SECOND + 5_000_000, 3 * GIB), Spike(0, 2, GIB)],
        processes=[
            ScriptedProcess(10, 3 * GIB, name="VLLM::EngineCore", peak=9 * GIB),
            ScriptedProcess(11, None, start_ns=SECOND),
            ScriptedProcess(0, 0, end_ns=SECOND),
            ScriptedProcess(12, 5, "graphics"),
            ScriptedProcess(13, 6, "mps"),
        ],
        pci_bus_id="00000001:3B:00.0",
        power=WAVE,
        energy_percent=57,
        energy_base=12_345,
        energy_tick_ns=33_000_000,
        throttles=[Throttle(74, SECOND, 2 * SECOND), Throttle(270, 5), Throttle(78, 0, 3), Throttle(81, 7)],
        throttle_fields=(74, 78, 81, 270, 271),
        throttle_base=99,
        event_reasons=1,
        temperature=[(0, 40), (SECOND, 88)],
        sm_clock=[(0, 1_980), (SECOND, 345)],
        utilization=[(0, 0), (1, 100)],
        accounting=True,
        persistence=False,
        architecture=9,
    )


def blind() -> ScriptedDevice:
    """All sensors missing, memory shared with the CPU."""
    return ScriptedDevice(
        name="NVIDIA GB10",
        unified=True,
        power=None,
        power_limit=None,
        energy_tick_ns=None,
        temperature=None,
        memory_temperature=None,
        sm_clock=None,
        memory_clock=None,
        utilization=None,
        memory_utilization=None,
        throttle_fields=(),
    )


def sliced() -> ScriptedDevice:
    instances = [
        ScriptedInstance(used=[(0, GIB), (SECOND, 2 * GIB)], processes=[ScriptedProcess(20, 1)], reserved=7),
        ScriptedInstance(uuid="MIG-x", gpu_instance=5, compute_instance=2, processes=[ScriptedProcess(21, None)]),
    ]
    return ScriptedDevice(name="NVIDIA A100-SXM4-40GB", power_averaged=False, power=WAVE, mig=instances)


def scenarios() -> dict[str, Callable[[], Scenario]]:
    lost, odd = "GPU-00000000-0000-0000-0000-000000000000", "MIG-x"
    return {
        "none": lambda: Scenario(now_ns=0),
        "busy": lambda: Scenario([ScriptedDevice(), busy()], now_ns=0),
        "blind": lambda: Scenario([blind()], now_ns=0),
        "sliced": lambda: Scenario([busy(), sliced(), ScriptedDevice(mig=[])], now_ns=0),
        "old": lambda: Scenario([busy()], now_ns=0, driver_version="470.57.02"),
        "inclusive": lambda: Scenario([busy()], now_ns=0, v2_used_includes_reserved=True, cuda_version=12_040),
        "lost": lambda: Scenario([sliced(), busy()], 0, faults=[Fault(ANY, 15, lost, at_ns=SECOND)]),
        "flaky": lambda: Scenario(
            [sliced()],
            0,
            faults=[
                Fault(ANY, 999, odd, after=5, times=3),
                Fault("field:186", 3, after=1, times=2),
                Fault("nvmlDeviceGetHandleByUUID", 4, odd, after=1),
                Fault("nvmlSystemGetDriverVersion", 10, times=1),
                Fault("nvmlInitWithFlags", 18, times=1),
            ],
        ),
    }


def plain(answer: Any) -> Any:
    """An answer as values that can be compared."""
    if isinstance(answer, (list, pynvml.Array)):
        return [plain(one) for one in answer]
    if isinstance(answer, pynvml.c_nvmlFieldValue_t):
        shown = (answer.valueType, answer.value.ullVal) if answer.nvmlReturn == 0 else ()
        return (answer.fieldId, answer.nvmlReturn, answer.timestamp, *shown)
    if isinstance(answer, pynvml.Structure):
        return {name: plain(getattr(answer, name)) for name, _ in answer._fields_ if name != "reserved" or name}
    if isinstance(answer, pynvml.c_uint):
        return answer.value
    return vars(answer) if hasattr(answer, "usedGpuMemory") else answer


def ask(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return plain(function(*arguments, **named))
    except (pynvml.NVMLError, TypeError) as error:  # pynvml cannot show a peak that is not available
        return type(error).__name__


def handles() -> Iterator[tuple[str, Any]]:
    for index in range(3):
        try:
            yield f"gpu {index}", pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError:
            continue
    for uuid in ("MIG-00000000-0000-0000-0000-000000000000", "MIG-00000000-0000-0000-0001-000000000000", "MIG-x"):
        try:
            yield uuid, pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError:
            continue


OF_A_DEVICE: dict[str, tuple[Any, ...]] = {
    "nvmlDeviceGetIndex": (),
    "nvmlDeviceGetUUID": (),
    "nvmlDeviceGetName": (),
    "nvmlDeviceGetPciInfo": (),
    "nvmlDeviceGetMemoryInfo": (),
    "nvmlDeviceGetFieldValues": (FIELDS,),
    "nvmlDeviceGetPowerUsage": (),
    "nvmlDeviceGetTotalEnergyConsumption": (),
    "nvmlDeviceGetTemperature": (0,),
    "nvmlDeviceGetTemperatureV": (0,),
    "nvmlDeviceGetUtilizationRates": (),
    "nvmlDeviceGetCurrentClocksEventReasons": (),
    "nvmlDeviceGetCurrentClocksThrottleReasons": (),
    "nvmlDeviceGetComputeRunningProcesses": (),
    "nvmlDeviceGetGraphicsRunningProcesses": (),
    "nvmlDeviceGetMPSComputeRunningProcesses": (),
    "nvmlDeviceGetMigMode": (),
    "nvmlDeviceGetMaxMigDeviceCount": (),
    "nvmlDeviceIsMigDeviceHandle": (),
    "nvmlDeviceGetGpuInstanceId": (),
    "nvmlDeviceGetComputeInstanceId": (),
    "nvmlDeviceGetAccountingMode": (),
    "nvmlDeviceGetArchitecture": (),
    "nvmlDeviceGetPowerManagementLimit": (),
    "nvmlDeviceGetPersistenceMode": (),
}


def about_the_host() -> dict[str, Any]:
    answers = {
        name: ask(getattr(pynvml, name))
        for name in (
            "nvmlDeviceGetCount",
            "nvmlSystemGetDriverVersion",
            "nvmlSystemGetNVMLVersion",
            "nvmlSystemGetCudaDriverVersion",
            "nvmlSystemGetCudaDriverVersion_v2",
        )
    }
    for index in range(5):
        answers[f"index {index}"] = ask(lambda i: bool(pynvml.nvmlDeviceGetHandleByIndex(i)), index)
    for pid in (0, 10, 11, 20, 99):
        answers[f"name of {pid}"] = ask(pynvml.nvmlSystemGetProcessName, pid)
    for bus_id in ("0001:3b:00.0", "00000001:3B:00.0", "0000:02:00.0", "0000:77:00.0", "nowhere"):
        answers[bus_id] = ask(lambda b: pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByPciBusId(b)), bus_id)
    for uuid in ("GPU-00000000-0000-0000-0000-000000000000", "GPU-0000", "MIG-x", ""):
        answers["uuid " + uuid] = ask(lambda u: pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByUUID(u)), uuid)
    return answers


def about_a_device(handle: Any) -> dict[str, Any]:
    answers = {name: ask(getattr(pynvml, name), handle, *more) for name, more in OF_A_DEVICE.items()}
    for version in (pynvml.nvmlMemory_v2, 2):
        answers[f"memory {version}"] = ask(pynvml.nvmlDeviceGetMemoryInfo, handle, version=version)
    for kind in range(4):
        answers[f"clock {kind}"] = ask(pynvml.nvmlDeviceGetClockInfo, handle, kind)
    answers["sensor 1"] = ask(pynvml.nvmlDeviceGetTemperature, handle, 1)
    for pid in (0, 10, 11, 12, 20):
        answers[f"accounts of {pid}"] = ask(pynvml.nvmlDeviceGetAccountingStats, handle, pid)
    for index in range(3):
        answers[f"instance {index}"] = ask(
            lambda i: pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, i)), index
        )
    answers["parent"] = ask(
        lambda: pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
    )
    return answers


def answers(move: Callable[[int], None]) -> dict[str, Any]:
    """Everything there is to ask, from before init until after shutdown, at several moments."""
    found: dict[str, Any] = {"before": ask(pynvml.nvmlDeviceGetCount), "init": ask(pynvml.nvmlInit)}
    if found["init"] is not None:
        found["init again"] = ask(pynvml.nvmlInit)
    for moment in MOMENTS:
        move(moment)
        found[f"host at {moment}"] = about_the_host()
        for name, handle in handles():
            found[f"{name} at {moment}"] = about_a_device(handle)
    found["invented"] = about_a_device(pynvml.c_nvmlDevice_t())
    found["words"] = [pynvml.nvmlErrorString(code) for code in range(30)]
    found["shutdown"] = [ask(pynvml.nvmlShutdown), ask(pynvml.nvmlShutdown), ask(pynvml.nvmlDeviceGetCount)]
    return found


def different(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What the two answer differently: question and both answers."""
    found: dict[str, Any] = {}
    for key in [*one, *(key for key in other if key not in one)]:
        pair = one.get(key, "not asked"), other.get(key, "not asked")
        if isinstance(pair[0], dict) and isinstance(pair[1], dict):
            found |= {f"{key}: {inner}": values for inner, values in different(*pair).items()}
        elif pair[0] != pair[1]:
            found[key] = pair
    return found


@pytest.mark.parametrize("name", scenarios())
def test_both_forms_answer_alike(
    name: str, library_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LiveScenario.create(tmp_path / "scenario", scenarios()[name]())
    monkeypatch.setenv(SCENARIO, str(live.path))
    with loaded_library(build_library(library_folder, scenarios()[name]().list_absent())):
        from_c = answers(lambda moment: setattr(live, "now_ns", moment))
    scenario = scenarios()[name]()
    with scripted_nvml(scenario) as double:
        from_python = answers(lambda moment: setattr(scenario, "now_ns", moment))
    assert different(from_c, from_python) == {}
    assert {name: live.calls(name) for name in double.calls} == dict(double.calls)
