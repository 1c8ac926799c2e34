"""Explains NVML's error codes in one sentence each, with the cure if there is one. Nothing here calls a driver."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.records.source import SourceError, Why

if TYPE_CHECKING:
    from pytest_llmperf.telemetry.records.source import DeviceFacts


class Code(IntEnum):
    """The return codes of NVML functions (``nvmlReturn_t``) with a meaning here; with any other a call failed once."""

    SUCCESS = 0
    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    INSUFFICIENT_SIZE = 7
    DRIVER_NOT_LOADED = 9
    TIMEOUT = 10
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    LIB_RM_VERSION_MISMATCH = 18
    ARGUMENT_VERSION_MISMATCH = 25
    GPU_NOT_FOUND = 28
    UNKNOWN = 999


class NvmlRefusal(Exception):  # noqa: N818 - an answer of the driver, which may be expected
    """NVML answered with an error code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


NO_PACKAGE = "GPUs are read through the Python package nvidia-ml-py, which is not installed: pip install nvidia-ml-py"
OLD_PACKAGE = "the installed pynvml is too old to read GPUs with: pip install --upgrade nvidia-ml-py"

_XID = "the kernel log (`dmesg`) has the cause after `Xid`"
_NO_DRIVER = (
    "there is no NVIDIA driver here (neither libnvidia-ml.so.1 nor /dev/nvidiactl): install one, or start the "
    "container with its GPUs (`--gpus all`)"
)
_NO_LIBRARY = (
    "the NVIDIA driver runs, but its library libnvidia-ml.so.1 is not found: a container needs the `utility` "
    "capability (NVIDIA_DRIVER_CAPABILITIES=compute,utility), a host the driver's libraries on its library path"
)
_STARTS = {
    Code.DRIVER_NOT_LOADED: "the NVIDIA driver is installed but not loaded: `modprobe nvidia`, then see `nvidia-smi`",
    Code.GPU_NOT_FOUND: "the NVIDIA driver finds no GPU: see `nvidia-smi -L`; a container needs `--gpus all`",
    Code.LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA driver was updated, but the old one is still loaded: reboot, or reload the nvidia kernel modules, "
        "and start containers anew"
    ),
    Code.NO_PERMISSION: (
        "this user may not talk to the NVIDIA driver: give it access to /dev/nvidiactl and the /dev/nvidia* of its GPUs"
    ),
    Code.UNKNOWN: (
        "the NVIDIA driver answers `unknown error`: a container loses its GPUs by `systemctl daemon-reload` on its "
        "host and must be started anew; under WSL update the driver of Windows"
    ),
}

_READINGS = {
    Code.UNINITIALIZED: (Why.UNAVAILABLE, "NVML was shut down in this process and did not start again"),
    Code.NOT_SUPPORTED: (Why.ABSENT, "the driver gives no {what}"),
    Code.NO_PERMISSION: (
        Why.ABSENT,
        "this user may not read the {what}: root may, or whom the administrator allows it",
    ),
    Code.NOT_FOUND: (Why.TRANSIENT, "the driver has no {what} at this moment"),
    Code.INSUFFICIENT_SIZE: (Why.TRANSIENT, "the {what} grew faster than it could be read"),
    Code.TIMEOUT: (Why.TRANSIENT, "the driver did not give the {what} in time"),
    Code.FUNCTION_NOT_FOUND: (Why.ABSENT, "this driver is too old to give the {what} ({call}): update it"),
    Code.GPU_IS_LOST: (Why.LOST, f"the GPU is lost, {_XID}: reset it or reboot"),
    Code.RESET_REQUIRED: (Why.LOST, f"the GPU must be reset, {_XID}: `nvidia-smi --gpu-reset`, or reboot"),
    Code.ARGUMENT_VERSION_MISMATCH: (
        Why.TRANSIENT,
        "the driver does not understand how the {what} is asked for ({call}): update it",
    ),
    Code.UNKNOWN: (Why.TRANSIENT, "the driver failed to give the {what}, for a reason unknown to itself"),
}
_OTHER = "the driver failed to give the {what} (NVML error {code} of {call})"
_DESTROYED = "the MIG instance does not exist any more"

_INTEGRATED = re.compile(r"\b(GB10|Thor|Orin|Xavier|Tegra|Jetson)\b", re.IGNORECASE)
_PATIENCE = 10


def name_device(facts: DeviceFacts) -> str:
    """The name of a device in messages: ``NVIDIA L4 (GPU-8932f937)``."""
    return f"{facts.name} ({facts.uuid[:12]})"


def explain_start_failure(code: int, *, device_node: bool) -> SourceError:
    """Why NVML does not start; ``device_node`` says whether there is a ``/dev/nvidiactl``."""
    if code == Code.LIBRARY_NOT_FOUND:
        return SourceError(_NO_LIBRARY if device_node else _NO_DRIVER, Why.UNAVAILABLE)
    sentence = next((text for known, text in _STARTS.items() if known == code), None)
    return SourceError(sentence or f"NVML does not start (error {code}): see `nvidia-smi`", Why.UNAVAILABLE)


def explain_refusal(code: int, who: str, what: str, call: str) -> SourceError:
    """Why ``call`` gave no ``what`` of the device ``who``."""
    if code in (Code.DRIVER_NOT_LOADED, Code.LIB_RM_VERSION_MISMATCH):
        return explain_start_failure(code, device_node=True)
    why, sentence = next((row for known, row in _READINGS.items() if known == code), (Why.TRANSIENT, _OTHER))
    return SourceError(f"{who}: {sentence.format(what=what, call=call, code=code)}", why)


class Refusals:
    """Tells a quantity that a device lacks from a reading that failed once.

    At a high rate drivers occasionally answer NotSupported for what they do support, so only the tenth in a row counts.
    The caller sets ``in_a_row`` back to 0 after a successful reading.
    """

    def __init__(self, facts: DeviceFacts) -> None:
        self.in_a_row = 0
        self._who = name_device(facts)
        self._is_instance = bool(facts.parent)

    def judge(self, code: int, what: str, call: str) -> SourceError:
        """The error to raise for this code; its ``why`` is ABSENT only after ten refusals in a row."""
        if code == Code.INVALID_ARGUMENT and self._is_instance:
            return SourceError(f"{self._who}: {_DESTROYED}", Why.LOST)
        error = explain_refusal(code, self._who, what, call)
        if code != Code.NOT_SUPPORTED:
            return error
        self.in_a_row += 1
        return SourceError(str(error), Why.TRANSIENT) if self.in_a_row < _PATIENCE else error


def is_integrated(name: str) -> bool:
    """Whether a GPU of this name has no memory of its own and computes in the host's."""
    return _INTEGRATED.search(name) is not None


def used_includes_reserved(total: int, reserved: int, free: int, used: int) -> bool:
    """Whether this driver counts the memory it reserves for itself as used: drivers differ."""
    return abs(total - free - used) < abs(total - free - reserved - used)
