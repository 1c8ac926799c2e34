"""Requests and measurements written out by hand, with times in milliseconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.limit import Limit, parse_limits
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind

MS = 1_000_000
CPU = EngineInfo("llamacpp", "b11549", "nano", (Device("cpu", "AMD EPYC 7B13"),), startup_seconds=2.5)
L4 = EngineInfo("vllm", "0.11.0", "Qwen/Qwen3-0.6B", (Device("cuda", "NVIDIA L4"),), startup_seconds=42.0)


def stream(
    *arrivals_ms: float,
    counts: Sequence[int] = (),
    kinds: Sequence[ChunkKind] = (),
    sent_ms: float = 0,
    **fields: Any,
) -> RequestTiming:
    """A streamed answer; a chunk at each of ``arrivals_ms``, with ``counts`` tokens and of ``kinds`` where given."""
    stamps = [round(at * MS) for at in arrivals_ms]
    chunks = tuple(
        Chunk(at, kinds[i] if kinds else "text", counts[i] if counts else None) for i, at in enumerate(stamps)
    )
    sent_ns = round(sent_ms * MS)
    return RequestTiming(sent_ns, fields.pop("end_ns", max([sent_ns, *stamps])), chunks, **fields)


def whole(sent_ms: float, end_ms: float, **fields: Any) -> RequestTiming:
    """An answer that was not streamed."""
    return RequestTiming(round(sent_ms * MS), round(end_ms * MS), streamed=False, **fields)


def measured(*requests: RequestTiming, **fields: Any) -> Measurement:
    return Measurement(**{"window": Window(0, 1000 * MS), "engine": CPU, "requests": requests, **fields})


def trace(*levels: int, **fields: Any) -> MemoryTrace:
    """A sample every 10 ms; the first is the level before the window."""
    samples = tuple((i * 10 * MS, level) for i, level in enumerate(levels))
    return MemoryTrace(samples, "resident memory", **{"before_bytes": levels[0] if levels else None, **fields})


def limits(group: str, **arguments: object) -> list[Limit]:
    return parse_limits(group, arguments, f"test_it: @{group}_budget")
