"""The fake NVML library: it answers as the double does, to any process, and follows what is changed meanwhile."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from pytest_llmperf.testing import (
    ANY,
    GIB,
    Delay,
    Fault,
    Scenario,
    ScriptedDevice,
    ScriptedProcess,
    Spike,
    Throttle,
)
from pytest_llmperf.testing.functions import FUNCTIONS
from tests.gpu.fake_library import SCENARIO, LiveScenario, build_library
from tests.gpu.in_process import loaded_library
from tests.helpers.asking import memory, refusal
from tests.helpers.waiting import PATIENCE_S, read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = "GPU-00000000-0000-0000-0000-000000000000"

# Answers each line of stdin, a question about the first device: the name of a function of pynvml, or a word.
_ASKED = """
import json, sys
import pynvml
pynvml.nvmlInit()
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
print(0, flush=True)
for line in sys.stdin:
    if line == "memory\\n":
        answer = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used
    elif line == "processes\\n":
        answer = [[p.pid, p.usedGpuMemory] for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    else:
        try:
            answer = getattr(pynvml, line.strip())(handle)
        except pynvml.NVMLError as error:
            answer = type(error).__name__
    print(json.dumps(answer), flush=True)
"""


class Asked:
    """Another process, which found the library by its environment alone."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, question: str) -> Any:
        self.send(question)
        return self.receive()

    def send(self, question: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(read_line(self._process.stdout))


@pytest.fixture
def live(tmp_path: Path) -> LiveScenario:
    return LiveScenario.create(tmp_path / "scenario", Scenario([ScriptedDevice(used=GIB)], now_ns=0))


@pytest.fixture
def asked(live: LiveScenario, fake_library: Path) -> Iterator[Asked]:
    with subprocess.Popen(
        [sys.executable, "-c", _ASKED],
        env=live.environment(fake_library),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        other = Asked(process)
        other.receive()
        yield other
        live.clear_delays()
        other._process.communicate(timeout=PATIENCE_S)


class TestBuild:
    def test_it_has_every_function_of_the_double(self, fake_library: Path) -> None:
        library = ctypes.CDLL(str(fake_library))
        assert [name for name in FUNCTIONS if not hasattr(library, name)] == []

    def test_functions_an_old_driver_lacks_are_not_there_at_all(self, library_folder: Path) -> None:
        old = Scenario(driver_version="470.57.02").list_absent()
        library = ctypes.CDLL(str(build_library(library_folder, old)))
        assert [name for name in FUNCTIONS if not hasattr(library, name)] == sorted(old, key=list(FUNCTIONS).index)

    def test_its_structures_are_as_large_as_those_of_pynvml(self, fake_library: Path) -> None:
        sizes = (ctypes.c_uint * 8).in_dll(ctypes.CDLL(str(fake_library)), "fakenvml_sizes")
        structures = [
            pynvml.c_nvmlMemory_t,
            pynvml.c_nvmlMemory_v2_t,
            pynvml.nvmlPciInfo_t,
            pynvml.c_nvmlProcessInfo_t,
            pynvml.c_nvmlUtilization_t,
            pynvml.c_nvmlFieldValue_t,
            pynvml.c_nvmlAccountingStats_t,
            pynvml.c_nvmlTemperature_v1_t,
        ]
        assert list(sizes) == [ctypes.sizeof(structure) for structure in structures]

    def test_a_process_that_has_loaded_it_needs_no_search_path(self, live: LiveScenario, fake_library: Path) -> None:
        code = f"""if True:
            import ctypes, pynvml
            ctypes.CDLL({str(fake_library)!r})
            pynvml.nvmlInit()
            assert pynvml.nvmlDeviceGetCount() == 1
        """
        subprocess.run([sys.executable, "-c", code], env={SCENARIO: str(live.path)}, check=True, timeout=PATIENCE_S)
        assert live.calls("nvmlDeviceGetCount_v2") == 1

    def test_without_a_scenario_there_is_no_driver(
        self, fake_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv(SCENARIO, str(tmp_path / "none"))
        with loaded_library(fake_library):
            assert refusal(pynvml.nvmlInit) == pynvml.NVML_ERROR_DRIVER_NOT_LOADED
        assert "is no scenario of this version" in capfd.readouterr().err


class TestOtherProcesses:
    def test_a_child_finds_it_by_its_environment_and_its_calls_are_counted(
        self, live: LiveScenario, asked: Asked
    ) -> None:
        assert [asked.ask("memory"), asked.ask("memory")] == [GIB, GIB]
        assert live.calls("nvmlDeviceGetMemoryInfo_v2") == 2
        assert live.calls("nvmlInit_v2") == 1

    def test_a_changed_curve_shows_at_once(self, live: LiveScenario, asked: Asked) -> None:
        live.set(UUID, used=3 * GIB)
        assert asked.ask("memory") == 3 * GIB
        live.set(UUID, used=[(0, 1), (10, 2)], power=99_000)
        live.now_ns = 10
        assert asked.ask("memory") == 2
        assert asked.ask("nvmlDeviceGetPowerUsage") == 99_000

    def test_a_scheduled_spike_shows_while_it_lasts(self, live: LiveScenario, asked: Asked) -> None:
        live.add_spike(UUID, Spike(100, 200, GIB))
        seen = {}
        for live.now_ns in (99, 100, 199, 200):
            seen[live.now_ns] = asked.ask("memory")
        assert seen == {99: GIB, 100: 2 * GIB, 199: 2 * GIB, 200: GIB}

    def test_spikes_never_run_out(self, live: LiveScenario, asked: Asked) -> None:
        for live.now_ns in range(0, 10_000, 10):
            live.add_spike(UUID, Spike(live.now_ns, live.now_ns + 5, GIB))
        assert asked.ask("memory") == 2 * GIB

    def test_a_process_appears_grows_and_goes(self, live: LiveScenario, asked: Asked) -> None:
        live.set_process(UUID, ScriptedProcess(10, GIB))
        live.set_process(UUID, ScriptedProcess(11, None))
        assert asked.ask("processes") == [[10, GIB], [11, None]]
        live.set_process(UUID, ScriptedProcess(10, 2 * GIB))
        live.remove_process(UUID, 11)
        assert asked.ask("processes") == [[10, 2 * GIB]]

    def test_a_fault_comes_and_goes(self, live: LiveScenario, asked: Asked) -> None:
        live.add_fault(Fault("nvmlDeviceGetPowerUsage", pynvml.NVML_ERROR_GPU_IS_LOST, UUID, after=1))
        assert asked.ask("nvmlDeviceGetPowerUsage") == 30_000
        assert asked.ask("nvmlDeviceGetPowerUsage") == "NVMLError_GpuIsLost"
        live.clear_faults()
        assert asked.ask("nvmlDeviceGetPowerUsage") == 30_000

    def test_a_call_hangs_until_it_is_let_go(self, live: LiveScenario, asked: Asked) -> None:
        live.hang("nvmlDeviceGetPowerUsage")
        asked.send("nvmlDeviceGetPowerUsage")
        until(lambda: live.calls("nvmlDeviceGetPowerUsage") == 1)
        live.set(UUID, power=55_000)
        live.clear_delays()
        assert asked.receive() == 55_000

    def test_a_delayed_call_answers_all_the_same(self, live: LiveScenario, asked: Asked) -> None:
        live.add_delay(Delay(ANY, 1_000_000))
        live.add_delay(Delay("nvmlDeviceGetPowerUsage", 1_000_000, spin=True))
        before = time.monotonic_ns()
        assert asked.ask("nvmlDeviceGetPowerUsage") == 30_000
        assert time.monotonic_ns() - before >= 2_000_000

    def test_throttling_starts(self, live: LiveScenario, asked: Asked) -> None:
        live.add_throttle(UUID, Throttle(270))
        assert asked.ask("nvmlDeviceGetCurrentClocksEventReasons") == pynvml.nvmlClocksThrottleReasonHwThermalSlowdown

    def test_a_forked_process_must_init_again(
        self, live: LiveScenario, fake_library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(SCENARIO, str(live.path))
        with loaded_library(fake_library):
            pynvml.nvmlInit()
            if (pid := os.fork()) == 0:
                code = 0
                try:
                    code = refusal(pynvml.nvmlDeviceGetCount)
                finally:
                    os._exit(code)
            _, status = os.waitpid(pid, 0)
            assert os.waitstatus_to_exitcode(status) == pynvml.NVML_ERROR_UNINITIALIZED
            assert pynvml.nvmlDeviceGetCount() == 1

    def test_anyone_may_attach_and_change_it(self, live: LiveScenario, asked: Asked) -> None:
        code = f"""
            from pathlib import Path
            from tests.gpu.fake_library import LiveScenario
            LiveScenario(Path({str(live.path)!r})).set({UUID!r}, used=7)
        """
        subprocess.run([sys.executable, "-c", "if True:" + code], check=True, timeout=PATIENCE_S)
        assert asked.ask("memory") == 7

    def test_the_clock_is_the_monotonic_one_of_all_processes(
        self, tmp_path: Path, fake_library: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        live = LiveScenario.create(tmp_path / "monotonic", Scenario([ScriptedDevice()]))
        monkeypatch.setenv(SCENARIO, str(live.path))
        with loaded_library(fake_library):
            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(0)
            live.add_spike(UUID, Spike(time.monotonic_ns(), time.monotonic_ns() + PATIENCE_S * 10**9, GIB))
            live.add_spike(UUID, Spike(time.monotonic_ns() + PATIENCE_S * 10**9, 2**62, 5 * GIB))
            assert memory(handle)[3] == GIB


class TestRoom:
    def test_more_than_the_file_holds_is_refused(self, tmp_path: Path) -> None:
        crowded = Scenario([ScriptedDevice(processes=[ScriptedProcess(pid, 1) for pid in range(1, 40)])])
        with pytest.raises(ValueError, match="39 values, and the fake library has room for 32"):
            LiveScenario.create(tmp_path / "scenario", crowded)

    def test_one_process_too_many_is_refused(self, live: LiveScenario) -> None:
        for pid in range(1, 33):
            live.set_process(UUID, ScriptedProcess(pid, 1))
        with pytest.raises(LookupError, match="no room for another"):
            live.set_process(UUID, ScriptedProcess(33, 1))

    def test_what_a_device_does_not_have_cannot_be_set(self, live: LiveScenario) -> None:
        with pytest.raises(ValueError, match="fan=1 cannot be set"):
            live.set(UUID, fan=1)
