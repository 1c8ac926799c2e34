"""The engine that was measured, and the devices that it computes on."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePath


@dataclass(frozen=True)
class Device:
    """Where an engine computes.

    Attributes:
        kind: ``"cpu"`` or ``"cuda"``.
        name: the product's name, which ``device="NVIDIA H100*"`` in a marker is matched with.
        uuid: the driver's identifier; empty for a CPU.
    """

    kind: str
    name: str
    uuid: str = ""

    @property
    def label(self) -> str:
        """``NVIDIA L4 GPU-1a2b3c4d``: its name and enough of its UUID to tell two of a kind apart."""
        return f"{self.name} {self.uuid[:12]}".rstrip()

    def name_in(self, reason: str) -> str:
        """``reason`` with the label of the device in front, unless it begins with the device's name already."""
        return reason if reason.startswith(self.name) else f"{self.label}: {reason}"


def is_same_model(one: str, other: str) -> bool:
    """Whether two names are of one model; the tag ``latest`` may be left out."""
    return one.removesuffix(":latest") == other.removesuffix(":latest")


_LEADING_NUMBER = re.compile(r"v?(\d{1,9})")
_BUILD_NUMBER = re.compile(r"b\d+")
# No engine counts its major versions so far: it is the year of a date, or the number of a build.
_FIRST_BUILD = 1000


def classify_version(version: str) -> str:
    """The class of versions within which an engine is compared with itself, so that an upgrade can be judged.

    It is the major version: ``"0"`` for 0.31.2 and v0.32.0. Build numbers and dates state none and are all ``"b"``, so
    that b11549, b11600 and 2026.10.11549, builds of llama.cpp, are of one class. ``""`` for what is no version.
    """
    if _BUILD_NUMBER.match(version):
        return "b"
    found = _LEADING_NUMBER.match(version)
    if found is None:
        return ""
    return "b" if int(found[1]) >= _FIRST_BUILD else str(int(found[1]))


def name_model(model: str) -> str:
    """A file or a folder without those that it lies in; any other name as it is.

    Told by the form of the name, so that it is the same on every host: ``Qwen/Qwen3-0.6B`` is that of a hub.
    """
    is_path = model.startswith(("/", "~", ".")) or model.lower().endswith(".gguf")
    return PurePath(model).name or model if is_path else model


@dataclass(frozen=True)
class EngineInfo:
    """Which engine answered: what a reader needs to repeat the measurement.

    Attributes:
        name, version, model: as the engine gives them.
        devices: where it computes; empty if that cannot be seen from here.
        startup_seconds: from its start to ready; None if it was already running.
        warmup_seconds: of the request that warmed it up before its first test; None if there was none in this run.
        asked_as: the name that requests give, where it is not ``model``: that of a model derived for the session.
        variant: the label that the run gives it; empty if it has none.
        digest: hexadecimal, of the model's files; equal for equal models under one engine. Empty if it is unknown.
        quantisation: of the weights, as the model's files or the engine name it, such as ``Q4_1``; empty if unknown.
        arguments: the engine arguments that were given, sorted by name, without secrets, ports and folders.
    """

    name: str
    version: str
    model: str
    devices: tuple[Device, ...] = ()
    startup_seconds: float | None = None
    warmup_seconds: float | None = None
    asked_as: str = ""
    variant: str = ""
    digest: str = ""
    quantisation: str = ""
    arguments: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """What tells it from the other engines of a run: its variant, else ``vllm:Qwen/Qwen3-0.6B``, name and model."""
        return self.variant or f"{self.name}:{self.model}"

    @property
    def title(self) -> str:
        """Its variant, else its name: what sentences call it."""
        return self.variant or self.name

    @property
    def device_name(self) -> str:
        """The names of the devices, joined; ``"unknown device"`` if they cannot be seen from here."""
        return " + ".join(sorted({device.name for device in self.devices})) or "unknown device"

    def is_called(self, glob: str) -> bool:
        """Whether a glob matches its label, its name, or ``name:model``. One matches itself, even with ``[...]``."""
        names = (self.label, self.name, f"{self.name}:{self.model}")
        return any(name == glob or fnmatchcase(name, glob) for name in names)

    @property
    def on_cpu(self) -> bool:
        """Whether the engine computes on the host's processor, so that its memory is the host's."""
        return bool(self.devices) and all(device.kind == "cpu" for device in self.devices)

    @property
    def version_class(self) -> str:
        """The class of its version: see :func:`classify_version`."""
        return classify_version(self.version)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits, equal for engines whose numbers may be compared.

        They are of the names and number of its devices, its name, the class of its version, its model, quantisation
        and arguments. The model is known by its digest, else by its name, of a path the last part.
        """
        compared = {
            "devices": sorted(Counter(device.name for device in self.devices).items()),
            "engine": self.name,
            "version_class": self.version_class,
            "model": self.digest or name_model(self.model),
            "quantisation": self.quantisation,
            "arguments": self.arguments,
        }
        return hashlib.sha256(json.dumps(compared, sort_keys=True).encode()).hexdigest()[:16]
