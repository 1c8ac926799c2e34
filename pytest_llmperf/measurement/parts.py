"""Labels for the measurements of one test's engines."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.device_trace import Energy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.engine_info import EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement

_SHARED_ENERGY = Energy(reason="several engines of the test computed on the device, which has one counter for all")


def label_parts(parts: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The measurement of each engine with a label of its own.

    The energy of a device that several of them computed on is missing from each: the device has one counter for all.
    """
    users = Counter(trace.device.uuid for part in parts for trace in part.devices)
    return tuple(
        replace(
            part,
            label=label,
            devices=tuple(
                replace(trace, energy=_SHARED_ENERGY) if users[trace.device.uuid] > 1 else trace
                for trace in part.devices
            ),
        )
        for part, label in zip(parts, _find_labels([part.engine for part in parts]), strict=True)
    )


def _find_labels(engines: Sequence[EngineInfo | None]) -> list[str]:
    """A variant by its label; of others the shortest that differ: ``vllm``, ``ollama:qwen3:0.6b``, ``llamacpp #2``.

    Empty for None.
    """
    names = Counter(engine.name for engine in engines if engine)
    labels = Counter(engine.label for engine in engines if engine)
    seen: Counter[str] = Counter()
    found = []
    for engine in engines:
        if engine is None or names[engine.name] == 1:
            found.append(engine.title if engine else "")
        elif labels[engine.label] == 1:
            found.append(engine.label)
        else:
            seen[engine.name] += 1
            found.append(f"{engine.name} #{seen[engine.name]}")
    return found
