"""The devices visible to a process: CUDA_VISIBLE_DEVICES as CUDA and torch read it, and its value for an engine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_llmperf.system.cuda_environ import DEVICE_ORDER, VISIBLE_DEVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.telemetry.records.source import DeviceFacts

_INDEX = re.compile(r"\d+")
_UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")
# The first entry decides what the list is of. Like strtoul, CUDA takes the digits that a number begins with.
_FORMS = {
    "GPU-": re.compile(r"GPU-[0-9A-Za-z-]+\Z"),
    "MIG-": re.compile(r"MIG-[0-9A-Za-z/-]+\Z"),
    "": re.compile(r"\d+"),
}


def select_devices(selection: str, environ: Mapping[str, str]) -> str | None:
    """The engine's ``CUDA_VISIBLE_DEVICES`` for ``--llmperf-gpus=selection``; None leaves it as it is.

    ``selection`` is ``auto``, or a comma-separated list of integers, which count inside the caller's own
    ``CUDA_VISIBLE_DEVICES`` (0 is its first entry), and of ``GPU-…`` or ``MIG-…`` UUIDs.

    Raises:
        ValueError: the selection cannot be understood, or names a device that the caller cannot see.
    """
    if selection.strip() == "auto":
        return None
    caller = parse_visible_devices(environ[VISIBLE_DEVICES]) if VISIBLE_DEVICES in environ else None
    chosen = [_resolve(entry.strip(), selection, caller) for entry in selection.split(",")]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"--llmperf-gpus={selection} names a device twice")
    if parse_visible_devices(",".join(chosen)) != chosen:
        raise ValueError(f"--llmperf-gpus={selection} mixes indices, GPU-… and MIG-… UUIDs: CUDA takes one kind only")
    return ",".join(chosen)


def _resolve(entry: str, selection: str, caller: list[str] | None) -> str:
    if _INDEX.fullmatch(entry):
        if caller is None:
            return str(int(entry))
        if int(entry) < len(caller):
            return caller[int(entry)]
        raise ValueError(f"--llmperf-gpus={selection}: there is no device {entry}, {_describe_visible(caller)}")
    if not _UUID.fullmatch(entry):
        raise ValueError(f"--llmperf-gpus={selection}: write auto, indices (0,2), GPU-… or MIG-… UUIDs")
    uuids = [known for known in caller or () if _UUID.fullmatch(known)]
    if caller == [] or (uuids and not any(_is_same(entry, known) for known in uuids)):
        raise ValueError(f"--llmperf-gpus={selection}: {entry} is not visible, {_describe_visible(caller or [])}")
    return entry


def _is_same(one: str, other: str) -> bool:
    """Whether both name one device: CUDA accepts any prefix of a UUID."""
    return one.startswith(other) or other.startswith(one)


def _describe_visible(caller: list[str]) -> str:
    if not caller:
        return f"{VISIBLE_DEVICES} shows none"
    noun = "device" if len(caller) == 1 else "devices"
    return f"{VISIBLE_DEVICES} shows {len(caller)} {noun} ({','.join(caller)})"


def filter_visible(facts: Sequence[DeviceFacts], value: str | None) -> list[DeviceFacts]:
    """The devices that CUDA uses with ``CUDA_VISIBLE_DEVICES=value``, None where it is not set, in its order.

    Integers count the GPUs in the driver's order, as torch does; UUIDs may be cut short while they name one device.
    A GPU with MIG on stands for its first instance, and CUDA uses a single instance and then no other GPU.
    """
    gpus = sorted((device for device in facts if not device.parent), key=lambda gpu: gpu.index)
    chosen = gpus if value is None else _choose(facts, gpus, value)
    used = [device for one in chosen for device in _pick_computing(facts, one)]
    instances = [device for device in used if device.parent]
    return instances[:1] or used


def why_ambiguous(facts: Sequence[DeviceFacts], value: str | None, order: str | None) -> str:
    """Why integers in ``CUDA_VISIBLE_DEVICES=value`` may mean other GPUs to CUDA than to the driver, or "".

    ``order`` is CUDA_DEVICE_ORDER, None where it is not set.
    """
    gpus = [device for device in facts if not device.parent]
    names = sorted({gpu.name for gpu in gpus})
    integers = [entry for entry in parse_visible_devices(value or "") if entry.isdigit()]
    if len(names) < 2 or order == "PCI_BUS_ID" or len(integers) in (0, len(gpus)):
        return ""
    return (
        f"{VISIBLE_DEVICES}={value} may mean other GPUs to CUDA, which counts the fastest first, than to the driver, "
        f"which counts by PCI address ({', '.join(names)}): set {DEVICE_ORDER}=PCI_BUS_ID, or give UUIDs"
    )


def parse_visible_devices(value: str) -> list[str]:
    """The entries of a CUDA_VISIBLE_DEVICES.

    As CUDA and torch read it, the list ends at its first invalid entry, and with a device named twice it is empty.
    """
    parts = [part.strip() for part in value.split(",")]
    form = next(form for prefix, form in _FORMS.items() if parts[0].startswith(prefix))
    valid: list[str] = []
    for part in parts:
        match = form.match(part)
        if match is None:
            break
        valid.append(str(int(match[0])) if match[0].isdigit() else match[0])
    return [] if len(set(valid)) < len(valid) else valid


def _choose(facts: Sequence[DeviceFacts], gpus: Sequence[DeviceFacts], value: str) -> list[DeviceFacts]:
    chosen: list[DeviceFacts] = []
    for entry in parse_visible_devices(value):
        if entry.isdigit():
            found = gpus[int(entry) : int(entry) + 1]
        else:
            found = [device for device in facts if device.uuid.startswith(entry) or _legacy_name(device) == entry]
        if len(found) != 1:
            break
        chosen += found
    return [] if len({device.slot for device in chosen}) < len(chosen) else chosen


def _legacy_name(device: DeviceFacts) -> str:
    """The name of a MIG instance in drivers before R470, which newer ones still accept."""
    return f"MIG-{device.parent}/{device.instance}"


def _pick_computing(facts: Sequence[DeviceFacts], device: DeviceFacts) -> list[DeviceFacts]:
    if not device.has_instances:
        return [device]
    return [part for part in facts if part.parent == device.uuid][:1]
