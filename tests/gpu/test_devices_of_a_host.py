"""What is known of scripted devices through a sampler of their own, without an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.telemetry.analysis.attribution import Baseline
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.sampler.client import Sampler
from pytest_llmperf.testing import Fault
from tests.gpu.fake_library import LiveScenario
from tests.gpu.gpu_runs import MIB, one_gpu

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_device_has_a_baseline_from_the_moment_that_it_is_sampled(
    fake_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = one_gpu(used=300 * MIB)
    scenario.faults.append(Fault("nvmlDeviceGetComputeRunningProcesses_v3", 4))
    for name, value in LiveScenario.create(tmp_path / "scenario", scenario).environment(fake_library).items():
        monkeypatch.setenv(name, value)
    sampler = Sampler()
    sampler.start(10)
    try:
        devices = Devices(sampler)
        devices.open()
        (facts,), _ = devices.filter_visible(None, None)
        devices.sample([facts])
        assert devices.baselines([facts]) == {facts.slot: Baseline(300 * MIB, None)}
    finally:
        sampler.stop()
