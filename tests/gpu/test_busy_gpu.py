"""Before the first engine starts the device must be quiet."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB, ScriptedDevice, ScriptedProcess
from tests.gpu.gpu_runs import UUID, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

ANSWER = """
@pytest.mark.memory_budget(peak="3 GiB")
def test_answer(on_gpu, llm_client):
    assert llm_client.generate("x", max_tokens=4).text
"""


def busy() -> Scenario:
    return one_gpu(used=5 * GIB, processes=[ScriptedProcess(4_000_001, used=5 * GIB, name="trainer")])


@pytest.mark.parametrize("how", ["--llmperf-busy-gpu=fail", "CI"])
def test_a_stranger_fails_the_tests_where_that_is_asked_for_and_in_ci(
    gpu_runs: Host, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "CI":
        monkeypatch.setenv("CI", "true")
    result = gpu_runs(busy())(ANSWER, *([] if how == "CI" else [how]))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["the GPU is busy before the first engine starts: 4000001 (trainer) computes on NVIDIA L4; *-busy-gpu=warn"]
    )


def test_elsewhere_it_is_a_warning(gpu_runs: Host) -> None:
    result = gpu_runs(busy())(ANSWER)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        ["llmperf: warning: the GPU is busy before the first engine starts: 4000001 (trainer) *"]
    )


def test_one_that_is_about_to_end_is_waited_for(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    now = runs.live.now_ns
    runs.live.set_process(UUID, ScriptedProcess(4_000_001, used=GIB, end_ns=now + 6 * 10**9))
    runs(ANSWER, "--llmperf-busy-gpu=fail").assert_outcomes(passed=1)


def test_memory_that_does_not_settle_is_told_of(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    now = runs.live.now_ns
    steps = [(now + n * 200_000_000, (1 + n % 2) * GIB) for n in range(30)]
    runs.live.set(UUID, used=steps)
    result = runs(ANSWER.replace("on_gpu, ", ""))
    result.assert_outcomes(passed=1)


def test_a_gpu_that_only_a_later_engine_uses_is_looked_at_before_that_one(
    gpu_runs: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    scenario = one_gpu(power=30_000)
    trainer = ScriptedProcess(4_000_001, used=5 * GIB, name="trainer")
    scenario.devices.append(
        ScriptedDevice(
            uuid="GPU-11111111", name="NVIDIA H100", total=24 * GIB, used=5 * GIB, power=70_000, processes=[trainer]
        )
    )
    runs = gpu_runs(scenario)
    result = runs(
        """
        @pytest.fixture(scope="session")
        def both(llm_engine, llm_engine_factory):
            Path("first").write_text(llm_engine.devices[0].name)
            os.environ["CUDA_VISIBLE_DEVICES"] = "1"
            return llm_engine_factory("simulated", args={"device": "gpu"})

        @pytest.mark.energy_budget(total="5 kJ")
        def test_idle(both, llm_engine_factory):
            time.sleep(2.2)
        """
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["llmperf: warning: *4000001 (trainer) computes on NVIDIA H100"])
    (measured,) = runs.measurements
    idle = {each["device"]["name"]: each["energy"]["idle_watts"] for each in measured["devices"]}
    assert idle == {"NVIDIA L4": pytest.approx(30, rel=0.02), "NVIDIA H100": pytest.approx(70, rel=0.02)}


NEIGHBOUR = """
import sys, time
while True:
    held = bytearray(int(sys.argv[1]))
    time.sleep(0.05)
    del held
    time.sleep(0.05)
"""


def test_on_unified_memory_a_neighbour_that_allocates_disturbs_no_engine(
    gpu_runs: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    runs = gpu_runs(one_gpu(unified=True, name="NVIDIA GB10"))
    source = """
    @pytest.mark.memory_budget(peak="64 GiB", retained="16 GiB")
    def test_answer(llm_client):
        assert llm_client.generate("x", max_tokens=4).text
    """
    with subprocess.Popen([sys.executable, "-c", NEIGHBOUR, str(256 << 20)]) as neighbour:
        try:
            result = runs(source)
        finally:
            neighbour.kill()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*does not settle*")


@pytest.mark.parametrize("text", ["maybe", ""])
def test_another_word_is_refused(gpu_runs: Host, text: str) -> None:
    result = gpu_runs(one_gpu())(ANSWER, f"--llmperf-busy-gpu={text}")
    result.stderr.fnmatch_lines([f"ERROR: *--llmperf-busy-gpu={text} is neither fail nor warn"])
