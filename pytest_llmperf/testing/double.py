"""A stand-in for the NVML library inside this process, called through the real ``pynvml``.

It takes the place of ``pynvml.nvmlLib``, so that everything above the C functions is the real thing: the wrappers,
their structures and versions, the two calls for a list of processes, the classes of errors.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from pytest_llmperf.telemetry.sources.nvml.backend import import_pynvml
from pytest_llmperf.testing.functions import FUNCTIONS
from pytest_llmperf.testing.lookup import ScriptedRefusal
from pytest_llmperf.testing.names import ALIASES
from pytest_llmperf.testing.scenario import ANY, FOREVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.testing.lookup import ScriptedHandle
    from pytest_llmperf.testing.scenario import Delay, Fault, Scenario

_UNINITIALIZED, _UNKNOWN = 1, 999
_ALWAYS = {"nvmlInit_v2", "nvmlErrorString"}
_HANGING_POLL_S = 0.001


@contextmanager
def scripted_nvml(scenario: Scenario) -> Iterator[NvmlDouble]:
    """Makes ``pynvml`` in this process answer from a scenario, which may be changed meanwhile.

        scenario = Scenario([ScriptedDevice(name="NVIDIA L4", used=3 * GIB)], now_ns=0)
        with scripted_nvml(scenario) as nvml:
            pynvml.nvmlInit()
            ...
            scenario.now_ns = 5_000_000
            assert nvml.calls["nvmlDeviceGetMemoryInfo_v2"] == 1

    Before and after, ``pynvml`` is as it was. Calls that hang at the end return an error.
    """
    pynvml = import_pynvml()
    double = NvmlDouble(scenario)
    pointers = pynvml._nvmlGetFunctionPointer_cache
    saved = pynvml.nvmlLib, pynvml._nvmlLib_refcount, dict(pointers)
    pynvml.nvmlLib, pynvml._nvmlLib_refcount = double, 0
    pointers.clear()
    try:
        yield double
    finally:
        double.closed = True
        pointers.clear()
        pynvml.nvmlLib, pynvml._nvmlLib_refcount, kept = saved
        pointers.update(kept)


class _Function:
    """A C function as ctypes presents it: it can be called and given types."""

    restype: Any = None
    argtypes: Any = None

    def __init__(self, double: NvmlDouble, name: str) -> None:
        self._double = double
        self._name = name

    def __call__(self, *arguments: Any) -> Any:
        return self._double.call(self._name, arguments)


class NvmlDouble:
    """The library; it has an attribute for each function that the scenario's driver has.

    Attributes:
        scenario: the scenario that it answers from.
        calls: how often each function was called, by its C name; nvmlInitWithFlags counts as nvmlInit_v2.
    """

    scenario: Scenario

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.calls: Counter[str] = Counter()
        self.closed = False
        self.users = 0
        self._owner = os.getpid()
        self._lock = Lock()

    def __getattr__(self, name: str) -> _Function:
        if name not in FUNCTIONS or name in self.scenario.list_absent():
            raise AttributeError(f"this driver has no {name}")
        function = _Function(self, name)
        setattr(self, name, function)
        return function

    @property
    def now_ns(self) -> int:
        """The clock of the scenario."""
        return time.monotonic_ns() if self.scenario.now_ns is None else self.scenario.now_ns

    def call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Calls a function: returns an error code, 0 for success, or a text for nvmlErrorString."""
        find, answer = FUNCTIONS[name]
        name = ALIASES.get(name, name)
        with self._lock:
            self.calls[name] += 1
        try:
            self._delay(name)
            self._check_initialized(name)
            target = find(self, *arguments)
            self.fail_as_scripted(name, target)
            return answer(self, target, *arguments) or 0
        except ScriptedRefusal as refused:
            return refused.code

    def fail_as_scripted(self, function: str, target: ScriptedHandle | None) -> None:
        """Refuses the call if a fault of the scenario says so.

        Raises:
            ScriptedRefusal: with the code of the fault.
        """
        for fault in list(self.scenario.faults):
            if _matches(fault.function, function) and self.now_ns >= fault.at_ns and _concerns(fault, target):
                with self._lock:
                    fault.seen += 1
                    number = fault.seen
                if fault.after < number and (fault.times == 0 or number <= fault.after + fault.times):
                    raise ScriptedRefusal(fault.code)

    def _delay(self, function: str) -> None:
        for delay in list(self.scenario.delays):
            if not _matches(delay.function, function):
                continue
            if delay.ns >= FOREVER:
                self._hang(delay)
            elif delay.spin:
                end_ns = time.monotonic_ns() + delay.ns
                while time.monotonic_ns() < end_ns:
                    pass
            else:
                time.sleep(delay.ns / 1e9)

    def _hang(self, delay: Delay) -> None:
        while delay.ns >= FOREVER and delay in self.scenario.delays:
            if self.closed:
                raise ScriptedRefusal(_UNKNOWN)
            time.sleep(_HANGING_POLL_S)

    def _check_initialized(self, name: str) -> None:
        if self._owner != os.getpid():  # forked: nothing of the driver's state comes along
            self._owner, self.users = os.getpid(), 0
        if not self.users and name not in _ALWAYS:
            raise ScriptedRefusal(_UNINITIALIZED)


def _matches(scripted: str, function: str) -> bool:
    """Whether a fault or delay is for this function. ANY stands for all but single field values and nvmlErrorString."""
    if scripted == ANY:
        return function.startswith("nvml") and function != "nvmlErrorString"
    return ALIASES.get(scripted, scripted) == function


def _concerns(fault: Fault, target: ScriptedHandle | None) -> bool:
    if fault.device is None:
        return True
    return target is not None and fault.device in (target.device.uuid, target.part.uuid)
