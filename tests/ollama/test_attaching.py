"""A server that runs already is used and left running, with word of what was loaded there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.lifecycle.http import find_free_port
from pytest_llmperf.engines.ollama.api import OllamaAPI
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

SUITE = """
@pytest.mark.memory_budget(peak="1 GiB", kv_reserved="90 MiB")
@pytest.mark.throughput_budget(output="1 tok/s")
def test_one(llm_client, llm_engine):
    assert llm_client.generate("Hello", max_tokens=2).text
    assert llm_engine.pids
    with pytest.raises(Exception, match="was not started here"):
        llm_engine.restart()
"""


def test_it_is_used_and_left_as_it_is(server: str, runs: Runs) -> None:
    result = runs.plain(SUITE, f"--llm-engine=ollama:{MODEL}", f"--llmperf-url=http://{server}")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(
        [
            f"llmperf: ollama: {MODEL} loaded at http://{server} in * s for this run",
            "budgets: 3 PASS",
        ]
    )
    assert OllamaAPI(f"http://{server}").list_loaded() == []


def test_the_variable_of_ollama_itself_names_it_and_what_is_loaded_already_stays(
    server: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", server)
    OllamaAPI(f"http://{server}").start_model(MODEL, {"num_ctx": 4096}, "2m", 60)
    result = runs.plain(
        "def test_one(llm_client, llm_engine):\n"
        "    assert llm_client.chat('Hello', max_tokens=2).text\n"
        "    assert llm_engine.startup_time is None\n",
        f"--llm-engine=ollama:{MODEL}",
    )
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("llmperf: ollama: *load*")


def test_a_model_that_is_not_there_is_pulled_into_it_only_when_that_is_asked_for(server: str, runs: Runs) -> None:
    suite = "def test_one(llm_client): assert llm_client.chat('Hello', max_tokens=2).text"
    attached = ["--llm-engine=ollama:hub:1b", f"--llmperf-url=http://{server}"]
    result = runs.plain(suite, *attached)
    result.stdout.fnmatch_lines(["*ollama: the server has no model 'hub:1b': ollama pull hub:1b gets it, or *"])
    runs.plain(suite, *attached, "--llmperf-pull").assert_outcomes(passed=1)


def test_what_is_set_where_a_server_is_started_is_refused(server: str, runs: Runs) -> None:
    result = runs.plain(
        SUITE, "--llm-engine=ollama", f"--llmperf-url=http://{server}", "--llmperf-engine-arg=num_parallel=4"
    )
    result.stderr.fnmatch_lines(
        [
            "ERROR: llmperf: ollama: num_parallel is set where the server is started (OLLAMA_NUM_PARALLEL), "
            "and this one runs already"
        ]
    )


def test_a_server_that_is_not_there_is_one_line(runs: Runs) -> None:
    result = runs.plain(SUITE, "--llm-engine=ollama", f"--llmperf-url=http://127.0.0.1:{find_free_port()}")
    result.stdout.fnmatch_lines(["ERROR *EngineUnavailable: no answer from http://127.0.0.1:*: Connection refused; *"])


def test_an_app_of_its_own_that_loads_it_otherwise_is_seen_without_its_processes(
    server: str, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_llmperf.engines.lifecycle.listeners._LOOPBACK", ())
    monkeypatch.setenv("LLMPERF_TEST_HOST", server)
    result = runs.plain(
        """
        import json, os, urllib.request

        @pytest.mark.throughput_budget(output="1 tok/s")
        def test_one(llm_client, llm_engine):
            llm_client.generate("Hello", max_tokens=2)
            body = {"model": llm_client.model, "prompt": "Hi", "stream": False, "options": {"num_ctx": 512}}
            url = f"http://{os.environ['LLMPERF_TEST_HOST']}/api/generate"
            urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()
        """,
        f"--llm-engine=ollama:{MODEL}",
        f"--llmperf-url=http://{server}",
        "--llmperf-strict",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"throughput.output INVALID: {MODEL} was loaded again during the test (it is another one than before, *"]
    )
