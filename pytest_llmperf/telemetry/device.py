"""Which devices an engine may use, and how the CPU is called."""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.measurement import Device

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE = "CUDA_VISIBLE_DEVICES"
_INDEX = re.compile(r"\d+")
_UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")


def cpu_device(cpuinfo: Path = Path("/proc/cpuinfo")) -> Device:
    """This host's processor: ``CPU AMD EPYC 9654``; its architecture where the model has no name."""
    return Device("cpu", f"CPU {_model_name(cpuinfo) or platform.processor() or platform.machine()}")


def _model_name(cpuinfo: Path) -> str:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return " ".join(match[1].split()) if match else ""


def visible_devices(selection: str, environ: Mapping[str, str]) -> str | None:
    """The engine's ``CUDA_VISIBLE_DEVICES`` for ``--llmperf-gpus=selection``; None leaves it as it is.

    ``selection`` is ``auto``, or a comma-separated list of integers, which count inside the caller's own
    ``CUDA_VISIBLE_DEVICES`` (0 is its first entry), and of ``GPU-…`` or ``MIG-…`` UUIDs.

    Raises:
        ValueError: the selection cannot be understood, or names a device that the caller cannot see.
    """
    if selection.strip() == "auto":
        return None
    caller = _entries(environ[_VARIABLE]) if _VARIABLE in environ else None
    chosen = [_resolve(entry.strip(), selection, caller) for entry in selection.split(",")]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"--llmperf-gpus={selection} names a device twice")
    return ",".join(chosen)


def _entries(value: str) -> list[str]:
    """The devices in a ``CUDA_VISIBLE_DEVICES``; as CUDA does, the list ends at its first invalid entry."""
    valid: list[str] = []
    for entry in (part.strip() for part in value.split(",")):
        if not (_INDEX.fullmatch(entry) or _UUID.fullmatch(entry)):
            break
        valid.append(entry)
    return valid


def _resolve(entry: str, selection: str, caller: list[str] | None) -> str:
    if _INDEX.fullmatch(entry):
        if caller is None:
            return str(int(entry))
        if int(entry) < len(caller):
            return caller[int(entry)]
        raise ValueError(f"--llmperf-gpus={selection}: there is no device {entry}, {_shown(caller)}")
    if not _UUID.fullmatch(entry):
        raise ValueError(f"--llmperf-gpus={selection}: write auto, indices (0,2), GPU-… or MIG-… UUIDs")
    uuids = [known for known in caller or () if _UUID.fullmatch(known)]
    if caller == [] or (uuids and not any(_same(entry, known) for known in uuids)):
        raise ValueError(f"--llmperf-gpus={selection}: {entry} is not visible, {_shown(caller or [])}")
    return entry


def _same(one: str, other: str) -> bool:
    """CUDA takes any prefix of a UUID for the whole."""
    return one.startswith(other) or other.startswith(one)


def _shown(caller: list[str]) -> str:
    if not caller:
        return f"{_VARIABLE} shows none"
    noun = "device" if len(caller) == 1 else "devices"
    return f"{_VARIABLE} shows {len(caller)} {noun} ({','.join(caller)})"


def engine_devices(*, cpu_only: bool = False) -> tuple[Device, ...]:
    """Where an engine of this host computes: the CPU; unknown, ``()``, where the host has an NVIDIA driver."""
    return (cpu_device(),) if cpu_only or not Path("/dev/nvidiactl").exists() else ()
