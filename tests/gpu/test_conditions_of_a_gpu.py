"""The cause beside the number: slowed down by heat, by its power cap, by others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

SLOWED = """
@pytest.mark.memory_budget(peak="3 GiB")
@pytest.mark.latency_budget(ttft_max="5 s", e2e_max="1 ms")
@pytest.mark.throughput_budget(output="1 tok/s", requests="1000 req/s")
def test_slowed(on_gpu, llm_client):
    on_gpu.add_throttle(UUID, Throttle({field}, start_ns=time.monotonic_ns()))
    assert llm_client.generate("x", max_tokens=4, simulate={{"ttft": "400 ms"}}).text
"""

HELD_BACK = """
@pytest.mark.memory_budget(peak="3 GiB")
@pytest.mark.latency_budget(ttft_max="5 s")
@pytest.mark.throughput_budget(output="1 tok/s")
def test_slowed(on_gpu, llm_client):
    on_gpu.add_throttle(UUID, Throttle({field}, start_ns=time.monotonic_ns()))
    assert llm_client.generate("x", max_tokens=4, simulate={{"ttft": "400 ms"}}).text
"""


@pytest.mark.parametrize(
    ("field", "name"), [(269, "software thermal"), (270, "hardware thermal"), (271, "power brake")]
)
def test_a_slowed_device_breaks_no_limit_on_times_and_rates_and_undoes_none_that_holds(
    gpu_runs: Host, field: int, name: str
) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(SLOWED.format(field=field), "--llmperf-strict")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"throughput.requests INVALID: NVIDIA L4 *: *{name} held the clocks back*", "device *", f"*{name} *"]
    )
    assert {v["name"]: v["status"] for v in runs.verdicts} == {
        "latency.ttft_max": "PASS",
        "latency.e2e_max": "INVALID",
        "throughput.output": "PASS",
        "throughput.requests": "INVALID",
        "memory.peak": "PASS",
    }
    (measured,) = runs.measurements
    throttled = measured["devices"][0]["conditions"]["throttled_s"]
    assert max(throttled.values()) == pytest.approx(measured["window"]["seconds"], abs=0.3)


def test_a_power_cap_is_told_of_and_no_reason_against_a_verdict(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    runs(HELD_BACK.format(field=74), "--llmperf-strict").assert_outcomes(passed=1)
    (measured,) = runs.measurements
    state = measured["devices"][0]["conditions"]
    assert state["throttled_s"]["software power cap"] > 0
    assert "slowdown" not in state


def test_a_stranger_that_comes_during_a_test_breaks_no_limit_on_its_times(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(
        """
        @pytest.mark.memory_budget(peak="3 GiB")
        @pytest.mark.latency_budget(ttft_max="5 ms")
        def test_disturbed(on_gpu, llm_client):
            on_gpu.set_process(UUID, ScriptedProcess(4_000_001, used=GIB, name="trainer"))
            on_gpu.set(UUID, used=3 * GIB)
            assert llm_client.generate("x", max_tokens=4, simulate={"ttft": "1.5 s"}).text
        """,
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*latency.ttft_max INVALID: *4000001 (trainer)*"])
    (measured,) = runs.measurements
    (device,) = measured["devices"]
    assert device["conditions"]["newcomers"] == [{"pid": 4_000_001, "name": "trainer"}]
    assert device["memory"]["attribution"] == "pids"


def test_temperature_clock_and_utilization_stand_in_the_report(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(temperature=61, memory_temperature=70, sm_clock=1980, utilization=97))
    runs(HELD_BACK.format(field=74)).assert_outcomes(passed=1)
    state = runs.measurements[0]["devices"][0]["conditions"]
    assert (state["temperature_c"], state["memory_temperature_c"]) == ([61, 61], [70, 70])
    assert (state["sm_clock_mhz"], state["utilization"]) == (1980, pytest.approx(0.97))
