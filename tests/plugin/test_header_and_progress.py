"""What is said before and while tests run: the header line, and how the engine's start is going."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

ASKS = "def test_asks(llm_client):\n    llm_client.generate('x', max_tokens=2)\n"


def test_the_header_names_engine_model_device_and_sampling(runs: Runs) -> None:
    result = runs(ASKS, "--llmperf-sample-hz=50", "--llmperf-strict", model="tiny")
    result.stdout.fnmatch_lines(["llmperf: engine simulated (tiny); CPU *; memory at 50 samples/s; strict"])


def test_the_header_of_a_run_with_workers_says_where_engines_run(runs: Runs) -> None:
    pytest.importorskip("xdist")
    result = runs(ASKS, "-n1")
    result.stdout.fnmatch_lines(["llmperf: engine simulated *; one engine for all workers"])


def test_a_run_without_an_engine_has_no_header(runs: Runs) -> None:
    runs.plain("def test_plain():\n    pass\n").stdout.no_fnmatch_line("*llmperf: *")


@pytest.mark.parametrize("options", [(), ("-v",), ("-q",), ("-s",), ("-p", "no:capture")], ids=" ".join)
def test_the_start_of_the_engine_is_told_live(runs: Runs, options: tuple[str, ...]) -> None:
    result = runs(ASKS, *options)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*llmperf: simulated: loading simulated", "*llmperf: simulated: * ready after * s"])


def test_a_long_start_shows_a_sign_of_life(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.lifecycle.server_deployment.PROGRESS_SECONDS", 0.2)
    result = runs(ASKS, startup_time="700 ms")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["llmperf: simulated: still loading after * s*", "llmperf: simulated: * ready after *"])
