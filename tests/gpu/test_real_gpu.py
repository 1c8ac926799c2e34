"""Memory of known size, held for a known time on a real GPU, through the real sampler: for ``scripts/gpu-check``."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.device_traces import EngineBaselines
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.sampler.client import Sampler
from scripts.gpu_check.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.telemetry.records.source import DeviceFacts

pytestmark = pytest.mark.gpu

MIB = 2**20
HELD = 512 * MIB
SPIKE = 1024 * MIB
SPIKES = 20
# Levels move in steps of 2 MiB, and a driver may take a few more for itself.
TOLERANCE = 16 * MIB
# Asked before the tests' own environment is made.
VISIBLE = os.environ.get("CUDA_VISIBLE_DEVICES")


@dataclass
class Bench:
    """A program that is alone with its memory: everything known of it, as of an engine that was started here."""

    sampler: Sampler
    devices: Devices
    facts: DeviceFacts
    program: Program
    engine: EngineBaselines
    seconds: float = 0.0

    def over(self, what: Callable[[], None]) -> DeviceTrace:
        """What the device did meanwhile, for so many ``seconds``."""
        assert self.devices.edge(align=True) == ""
        start = time.monotonic_ns()
        what()
        window = Window(start, time.monotonic_ns())
        self.seconds = window.seconds
        assert self.devices.edge(align=True) == ""
        self.sampler.wait(window)
        (trace,) = self.devices.traces(window, [self.facts], [self.engine])
        assert (trace.memory.fault, trace.memory.missing) == ("", "")
        return trace

    def settled(self) -> int:
        level, reason = self.devices.wait_until_settled(self.facts, [self.engine], 30.0)
        assert level is not None, reason
        return level


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    sampler = Sampler()
    sampler.start()
    try:
        devices = Devices(sampler)
        devices.open()
        if devices.missing and not devices.present:
            pytest.skip("no NVIDIA driver here: scripts/gpu-check runs it on a machine with a GPU")
        assert not devices.missing
        facts = devices.filter_visible(VISIBLE, None)[0][0]
        devices.sample([facts])
        baselines = devices.baselines([facts])
        with Program(facts.uuid) as program:
            sampler.watch(program.pid)
            yield Bench(sampler, devices, facts, program, EngineBaselines((program.pid,), baselines))
    finally:
        sampler.stop()


def growth(trace: DeviceTrace) -> int:
    assert trace.memory.peak_bytes is not None
    assert trace.memory.before_bytes is not None
    return trace.memory.peak_bytes - trace.memory.before_bytes


def test_memory_that_is_held_is_the_programs_by_the_surest_attribution_there_is(bench: Bench) -> None:
    def hold() -> None:
        bench.program.hold("held", HELD)
        time.sleep(0.5)
        bench.program.free("held")

    trace = bench.over(hold)
    assert growth(trace) == pytest.approx(HELD, abs=TOLERANCE)
    listed = bench.devices.find_engine_devices(bench.engine, [bench.facts]) == (bench.facts,)
    assert trace.memory.attribution in (("pids", "nspid") if listed else ("exclusive", "rise"))


@pytest.mark.parametrize(("seconds", "at_least"), [(0.02, 18), (0.005, 10)], ids=["20ms", "5ms"])
def test_spikes_are_seen_at_their_full_height(
    bench: Bench, seconds: float, at_least: int, record_property: Callable[[str, object], None]
) -> None:
    spans: list[tuple[int, int]] = []
    trace = bench.over(lambda: spans.extend(bench.program.spikes(SPIKE, seconds=seconds, times=SPIKES)))
    assert growth(trace) == pytest.approx(SPIKE, abs=TOLERANCE)
    high = (trace.memory.before_bytes or 0) + SPIKE - TOLERANCE
    seen = sum(any(start <= t <= end and value >= high for t, value in trace.memory.samples) for start, end in spans)
    record_property("spikes_seen", f"{seen} of {SPIKES}")
    print(f"{seen} of {SPIKES} spikes of {seconds * 1e3:g} ms were seen, {trace.memory.source}")
    assert seen >= at_least


def test_what_is_not_given_back_is_retained_and_what_is_given_back_is_not(bench: Bench) -> None:
    before = bench.settled()
    bench.program.hold("kept", HELD)
    assert bench.settled() - before == pytest.approx(HELD, abs=TOLERANCE)
    bench.program.free("kept")
    assert bench.settled() - before == pytest.approx(0, abs=TOLERANCE)


def test_energy_of_three_busy_seconds_agrees_with_instant_power(bench: Bench) -> None:
    if bench.facts.parent:
        pytest.skip("a MIG instance has no energy counter of its own")

    def work() -> None:
        bench.program.begin_busy(3.0)
        bench.program.end_busy(3.0)

    energy = bench.over(work).energy
    assert energy.joules is not None, energy.reason
    assert energy.joules > 0
    assert energy.instant_watts is not None
    assert energy.instant_watts * bench.seconds == pytest.approx(energy.joules, rel=0.25)
    assert energy.fault == ""
    print(f"{energy.joules:.0f} J; {energy.instant_watts:.0f} W by instant power; {energy.how}")
