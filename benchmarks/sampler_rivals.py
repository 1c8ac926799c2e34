"""Ways to sample the memory of a GPU, ours and those that people use, with one interface for the benchmark."""

from __future__ import annotations

import logging
import os
import resource
import select
import subprocess
import sys
import threading
import time
from ctypes import CDLL
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY
from pytest_llmperf.telemetry.sampler.client import Sampler
from tests.gpu.fake_library import compiler

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT_S = 30.0
# A real one needs 10 to 20 ms and more before it prints, so that 50 a second is the most one can hope for.
NVIDIA_SMI_HZ = 50.0
_STUB = r"""
#include <stdio.h>
extern int nvmlInit_v2(void), nvmlDeviceGetHandleByIndex_v2(unsigned, void **);
extern int nvmlDeviceGetMemoryInfo(void *, unsigned long long *);
int main(void) {
    void *gpu;
    unsigned long long memory[3];
    if (nvmlInit_v2() || nvmlDeviceGetHandleByIndex_v2(0, &gpu) || nvmlDeviceGetMemoryInfo(gpu, memory)) return 1;
    return printf("%llu\n", memory[2] >> 20) < 0;
}
"""
# An engine with two workers, as far as the sampler is concerned.
_TREE = """
import subprocess, sys
held = bytearray(b"x") * (50 << 20)
command = [sys.executable, "-c", "import sys; held = bytearray(b'x') * (50 << 20); sys.stdin.read()"]
workers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(2)]
print("ready", flush=True)
sys.stdin.read()
"""


def read_schedstat(pid: int, task: int | None = None) -> tuple[int, int]:
    """How long a process, or one of its threads, has computed, and waited for a core, in ns."""
    folder = Path(f"/proc/{pid}/task")
    computed = waited = 0
    for name in [str(task)] if task else os.listdir(folder):
        first, second, _ = (folder / name / "schedstat").read_text(encoding="utf-8").split()
        computed, waited = computed + int(first), waited + int(second)
    return computed, waited


class Design(Protocol):
    """A way to sample; started and stopped again and again."""

    name: str
    asked_hz: float

    def start(self) -> None: ...
    def stop(self) -> None: ...

    def samples(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """(time ns, MiB) of each sample between two moments."""

    def cost(self) -> tuple[int, int]:
        """How long it has computed, and waited for a core, in ns, since some moment before the start."""


class Ours:
    """The sampler process; with ``tree`` it watches the processes of an engine as well."""

    def __init__(self, hz: float, *, tree: bool = False) -> None:
        self.name = f"llmperf, {hz:g} Hz" + (" + host tree" if tree else "")
        self.asked_hz = hz
        self._tree = tree
        self._engine: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._sampler = Sampler()
        self._sampler.start(self.asked_hz)
        self._sampler.ask("devices", TIMEOUT_S)
        self._sampler.ask("sample", TIMEOUT_S, slots=[0])
        if self._tree:
            command = [sys.executable, "-c", _TREE]
            self._engine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._engine.stdout is not None
            if not select.select([self._engine.stdout], [], [], TIMEOUT_S)[0]:
                raise TimeoutError(f"the engine's processes did not start within {TIMEOUT_S:.0f} s")
            self._sampler.watch(self._engine.pid)

    def stop(self) -> None:
        self._sampler.stop()
        if self._engine is not None:
            self._engine.communicate(timeout=TIMEOUT_S)

    def samples(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        records = self._sampler.memory.read(start_ns, end_ns)
        return [(record.t_ns, record.value >> 20) for record in records if record.lane == DEVICE_MEMORY]

    def cost(self) -> tuple[int, int]:
        assert self._sampler.pid is not None
        return read_schedstat(self._sampler.pid)


class _InThread:
    """A thread of this process that samples at fixed deadlines."""

    name: str
    asked_hz: float

    def _levels(self) -> Iterator[int]:
        """One sample in MiB after the other."""
        raise NotImplementedError

    def start(self) -> None:
        self._samples: list[tuple[int, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + TIMEOUT_S
        while not self._samples and self._thread.is_alive():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} gave no sample within {TIMEOUT_S:.0f} s")
            time.sleep(0.01)

    def _run(self) -> None:
        period_s = 1 / self.asked_hz
        deadline = time.monotonic()
        levels = self._levels()
        while not self._ended.is_set():
            self._samples.append((time.monotonic_ns(), next(levels)))
            deadline = max(deadline + period_s, time.monotonic())
            time.sleep(deadline - time.monotonic() if deadline > time.monotonic() else 0)

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(TIMEOUT_S)

    def samples(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        return [(t, level) for t, level in self._samples if start_ns <= t <= end_ns]

    def cost(self) -> tuple[int, int]:
        return read_schedstat(os.getpid(), self._thread.native_id)


class PynvmlThread(_InThread):
    """What most people write: one call of pynvml and a pause."""

    name = "thread with pynvml"

    def __init__(self, hz: float) -> None:
        self.asked_hz = hz

    def _levels(self) -> Iterator[int]:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        while True:
            yield pynvml.nvmlDeviceGetMemoryInfo(handle).used >> 20


class NvitopThread(_InThread):
    """nvitop's collector, without the processes that it would list with every snapshot."""

    name = "thread with nvitop"

    def __init__(self, nvitop: Any, hz: float) -> None:
        self.asked_hz = hz
        self._nvitop = nvitop
        for name in ("nvitop", "nvitop.api", "nvitop.api.libnvml"):
            logging.getLogger(name).disabled = True  # it tells at length of each function that the library lacks

    def _levels(self) -> Iterator[int]:
        collector = self._nvitop.ResourceMetricCollector(root_pids=())
        while True:
            yield collector.take_snapshots().devices[0].memory_used >> 20


class NvidiaSmiThread(_InThread):
    """A process for each sample, started by a thread; without a driver it costs what starting any program costs."""

    name = "fork of nvidia-smi"
    asked_hz = NVIDIA_SMI_HZ
    _QUERY: ClassVar = ["--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def __init__(self, library: Path, folder: Path) -> None:
        self._program = folder / "nvidia-smi"
        source = folder / "stub.c"
        source.write_text(_STUB, encoding="utf-8")
        subprocess.run([str(compiler()), "-O2", source, "-o", self._program, library], check=True, timeout=TIMEOUT_S)

    def _levels(self) -> Iterator[int]:
        while True:
            yield int(
                subprocess.run([self._program, *self._QUERY], capture_output=True, check=True, timeout=TIMEOUT_S).stdout
            )

    def cost(self) -> tuple[int, int]:
        computed, waited = super().cost()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return computed + round((children.ru_utime + children.ru_stime) * 1e9), waited


def bring_library_into_this_process(library: Path) -> None:
    """What is loaded under this name already is what pynvml finds, wherever it lies."""
    CDLL(str(library))
