"""Each model of a server has the memory of its own runner, and what else the server holds is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.ollama.api import OllamaAPI
from tests.helpers.forwarder import WAYS, forwarder
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

MIB = 1 << 20
OTHER = "qwen:tiny"

BESIDE = """
@pytest.fixture(scope="module")
def other(llm_engine_factory):
    return llm_engine_factory("ollama", model="qwen:tiny")
"""

# The double's server takes some 30 MiB, a runner 20 MiB beside what its model takes.
SMALL = """
@pytest.mark.memory_budget(peak="150 MiB")
def test_small(llm_client):
    llm_client.generate("Hello", max_tokens=2)
"""


@pytest.fixture(autouse=True)
def one_is_large(ollama: OllamaRuns) -> None:
    ollama.is_like(memory_bytes={OTHER: 300 * MIB})


def test_a_model_does_not_count_the_other_one_of_its_test(ollama: OllamaRuns) -> None:
    result = ollama(
        BESIDE
        + """
@pytest.mark.memory_budget(peak="150 MiB", engine="ollama:smollm2*")
@pytest.mark.memory_budget(peak="400 MiB", engine="ollama:qwen*")
def test_each_its_own(llm_client, other, llm_perf):
    llm_client.generate("Hello", max_tokens=2)
    small, large, both = (
        llm_perf.read("memory.peak", engine="ollama:smollm2*").value,
        llm_perf.read("memory.peak", engine="ollama:qwen*").value,
        llm_perf.read("memory.peak").value,
    )
    assert large - small > 250 * 2**20
    # Both have the server's own process, which is one.
    assert large < both < small + large
    assert "not counted: qwen:tiny (" in llm_perf.read("memory.peak", engine="ollama:smollm2*").how
    assert "not counted" not in llm_perf.read("memory.peak").how
"""
    )
    result.assert_outcomes(passed=1)


def test_a_model_that_another_test_has_loaded_is_not_counted_and_named(ollama: OllamaRuns) -> None:
    result = ollama(f"{BESIDE}\ndef test_loads_the_other(llm_engine, other): pass\n{SMALL}", "-v")
    result.assert_outcomes(passed=2)


def test_of_a_server_that_others_use_only_the_runner_counts(server: str, ollama: OllamaRuns, runs: Runs) -> None:
    OllamaAPI(f"http://{server}").start_model(OTHER, {}, "10m", 60)
    result = runs.plain(SMALL, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://{server}")
    result.assert_outcomes(passed=1)


def test_memory_that_is_not_told_by_process_is_not_measured_while_the_server_holds_others(
    server: str, runs: Runs
) -> None:
    """As for a device whose driver lists no processes."""
    OllamaAPI(f"http://{server}").start_model(OTHER, {}, "10m", 60)
    whole = """
from dataclasses import replace
from pytest_llmperf.plugin.measuring.engine_telemetry import EngineTelemetry

@pytest.fixture(autouse=True)
def whole(monkeypatch):
    memory = EngineTelemetry.memory
    def read(self, window, engines):
        trace, reason = memory(self, window, engines)
        return replace(trace, attribution="device"), reason
    monkeypatch.setattr(EngineTelemetry, "memory", read)
"""
    result = runs.plain(
        whole + SMALL, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://{server}", "--llmperf-strict"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["memory.peak NOT MEASURED: the server also holds qwen:tiny (*), and the processes *"])


def test_the_level_after_unloading_is_the_servers_own_whatever_else_it_holds(ollama: OllamaRuns) -> None:
    result = ollama(
        BESIDE
        + """
@pytest.mark.memory_budget(unloaded="80 MiB", engine="ollama:smollm2*")
def test_unloaded(other, llm_engine):
    assert llm_engine.memory().resident < 150 * 2**20 < other.memory().resident
    llm_engine.unload()
"""
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("way", WAYS)
def test_what_forwards_to_a_server_is_not_taken_for_it(server: str, runs: Runs, way: str) -> None:
    with forwarder(int(server.rpartition(":")[2]), way, 32 * MIB) as port:
        result = runs.plain(
            SMALL, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://127.0.0.1:{port}", "--llmperf-strict"
        )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"memory.peak NOT MEASURED: no process below process * (*), which listens at http://127.0.0.1:{port}, has "
            f"the file of {MODEL}: it seems to forward requests to the server; give the server's own address, *"
        ]
    )
