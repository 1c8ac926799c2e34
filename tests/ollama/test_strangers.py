"""Others who use an attached Ollama are noticed by its queue and by the slots of the runner."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.helpers.strangers import asking
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

SUITE = """
@pytest.mark.throughput_budget(output="0.0001 tok/s")
@pytest.mark.latency_budget(e2e_max="60 s")
def test_one(llm_client):
    for _ in range(3):
        llm_client.generate("Hello", max_tokens=40)
"""
OWN_QUEUE = """
@pytest.mark.latency_budget(e2e_max="60 s")
def test_its_own_queue(llm_client):
    llm_client.run(["One", "Two", "Three", "Four"], concurrency=4, max_tokens=20)
"""


@pytest.fixture(autouse=True)
def takes_its_time(ollama: OllamaRuns) -> None:
    ollama.is_like(token_seconds=0.01)


def attach(runs: Runs, server: str, suite: str = SUITE) -> pytest.RunResult:
    return runs.plain(suite, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://{server}", "--llmperf-strict")


def stranger(server: str) -> tuple[str, dict[str, object]]:
    options = {"num_ctx": 4096, "num_predict": 40}
    return f"http://{server}/api/generate", {"model": MODEL, "prompt": "Hi", "stream": False, "options": options}


def test_alone_it_is_judged(server: str, runs: Runs) -> None:
    result = attach(runs, server, SUITE + OWN_QUEUE)
    result.assert_outcomes(passed=2)


def test_a_queue_that_is_not_the_tests_own_is_that_of_others(server: str, runs: Runs) -> None:
    with asking(*stranger(server), number=3):
        result = attach(runs, server)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*latency.e2e_max INVALID: others used the server: * of 3 requests waited up to * ms for a slot that no *"]
    )


@pytest.mark.parametrize("slots", [4])
def test_where_there_is_room_for_all_the_slots_tell(
    ollama: OllamaRuns, runs: Runs, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, slots: int
) -> None:
    monkeypatch.setitem(os.environ, "OLLAMA_NUM_PARALLEL", str(slots))
    server = request.getfixturevalue("server")
    with asking(*stranger(server)):
        result = attach(runs, server)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*latency.e2e_max INVALID: others used the server: 2 of its slots were busy with 1 request of the test *"]
    )
