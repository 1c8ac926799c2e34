"""A DCGM exporter as far as its page goes: what it collected last, written anew only when its interval is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = float | str

HELP = {
    "FB_USED": ("gauge", "Framebuffer memory used (in MiB)."),
    "TOTAL_ENERGY_CONSUMPTION": ("counter", "Total energy consumption since boot (in mJ)."),
    "POWER_VIOLATION": ("counter", "Throttling duration due to power constraints (in us)."),
}


@dataclass
class Gpu:
    """A GPU, or with ``instance`` a MIG instance of it, with the fields that the exporter shows of it now."""

    number: int
    fields: dict[str, Value]
    instance: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    model: str = "NVIDIA H100 80GB HBM3"
    host: str = "node-a"

    @property
    def uuid(self) -> str:
        return f"GPU-{self.host}-{self.number}"

    def labels(self) -> str:
        mig = {"GPU_I_PROFILE": "3g.40gb", "GPU_I_ID": self.instance} if self.instance else {}
        labels = {
            "gpu": str(self.number),
            "UUID": self.uuid,
            "pci_bus_id": f"00000000:{self.number:02X}:00.0",
            "device": f"nvidia{self.number}",
            "modelName": self.model,
            **mig,
            "Hostname": self.host,
            **self.extra,
        }
        return ",".join(f'{name}="{value}"' for name, value in labels.items())


class Exporter:
    """The page of these GPUs at ``now_ms``, which the test moves; collected every ``interval_ms``."""

    def __init__(self, *gpus: Gpu, interval_ms: int = 0) -> None:
        self.gpus = list(gpus)
        self.interval_ms = interval_ms
        self.now_ms = 0
        self._due_ms = 0
        self._page = ""

    def page(self) -> str:
        if self.now_ms >= self._due_ms or not self._page:
            self._page = self._collect()
            self._due_ms = (self.now_ms // self.interval_ms + 1) * self.interval_ms if self.interval_ms else 0
        return self._page

    def _collect(self) -> str:
        lines = []
        for name in dict.fromkeys(name for gpu in self.gpus for name in gpu.fields):
            kind, text = HELP.get(name, ("gauge", name))
            lines += [f"# HELP DCGM_FI_DEV_{name} {text}", f"# TYPE DCGM_FI_DEV_{name} {kind}"]
            lines += [
                f"DCGM_FI_DEV_{name}{{{gpu.labels()}}} {gpu.fields[name]}" for gpu in self.gpus if name in gpu.fields
            ]
        return "\n".join(lines) + "\n"


def full_fields() -> dict[str, Value]:
    """What an exporter with its usual counters shows of an H100."""
    return {
        "SM_CLOCK": 1980,
        "MEM_CLOCK": 2619,
        "MEMORY_TEMP": 45,
        "GPU_TEMP": 38,
        "POWER_USAGE": "123.456000",
        "TOTAL_ENERGY_CONSUMPTION": 1234567890123,
        "GPU_UTIL": 97,
        "XID_ERRORS": 0,
        "FB_FREE": 60000,
        "FB_USED": 21000,
        "FB_RESERVED": 559,
        "VGPU_LICENSE_STATUS": 0,
    }
