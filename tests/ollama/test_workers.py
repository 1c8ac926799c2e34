"""Workers of pytest-xdist share one server and its models, and judge them alike."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helpers.engine_processes import own_tmp

if TYPE_CHECKING:
    from tests.ollama.conftest import OllamaRuns

pytest.importorskip("xdist")
__all__ = ["own_tmp"]


@pytest.mark.usefixtures("own_tmp")
def test_two_workers_find_one_server_and_its_model_and_leave_nothing(
    ollama: OllamaRuns, pytester: pytest.Pytester
) -> None:
    source = """
    import os

    @pytest.mark.latency_budget(startup="60 s")
    @pytest.mark.memory_budget(kv_cache="1 MiB", growth="64 MiB")
    @pytest.mark.parametrize("number", range(4))
    def test_one(llm_client, llm_engine, number):
        assert llm_client.generate("Hello", max_tokens=4).text
        with open("log", "a") as file:
            print(os.environ["PYTEST_XDIST_WORKER"], *llm_engine.pids, file=file)
    """
    result = ollama(source, "-n2", "--llmperf-strict")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["budgets: 12 PASS"])
    assert result.stdout.str().count("loaded at http") == 1
    rows = [line.split() for line in (pytester.path / "log").read_text(encoding="utf-8").splitlines()]
    assert len({worker for worker, _ in rows}) == 2
    (server,) = {int(pid) for _, pid in rows}
    with pytest.raises(ProcessLookupError):
        os.kill(server, 0)
