"""NVML as a C library that answers from a file: built by the compiler, written and changed from here.

Any process that loads the library with ``FAKENVML_SCENARIO`` in its environment sees the same scripted GPUs at the
same time, and any process may change them.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from pytest_llmperf.testing import FOREVER, Delay, Fault, Scenario, ScriptedProcess, Spike, Throttle
from tests.gpu.layout import NONE, FilePart, FileScenario
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from pytest_llmperf.testing import Curve

SCENARIO = "FAKENVML_SCENARIO"
_HERE = Path(__file__).parent
_NVML = ("fakenvml.c", "libnvidia-ml.so.1")
_CUDA = ("fakecuda.c", "libcuda.so.1")


def compiler() -> str | None:
    """The C compiler to use: that of ``CC``, else the first one of this host."""
    return next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)


def build_library(folder: Path, missing: frozenset[str] = frozenset()) -> Path:
    """The library without these functions, built into a folder below this one unless it is there already."""
    return _build(folder / "-".join(["nvml", *sorted(missing)]), *_NVML, missing)


def build_cuda(folder: Path) -> Path:
    """The library of CUDA's driver, whose allocations show in the scenario."""
    return _build(folder / "cuda", *_CUDA)


def _build(folder: Path, source: str, name: str, missing: frozenset[str] = frozenset()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one of several xdist workers builds it
        if not (folder / name).exists():
            _compile(_HERE / source, folder / name, missing)
    return folder / name


def _compile(source: Path, target: Path, missing: frozenset[str]) -> None:
    found = compiler()
    if found is None:
        pytest.skip("no C compiler (cc, gcc, clang): the fake libraries cannot be built")
    options = ["-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden", f"-Wl,-soname,{target.name}"]
    if missing:
        hidden = target.with_name("hidden")
        hidden.write_text("{ local: " + " ".join(f"{name};" for name in sorted(missing)) + " };\n", encoding="utf-8")
        options.append(f"-Wl,--version-script={hidden}")
    fresh = target.with_name("fresh.so")
    done = subprocess.run(
        [found, *options, str(source), "-o", str(fresh)], capture_output=True, text=True, timeout=PATIENCE_S
    )
    if done.returncode or done.stderr:
        pytest.fail(f"{source.name} does not compile without errors and warnings:\n{done.stderr}")
    fresh.rename(target)


class LiveScenario:
    """A scenario in a file, which processes with the library are reading."""

    def __init__(self, path: Path) -> None:
        """Attach to the scenario that :meth:`create` wrote, from this or another process."""
        self.path = path
        with open(path, "r+b") as file:
            self._file = FileScenario.from_buffer(mmap.mmap(file.fileno(), ctypes.sizeof(FileScenario)))

    @classmethod
    def create(cls, path: Path, scenario: Scenario) -> Self:
        """Write a scenario into a new file. Later changes of the dataclasses do not reach it."""
        with open(path, "xb") as file:
            file.truncate(ctypes.sizeof(FileScenario))
        live = cls(path)
        live._file.write(scenario)
        return live

    def environment(self, *libraries: Path) -> dict[str, str]:
        """What a child process needs in its environment to find libraries and scenario."""
        inherited = os.environ.get("LD_LIBRARY_PATH")
        folders = [*(str(library.parent) for library in libraries), *([inherited] if inherited else [])]
        return {"LD_LIBRARY_PATH": os.pathsep.join(folders), SCENARIO: str(self.path)}

    # -------------------------------------------------------------------------------------------- changes

    @property
    def now_ns(self) -> int:
        """The clock of the scenario; once set, it stands."""
        return int(self._file.now) if self._file.manual else time.monotonic_ns()

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._file.now, self._file.manual = now_ns, 1

    def set(self, uuid: str, **changes: Curve | None) -> None:
        """Change numbers and curves of a device or instance: ``set(uuid, used=3 * GIB, energy_start_ns=5)``."""
        for name, value in changes.items():
            self._part(uuid).set(name, value)

    def set_process(self, uuid: str, process: ScriptedProcess) -> None:
        """Add a process to the list of a device, or change the one with this pid."""
        slots = self._part(uuid).processes
        same = [slot for slot in slots if slot.end and slot.pid == process.pid]
        _first(same or [slot for slot in slots if not slot.end]).write(process)

    def remove_process(self, uuid: str, pid: int) -> None:
        _first([slot for slot in self._part(uuid).processes if slot.end and slot.pid == pid]).end = 0

    def add_spike(self, uuid: str, spike: Spike) -> None:
        """Schedule a spike; the slots of those that are over are used again."""
        _first([slot for slot in self._part(uuid).spikes if slot.end < self.now_ns or not slot.end]).write(spike)

    def add_throttle(self, uuid: str, throttle: Throttle) -> None:
        _first([slot for slot in self._part(uuid).throttles if not slot.field]).write(throttle)

    def add_fault(self, fault: Fault) -> None:
        part = self._file.number_of(fault.device)
        _first([slot for slot in self._file.faults if not slot.active]).write(fault, part)

    def clear_faults(self) -> None:
        for slot in self._file.faults:
            slot.active = 0

    def add_delay(self, delay: Delay) -> None:
        _first([slot for slot in self._file.delays if not slot.active]).write(delay)

    def hang(self, function: str) -> None:
        """Let every call of a function hang until :meth:`clear_delays`."""
        self.add_delay(Delay(function, FOREVER))

    def clear_delays(self) -> None:
        """Let go of all that hangs, and delay nothing any more."""
        for slot in self._file.delays:
            slot.active = 0

    def calls(self, function: str) -> int:
        """How often any process has called a function; nvmlInitWithFlags counts as nvmlInit_v2."""
        return int(next(slot.calls for slot in self._file.functions if slot.name.decode() == function))

    def _part(self, uuid: str) -> FilePart:
        number = self._file.number_of(uuid)
        assert number != NONE
        return self._file.part[number]


def _first(slots: list[Any]) -> Any:
    if not slots:
        raise LookupError("the scenario holds no such entry, or has no room for another")
    return slots[0]
