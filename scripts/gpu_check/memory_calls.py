"""What the two memory calls of the driver count, and what they say of an allocation of known size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.sources.nvml.abi import MemoryV1, MemoryV2
from pytest_llmperf.telemetry.sources.nvml.errors import used_includes_reserved
from scripts.gpu_check.figures import mib

if TYPE_CHECKING:
    from scripts.gpu_check.figures import Figures
    from scripts.gpu_check.gpu import Gpu
    from scripts.gpu_check.program import Program

_HELD = 512 << 20


def report(gpu: Gpu, program: Program | None, figures: Figures) -> None:
    figures.add("memory is read by", gpu.facts.memory_api)
    newer, older = gpu.ask_memory(MemoryV2), gpu.ask_memory(MemoryV1)
    if isinstance(newer, int):
        figures.add("memory v2", f"refused with NVML error {newer}")
    else:
        includes = used_includes_reserved(newer.total, newer.reserved, newer.free, newer.used)
        parts = ", ".join(f"{name} {mib(getattr(newer, name))}" for name in ("total", "free", "reserved", "used"))
        figures.add("memory v2", f"{parts}; `used` {'includes' if includes else 'leaves out'} `reserved`")
    if isinstance(older, int):
        figures.add("memory v1", f"refused with NVML error {older}")
    else:
        figures.add("memory v1", f"total {mib(older.total)}, free {mib(older.free)}, used {mib(older.used)}")
    if program is not None:
        _measure_moves(gpu, program, figures)


def _measure_moves(gpu: Gpu, program: Program, figures: Figures) -> None:
    before = _read_used(gpu)
    program.hold("known", _HELD)
    held = _read_used(gpu)
    program.free("known")
    freed = _read_used(gpu)
    moves = [
        f"{name} +{mib(held[name] - level)}, then {mib(freed[name] - held[name])}" for name, level in before.items()
    ]
    figures.add(f"{mib(_HELD)} held and freed", "; ".join(moves))


def _read_used(gpu: Gpu) -> dict[str, int]:
    found = {"level": gpu.level()}
    for name, version in (("v2 used", MemoryV2), ("v1 used", MemoryV1)):
        memory = gpu.ask_memory(version)
        if not isinstance(memory, int):
            found[name] = int(memory.used)
    return found
