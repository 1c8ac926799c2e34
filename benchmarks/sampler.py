"""What sampling the memory of a GPU costs, and which spikes it catches: our sampler beside what people use.

    pip install -e . nvitop
    python benchmarks/sampler.py [--quick]

It needs a C compiler and Linux, but no GPU: the GPU is a C library with NVML's interface, in which spikes of memory are
scheduled at random times, each of a height of its own, so that one is known to be caught when a sample shows its
height. Its calls take about as long as a driver's. Meanwhile the main thread, which stands for pytest, is idle, busy in
pure Python, or busy in C calls that hold the GIL. Its own work is timed without, then with each sampler, round after
round, and the slow-down is the median of the ratios; the time in which the main thread was ready and got no core is
taken off, as it is mostly other programs of the machine that cause it. CPU and waiting for a core are those of the
sampler alone, as shares of one core.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sampler_rivals import (
    Design,
    NvidiaSmiThread,
    NvitopThread,
    Ours,
    PynvmlThread,
    bring_library_into_this_process,
    read_schedstat,
)

from pytest_llmperf.telemetry.sampler.client import DEFAULT_HZ
from pytest_llmperf.testing import GIB, Delay, Scenario, ScriptedDevice, ScriptedProcess, Spike
from tests.gpu.fake_library import LiveScenario, build_library

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000
MIB = 2**20
UUID = "GPU-00000000-0000-0000-0000-000000000000"
SPIKES_MS = (2, 5, 5, 5, 20)
BURST_S = 1.2
SETTLE_S = 0.5
SMALLEST_SHARE, LARGEST_CPU = 0.99, 0.03
LATENCIES_US = {
    "nvmlDeviceGetMemoryInfo": 12,
    "nvmlDeviceGetMemoryInfo_v2": 12,
    "nvmlDeviceGetFieldValues": 30,
    "nvmlDeviceGetTemperature": 30,
    "nvmlDeviceGetClockInfo": 30,
    "nvmlDeviceGetPowerUsage": 30,
    "nvmlDeviceGetUtilizationRates": 3,
    "nvmlDeviceGetCurrentClocksEventReasons": 30,
    "nvmlDeviceGetComputeRunningProcesses_v3": 4500,
}


# ----------------------------------------------------------------------------------------------- what pytest does


def pure_python() -> None:
    sum(i * i for i in range(1000))


def _c_calls() -> Callable[[], None]:
    rng = random.Random(1)
    body = json.dumps([{"id": i, "text": str(i), "logprobs": [rng.random()] * 3} for i in range(30_000)])
    numbers = [rng.random() for _ in range(60_000)]

    def work() -> None:
        json.loads(body)
        sorted(numbers)

    return work


LOADS: dict[str, Callable[[], None] | None] = {
    "idle": None,
    "busy in pure Python": pure_python,
    "busy in C calls that hold the GIL": _c_calls(),
}


def work_until(work: Callable[[], None] | None, deadline: float) -> tuple[int, float]:
    """How often the work was done, and in how many seconds, without those of waiting for a core."""
    begun, number, (_, waited) = time.monotonic(), 0, read_schedstat(os.getpid(), os.getpid())
    while (now := time.monotonic()) < deadline:
        if work is None:
            time.sleep(deadline - now)
        else:
            work()
            number += 1
    return number, time.monotonic() - begun - (read_schedstat(os.getpid(), os.getpid())[1] - waited) / 1e9


# --------------------------------------------------------------------------------------------------- one measurement


@dataclass
class Figures:
    """What was seen of one design under one load, over all rounds."""

    caught: dict[int, list[bool]] = field(default_factory=lambda: {2: [], 5: [], 20: []})
    gaps_ns: list[int] = field(default_factory=list)
    samples: int = 0
    seconds: float = 0.0
    computed_ns: int = 0
    waited_ns: int = 0
    slower: list[float] = field(default_factory=list)

    def share(self, length_ms: int) -> float:
        return statistics.fmean(self.caught[length_ms])

    @property
    def cpu(self) -> float:
        return self.computed_ns / self.seconds / 1e9

    def gap_ms(self, share: float) -> float:
        gaps = sorted(self.gaps_ns)
        return gaps[min(len(gaps) - 1, int(share * len(gaps)))] / MS


class Stage:
    """The scripted GPU and its spikes."""

    def __init__(self, live: LiveScenario) -> None:
        self._live = live
        self._rng = random.Random(7)

    def schedule(self, heights: range) -> tuple[list[tuple[int, int]], float]:
        """Spikes of these heights in MiB, for about a second: (length in ms, height) of each, and when all are over."""
        t = time.monotonic_ns() + 20 * MS
        end = t + round(BURST_S * 1e9)
        spikes: list[tuple[int, int]] = []
        for height in heights:
            t += self._rng.randrange(1 * MS, 8 * MS)
            if t > end:
                break
            length = self._rng.choice(SPIKES_MS)
            self._live.add_spike(UUID, Spike(t, t + length * MS, height * MIB))
            spikes.append((length, height))
            t += length * MS
        return spikes, (t + 5 * MS) / 1e9

    def measure(self, design: Design, work: Callable[[], None] | None, bursts: int, into: Figures) -> float:
        """Samples while the work is done; how much of it was done per second."""
        done, seconds, spikes = 0, 0.0, []
        start, (computed, waited) = time.monotonic_ns(), design.cost()
        for number in range(bursts):
            fresh, over = self.schedule(range(1 + 200 * number, 200 + 200 * number))
            spikes += fresh
            more, took = work_until(work, over)
            done, seconds = done + more, seconds + took
        end, (computed_then, waited_then) = time.monotonic_ns(), design.cost()
        samples = design.samples(start, end)
        ground = min((level for _, level in samples), default=0)
        seen = {level - ground for _, level in samples}
        for length, height in spikes:
            into.caught[length].append(height in seen)
        into.gaps_ns += [b - a for (a, _), (b, _) in pairwise(samples)]
        into.samples += len(samples)
        into.seconds += (end - start) / 1e9
        into.computed_ns += computed_then - computed
        into.waited_ns += waited_then - waited
        return done / seconds


def run_round(stage: Stage, designs: list[Design], load: str, bursts: int, figures: dict[str, Figures]) -> list[float]:
    """Every design once under a load, between stretches without any; how these differ from each other."""
    work = LOADS[load]
    alone: list[float] = []
    sampled: list[float] = []
    for design in [*designs, None]:
        if work is not None:
            number, seconds = work_until(work, time.monotonic() + 0.7 * bursts * BURST_S)
            alone.append(number / seconds)
        if design is not None:
            design.start()
            time.sleep(SETTLE_S)
            sampled.append(stage.measure(design, work, bursts, figures[design.name]))
            design.stop()
    for design, speed, neighbours in zip(designs, sampled, pairwise(alone), strict=bool(alone)):
        figures[design.name].slower.append(statistics.fmean(neighbours) / speed - 1)
    return [a / b - 1 for a, b in pairwise(alone)]


# ------------------------------------------------------------------------------------------------------------- report


def show(load: str, designs: list[Design], figures: dict[str, Figures], noise: list[float]) -> None:
    print(f"\npytest {load}")
    print(
        f"{'':28} {'spikes caught':^22} {'asked':>6} {'got':>6} {'gap p50 / p99 / max':>22} {'CPU':>7} {'waited':>7}"
        f" {'slow-down':>18}\n{'':28} {'2 ms':>6} {'5 ms':>7} {'20 ms':>7} {'Hz':>6} {'Hz':>6} {'ms':>22}"
    )
    for design in designs:
        f = figures[design.name]
        gaps = " / ".join(f"{f.gap_ms(share):.1f}" for share in (0.5, 0.99, 1))
        print(
            f"{design.name:28} {f.share(2):6.2f} {f.share(5):7.3f} {f.share(20):7.2f} {design.asked_hz:6.0f}"
            f" {f.samples / f.seconds:6.0f} {gaps:>22} {f.cpu:7.2%} {f.waited_ns / f.seconds / 1e9:7.1%}"
            f" {format_spread(f.slower):>18}"
        )
    if noise:
        print(f"{'(none: noise of the machine)':28} {format_spread(noise):>101}")


def format_spread(ratios: list[float]) -> str:
    """The median, and the quarters in the middle."""
    if len(ratios) < 2:
        return f"{ratios[0]:+.1%}" if ratios else "-"
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return f"{middle:+.1%} ({low:+.0%} {high:+.0%})"


def show_goals(ours: str, figures: dict[str, dict[str, Figures]], noise: list[float]) -> None:
    busy = {load: of[ours] for load, of in figures.items() if LOADS[load]}
    share = min(f.share(5) for f in busy.values())
    cpu = max(of[ours].cpu for of in figures.values())
    slower = max(statistics.median(f.slower) for f in busy.values())
    usual = statistics.median(map(abs, noise))
    print(f"\nGoals for {ours}")
    for what, value, goal, met in (
        ("5 ms spikes caught while pytest is busy", share, f"{SMALLEST_SHARE:.0%} or more", share >= SMALLEST_SHARE),
        ("CPU of the sampler", cpu, f"{LARGEST_CPU:.0%} of a core or less", cpu <= LARGEST_CPU),
        ("slow-down of the test's code", slower, f"within noise, {usual:.1%} here", slower <= usual),
    ):
        print(f"  {what:40} {value:7.1%}   goal: {goal:28} {'met' if met else 'MISSED'}")


# --------------------------------------------------------------------------------------------------------------- main


def all_designs(library: Path, folder: Path) -> list[Design]:
    designs: list[Design] = [Ours(DEFAULT_HZ), Ours(2 * DEFAULT_HZ), Ours(DEFAULT_HZ, tree=True)]
    designs.append(PynvmlThread(DEFAULT_HZ))
    try:
        designs.append(NvitopThread(importlib.import_module("nvitop"), DEFAULT_HZ))
    except ImportError:
        print("nvitop is not installed and left out")
    return [*designs, NvidiaSmiThread(library, folder)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short rounds, in about a minute")
    quick = parser.parse_args().quick
    rounds, bursts = (2, 1) if quick else (5, 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build_library(folder)
        delays = [Delay(function, us * 1000, spin=us < 1000) for function, us in LATENCIES_US.items()]
        gpu = ScriptedDevice(
            uuid=UUID, total=24 * GIB, used=2 * GIB, processes=[ScriptedProcess(os.getpid(), used=GIB)]
        )
        live = LiveScenario.create(folder / "scenario", Scenario([gpu], delays=delays))
        os.environ.update(live.environment(library))
        bring_library_into_this_process(library)
        designs = all_designs(library, folder)
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} before the run")
        stage, noise = Stage(live), []
        figures = {load: {design.name: Figures() for design in designs} for load in LOADS}
        for load, of in figures.items():
            spent = [x for _ in range(rounds) for x in run_round(stage, designs, load, bursts, of)]
            noise += spent
            show(load, designs, of, spent)
        show_goals(designs[0].name, figures, noise)
        print(f"\nload average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
