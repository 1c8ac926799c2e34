"""The engine that was measured, and the devices that it computes on."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


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
    """

    name: str
    version: str
    model: str
    devices: tuple[Device, ...] = ()
    startup_seconds: float | None = None
    warmup_seconds: float | None = None
    asked_as: str = ""
    variant: str = ""

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
