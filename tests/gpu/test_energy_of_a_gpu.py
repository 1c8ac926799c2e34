"""Energy budgets, end to end: joules from the counter, per token, above idle, and when there is no number."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import ScriptedInstance
from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

# 30 W before, 230 W from the first token to the last.
TWO_SECONDS = """
@pytest.mark.energy_budget({limits})
def test_energy(on_gpu, llm_client):
    on_gpu.set(UUID, power=[(0, 30_000), (time.monotonic_ns(), 230_000)])
    assert llm_client.generate("x", max_tokens=10, simulate={{"ttft": "{seconds} s"}}).text
"""


def energy_test(seconds: str = "2.2", **limits: str) -> str:
    return TWO_SECONDS.format(seconds=seconds, limits=", ".join(f"{key}={text!r}" for key, text in limits.items()))


def test_energy_is_read_from_the_counter_and_held_against_its_budgets(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(energy_test(total="5 kJ", per_output_token="1 J/tok", mean_power="400 W"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["energy.per_output_token *J/tok (*) > 1 J/tok * on NVIDIA L4"])
    verdicts = {v["name"]: v["status"] for v in runs.verdicts}
    assert verdicts == {"energy.total": "PASS", "energy.per_output_token": "FAIL", "energy.mean_power": "PASS"}
    (measured,) = runs.measurements
    energy, seconds = measured["devices"][0]["energy"], measured["window"]["seconds"]
    assert energy["joules"] == pytest.approx(230 * seconds, rel=0.03)
    assert energy["idle_watts"] == pytest.approx(30, rel=0.01)
    assert energy["above_idle_joules"] == pytest.approx(200 * seconds, rel=0.04)
    assert measured["readings"]["energy.mean_power"]["value"] == pytest.approx(230, rel=0.03)
    assert measured["readings"]["energy.per_output_token"]["value"] == pytest.approx(energy["joules"] / 10)


def test_a_test_that_is_too_short_for_the_sensor_has_no_energy(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu())(energy_test(seconds="0.1", total="5 kJ"), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["energy.total NOT MEASURED: *is too short for the energy sensor*"])


def test_a_counter_that_disagrees_with_the_power_is_not_to_be_trusted(gpu_runs: Host) -> None:
    result = gpu_runs(one_gpu(energy_percent=57))(energy_test(total="5 kJ"), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["energy.total INVALID: NVIDIA L4 *"])


def test_a_device_without_a_counter_says_so(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(energy_tick_ns=None))
    result = runs(energy_test(total="5 kJ"), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    sentence = "NVIDIA L4 (GPU-*): the driver gives no energy counter"
    result.stdout.fnmatch_lines([f"energy.total NOT MEASURED: {sentence}"])
    (measured,) = runs.measurements
    assert any(
        fnmatch(text, sentence.replace("(GPU-*)", "*")) for text in measured["devices"][0]["conditions"]["unknown"]
    )


def test_the_energy_of_a_slice_of_a_gpu_is_nobodys(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(name="NVIDIA A100", mig=[ScriptedInstance(uuid="MIG-1111")]))
    result = runs(energy_test(total="5 kJ").replace("on_gpu", "gpu"), "--llmperf-strict", "--llmperf-gpus=MIG-1111")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["energy.total NOT MEASURED: NVIDIA A100 MIG * whole GPU*"])
    (measured,) = runs.measurements
    assert measured["devices"][0]["device"]["uuid"] == "MIG-1111"
