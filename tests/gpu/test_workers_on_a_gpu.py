"""pytest-xdist on a GPU: one sampler, each worker's engine measured as its own, none a stranger to the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.testing import GIB
from tests.gpu.gpu_runs import one_gpu

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.testing import Scenario
    from tests.gpu.gpu_runs import GpuRuns

pytest.importorskip("xdist", reason="pytest-xdist is not installed")

EACH_ITS_OWN = """
import fcntl

def join(gpu, pid, used):
    # Both workers change the device: one after the other.
    with open("lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        gpu.set_process(UUID, ScriptedProcess(pid, used=used))
        sizes = Path("level")
        level = int(sizes.read_text() if sizes.exists() else 0) + used
        sizes.write_text(str(level))
        gpu.set(UUID, used=level)

@pytest.fixture
def joined(llm_engine, gpu, used):
    # Both engines are on the device before either is measured.
    join(gpu, llm_engine.pids[0], used * GIB)
    Path(f"joined-{used}").touch()
    deadline = time.monotonic() + 60
    while len(list(Path().glob("joined-*"))) < 2:
        assert time.monotonic() < deadline, "the other worker never came"
        time.sleep(0.05)
    yield
    # An engine that ends is no longer in the list; until both were measured, both stay.
    Path(f"measured-{used}").touch()
    while len(list(Path().glob("measured-*"))) < 2:
        assert time.monotonic() < deadline, "the other worker never measured"
        time.sleep(0.05)

@pytest.mark.memory_budget(peak="4 GiB")
@pytest.mark.latency_budget(ttft_max="20 s")
@pytest.mark.parametrize("used", [2, 3])
def test_own(joined, llm_client):
    assert llm_client.generate("x", max_tokens=4).text
"""


def test_each_workers_engine_is_measured_as_its_own_and_no_stranger_to_the_other(
    gpu_runs: Callable[[Scenario], GpuRuns],
) -> None:
    runs = gpu_runs(one_gpu())
    result = runs(EACH_ITS_OWN, "-n2", "--llmperf-strict", "--llmperf-busy-gpu=fail")
    result.assert_outcomes(passed=2)
    memories = [measured["devices"][0]["memory"] for measured in runs.measurements]
    assert {memory["rung"] for memory in memories} == {"pids"}
    assert sorted(memory["timeline"][-1][1] for memory in memories) == [2 * GIB, 3 * GIB]
