"""What forwards to a server is not taken for the engine: its memory is NOT MEASURED, whatever it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.forwarder import WAYS, forwarder
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Runs
    from tests.helpers.simulated_process import Running

MIB = 1 << 20
SUITE = """
@pytest.mark.memory_budget(peak="1 GiB")
@pytest.mark.latency_budget(ttft_max="60 s")
def test_one(llm_client, llm_engine):
    llm_client.chat("Hello", max_tokens=2)

@pytest.mark.memory_budget(host_peak="1 GiB")
def test_host(llm_client, llm_engine):
    llm_client.chat("Hello", max_tokens=2)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """A server whose answers take long enough to be seen on their way."""
    with serving(tmp_path, ttft="800 ms", memory=f"{64 * MIB} B") as server:
        yield server


def attach(runs: Runs, port: int, *options: str) -> pytest.RunResult:
    return runs.plain(SUITE, "--llm-engine=openai", f"--llmperf-url=http://127.0.0.1:{port}", *options)


def test_the_server_itself_is_measured(server: Running, runs: Runs) -> None:
    result = attach(runs, server.port, "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])


@pytest.mark.parametrize("held_bytes", [32 * MIB, 100 * MIB])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_connected_to_another_server_is_not(server: Running, runs: Runs, way: str, held_bytes: int) -> None:
    with forwarder(server.port, way, held_bytes) as port:
        result = attach(runs, port, "--llmperf-strict")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            f"memory.peak NOT MEASURED: process * (*) holds * MiB and is connected to 127.0.0.1:{server.port}: it *",
            f"memory.host_peak NOT MEASURED: process * and is connected to 127.0.0.1:{server.port}: *",
            "budgets: 1 PASS, 2 NOT MEASURED",
        ]
    )


def test_the_pid_of_the_engine_behind_it_is_enough(server: Running, runs: Runs) -> None:
    with forwarder(server.port) as port:
        result = attach(runs, port, "--llmperf-strict", f"--llmperf-engine-arg=pid={server.process.pid}")
    result.assert_outcomes(passed=2)


def test_a_pid_that_is_none_is_refused(server: Running, runs: Runs) -> None:
    result = attach(runs, server.port, "--llmperf-engine-arg=pid=none")
    result.stderr.fnmatch_lines(["ERROR: llmperf: openai: pid='none' is no process of this host"])
