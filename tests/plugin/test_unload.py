"""An engine of one server and one model unloads by ending: what is left is what the others hold, and it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.engines.llamacpp.test_engine import LLAMA_SERVER

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

Options = list[str]


@pytest.fixture
def llamacpp(tmp_path: Path) -> Options:
    server, model = tmp_path / "llama-server", tmp_path / "tiny.gguf"
    server.write_text(LLAMA_SERVER, encoding="utf-8")
    server.chmod(0o755)
    model.write_bytes(b"GGUF")
    return ["--llm-engine=llamacpp", f"--llmperf-model={model}", f"--llmperf-engine-bin={server}"]


def test_nothing_is_left_of_it_and_the_next_test_finds_it_started(runs: Runs, llamacpp: Options) -> None:
    result = runs.plain(
        """
        import time

        @pytest.mark.memory_budget(peak="1 GiB", unloaded="1 MiB")
        def test_unloaded(llm_engine, llm_perf):
            before = llm_engine.pids
            llm_engine.unload()
            assert (llm_engine.pids, llm_engine.state.value) == ((), "unloaded")
            assert llm_perf.read("memory.unloaded").value == 0
            assert llm_perf.read("memory.peak").value > 2**20
            with llm_perf.window("empty") as window:
                time.sleep(0.3)
            assert window.read("memory.peak").value == 0

        @pytest.mark.memory_budget(peak="1 GiB")
        def test_next(llm_engine):
            assert llm_engine.pids and llm_engine.state.value == "ready"

        @pytest.mark.memory_budget(unloaded="1 GiB")
        def test_it_wakes(llm_engine):
            llm_engine.unload()
            llm_engine.wake()
            assert llm_engine.pids
        """,
        *llamacpp,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["llmperf: llamacpp was left without its model; loading it again", "budgets: 4 PASS"])


def test_of_two_engines_the_other_is_what_is_left(runs: Runs, llamacpp: Options) -> None:
    result = runs.plain(
        """
        @pytest.fixture(scope="module")
        def simulated(llm_engine_factory):
            return llm_engine_factory("simulated", args={"memory": "64 MiB"})

        @pytest.mark.memory_budget(peak="1 GiB", unloaded="1 GiB")
        def test_unloaded(llm_engine, simulated, llm_engine_factory, llm_perf):
            full = llm_perf.read("memory.peak").value
            llm_engine.unload()
            assert 64 * 2**20 < llm_perf.read("memory.unloaded").value < full - 2**20

        @pytest.mark.memory_budget(peak="1 GiB")
        def test_the_one_that_stays_unloaded_disturbs_nobody(llm_engine_factory, llm_perf):
            assert llm_perf.read("memory.peak").value > 64 * 2**20
        """,
        *llamacpp,
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])
