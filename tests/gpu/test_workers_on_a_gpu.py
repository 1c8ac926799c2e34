"""pytest-xdist on GPUs: what one worker knew of a device before its engine came holds for all; or each has a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB, ScriptedDevice
from tests.gpu.gpu_runs import MIB, UUID, one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

    Host = Callable[[Scenario], GpuRuns]

pytest.importorskip("xdist", reason="pytest-xdist is not installed")
OTHER = "GPU-11111111-1111-1111-1111-111111111111"

BOTH_WORKERS = """
@pytest.fixture
def seen():
    Path(os.environ["PYTEST_XDIST_WORKER"]).touch()

@pytest.mark.memory_budget(peak="4 GiB")
@pytest.mark.latency_budget(ttft_max="20 s")
@pytest.mark.parametrize("number", range(4))
def test_answer({on_gpu}, seen, llm_client, number):
    assert llm_client.generate("x", max_tokens=4).text
"""
# The driver lists no process of the engine, as in containers: only the level before it came tells what is its own.
UNLISTED = """
@pytest.fixture
def unlisted(gpu, llm_engine):
    gpu.set(UUID, used=2 * GIB + 300 * MIB)
"""


def test_workers_that_share_an_engine_share_what_was_known_of_its_device(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu(used=300 * MIB))
    source = UNLISTED + BOTH_WORKERS.format(on_gpu="unlisted")
    result = runs(source, "-n2", "--llmperf-strict", "--llmperf-busy-gpu=fail")
    result.assert_outcomes(passed=4)
    memories = [measured["devices"][0]["memory"] for measured in runs.measurements]
    assert [(memory["attribution"], memory["peak_bytes"]) for memory in memories] == [("exclusive", 2 * GIB)] * 4
    assert len(list(runs.folder.glob("gw*"))) == 2


def test_each_worker_has_a_device_of_its_own_before_anything_is_imported(gpu_runs: Host) -> None:
    scenario = one_gpu()
    scenario.devices.append(ScriptedDevice(uuid=OTHER, total=24 * GIB))
    runs = gpu_runs(scenario)
    source = """
    MINE = os.environ["CUDA_VISIBLE_DEVICES"]

    @pytest.mark.memory_budget(peak="4 GiB")
    @pytest.mark.parametrize("number", range(4))
    def test_answer(gpu, llm_engine, llm_client, number):
        gpu.set_process(MINE, ScriptedProcess(llm_engine.pids[0], used=2 * GIB))
        gpu.set(MINE, used=2 * GIB)
        assert llm_client.generate("x", max_tokens=4).text
        assert [device.uuid for device in llm_engine.devices] == [MINE]
        assert Path("conftest-saw").read_text()
    """
    runs.conftest('import os\nopen("conftest-saw", "a").write(os.environ.get("CUDA_VISIBLE_DEVICES", "") + "\\n")')
    result = runs(source, "-nauto", "--llmperf-share=devices", "--llmperf-strict")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 workers *"])
    seen = {device["device"]["uuid"] for measured in runs.measurements for device in measured["devices"]}
    assert seen == {UUID, OTHER}
    assert set((runs.folder / "conftest-saw").read_text(encoding="utf-8").split()) == {UUID, OTHER}


def test_the_chosen_devices_are_shared_out_and_too_few_are_refused(gpu_runs: Host) -> None:
    scenario = one_gpu()
    scenario.devices.append(ScriptedDevice(uuid=OTHER, total=24 * GIB))
    runs = gpu_runs(scenario)
    source = "def test_answer(llm_engine): ..."
    result = runs(source, "-n2", "--llmperf-share=devices", "--llmperf-gpus=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*2 workers, and 1 device: use -n1, or --llmperf-share=engine"])


def test_a_worker_that_takes_the_place_of_a_crashed_one_inherits_its_device(gpu_runs: Host) -> None:
    runs = gpu_runs(one_gpu())
    source = """
    @pytest.mark.parametrize("number", range(2))
    def test_answer(gpu, llm_engine, number):
        Path(f"had-{number}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        number or os.abort()
    """
    runs(source, "-n1", "--llmperf-share=devices").assert_outcomes(passed=1, failed=1)
    assert [(runs.folder / f"had-{number}").read_text(encoding="utf-8") for number in range(2)] == [UUID, UUID]
