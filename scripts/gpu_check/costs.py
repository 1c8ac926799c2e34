"""What the sampler's calls of the driver cost, and how much of the time that is at the sampler's rates."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from pytest_llmperf.telemetry.records.source import SourceError, Why
from pytest_llmperf.telemetry.sampler.client import DEFAULT_HZ
from pytest_llmperf.telemetry.sampler.driver_lane import LIST_PERIOD_NS, SENSORS_PERIOD_NS, STATE_PERIOD_NS
from scripts.gpu_check.figures import median_and_p99

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.gpu_check.figures import Figures
    from scripts.gpu_check.gpu import Gpu

# As in the sampler, the processor has slept before each call, and its caches are cold.
_PAUSE_S = 0.005


class Cost(NamedTuple):
    """Microseconds of a C function, and the share of the time that it takes at the sampler's rate."""

    reading: str
    call: str
    median_us: float
    p99_us: float
    share: float


def measure(gpu: Gpu, calls: int = 200) -> tuple[list[Cost], list[str]]:
    """The cost of every call of each reading, and why some cannot be made."""
    readings: list[tuple[str, Callable[[], object], float, int]] = [
        ("memory", lambda: gpu.ask_memory(gpu.api), DEFAULT_HZ, calls),
        ("sensors", lambda: gpu.sensors.read(0), 1e9 / SENSORS_PERIOD_NS, calls),
        ("state", lambda: gpu.state.read(0), 1e9 / STATE_PERIOD_NS, calls),
        ("processes", gpu.processes, 1e9 / LIST_PERIOD_NS, max(20, calls // 4)),
        ("energy counter at the edges of a test", lambda: gpu.energy.read(0), 0.0, calls),
    ]
    costs: list[Cost] = []
    refused = []
    for what, read, hz, times in readings:
        try:
            costs += _costs(gpu, what, read, hz, times)
        except SourceError as error:
            refused.append(str(error))
    return costs, refused


def _costs(gpu: Gpu, what: str, read: Callable[[], object], hz: float, times: int) -> list[Cost]:
    _warm_up(read)
    gpu.times.of.clear()
    for _ in range(times):
        time.sleep(_PAUSE_S)
        read()
    costs = []
    for call, taken in gpu.times.of.items():
        median, p99 = median_and_p99(taken)
        per_reading = len(taken) / times
        costs.append(Cost(what, call, median / 1e3, p99 / 1e3, hz * per_reading * median / 1e9))
    return costs


def _warm_up(read: Callable[[], object]) -> None:
    """Until everything that this device does not have has been refused for good."""
    for _ in range(12):
        try:
            read()
        except SourceError as error:
            if error.why is not Why.TRANSIENT:
                raise
    read()


def report(gpu: Gpu, figures: Figures, calls: int) -> None:
    costs, refused = measure(gpu, calls)
    for reason in refused:
        figures.add("not read", reason)
    for cost in costs:
        share = f", {100 * cost.share:.3f} % of the time" if cost.share else ""
        figures.add(f"{cost.reading}: `{cost.call}`", f"{cost.median_us:.1f} µs, p99 {cost.p99_us:.1f} µs{share}")
    figures.add("all of them at the sampler's rates", f"{100 * sum(cost.share for cost in costs):.2f} % of the time")
