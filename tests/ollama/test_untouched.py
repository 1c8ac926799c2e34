"""A server that runs already is left as it was found: what it had loaded, for how long, with what, and its models."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle.listeners import find_listening_pids
from pytest_llmperf.engines.ollama.api import OllamaAPI
from pytest_llmperf.engines.ollama.runner import find_runner, list_runners
from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S, until
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

__all__ = ["own_tmp"]
pytestmark = pytest.mark.usefixtures("own_tmp")
TOKEN_BYTES = 23040
APP = """
import json, urllib.request

def app(llm_client, **body):
    data = {"model": llm_client.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4, **body}
    request = urllib.request.Request(f"{llm_client.base_url}/chat/completions", json.dumps(data).encode())
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)
"""
BUDGET = "@pytest.mark.throughput_budget(output='0.01 tok/s')"
ONE = """
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_one(llm_client, llm_engine):
    assert llm_client.generate("Hello", max_tokens=4).text
"""


class Owner:
    """Whoever has started the server and uses it."""

    def __init__(self, host: str) -> None:
        self.url = f"http://{host}"
        self.api = OllamaAPI(self.url)

    def ask(self, path: str, **body: object) -> None:
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode())
        urllib.request.urlopen(request, timeout=PATIENCE_S).close()

    def load(self, model: str = MODEL, keep_alive: str = "10m", **options: int) -> None:
        self.ask("/api/generate", model=model, keep_alive=keep_alive, options=options)

    def load_for_ever(self, model: str = MODEL, /, **options: int) -> dict[str, Any]:
        self.load(model, "-1m", **options)
        (found,) = self.found()
        return found

    def found(self) -> list[dict[str, Any]]:
        """What is loaded: its name, context and the options of its process, and the century until which it stays."""
        pids = find_listening_pids(self.url)
        loaded = [(entry, find_runner("", list_runners(pids))) for entry in self.api.list_loaded()]
        return [
            {
                "name": entry["name"],
                "context": entry["context_length"],
                "options": runner.options if runner is not None else None,
                "until": entry["expires_at"][:2],
            }
            for entry, runner in loaded
        ]

    def loaded(self) -> list[tuple[str, int, bool]]:
        """The name, the context, and whether it stays for about ten minutes, of each model that is loaded."""
        return [(entry["name"], entry["context_length"], _stays_10_minutes(entry)) for entry in self.api.list_loaded()]


def _stays_10_minutes(entry: dict[str, Any]) -> bool:
    left = datetime.fromisoformat(entry["expires_at"]) - datetime.now(UTC)
    return timedelta(minutes=5) < left <= timedelta(minutes=10, seconds=1)


@pytest.fixture
def owner(server: str) -> Owner:
    return Owner(server)


def attached(owner: Owner, model: str | None = MODEL, **arguments: object) -> list[str]:
    given = [f"--llmperf-engine-arg=ollama:{key}={value}" for key, value in arguments.items()]
    return [f"--llm-engine=ollama{f':{model}' if model else ''}", f"--llmperf-url={owner.url}", *given]


@pytest.mark.parametrize("asked", [MODEL, "alias"])
def test_what_runs_is_measured_as_it_runs_and_stays_as_long_as_its_user_asked(
    owner: Owner, runs: Runs, asked: str
) -> None:
    owner.ask("/api/copy", source=MODEL, destination="alias")
    owner.load(num_ctx=2048, num_thread=1, num_batch=256)
    suite = f"""
        @pytest.mark.memory_budget(peak="1 GiB")
        @pytest.mark.throughput_budget(output="0.01 tok/s")
        def test_one(llm_client, llm_engine):
            assert llm_client.generate("Hello", max_tokens=4).text
            assert llm_client.chat("Hello", max_tokens=4).text
            assert llm_engine.memory().kv_reserved == 2048 * {TOKEN_BYTES}
            assert llm_engine.startup_time is None
            with pytest.raises(Exception, match="was loaded at .* before the tests: it is left alone"):
                llm_engine.unload()
        """
    result = runs.plain(suite, *attached(owner, asked))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])
    result.stdout.no_fnmatch_line("llmperf: ollama: *load*")
    assert owner.loaded() == [(MODEL, 2048, True)]


def test_an_app_behind_the_openai_api_finds_what_its_users_find(owner: Owner, runs: Runs) -> None:
    owner.load()
    suite = f"{APP}\n@pytest.mark.throughput_budget(output='0.01 tok/s')\ndef test_app(llm_client): app(llm_client)"
    result = runs.plain(suite, *attached(owner))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])
    assert owner.loaded() == [(MODEL, 4096, True)]


@pytest.mark.parametrize("options", [{"num_ctx": 8192, "num_thread": 1}, {"num_batch": 64}, {}], ids=str)
def test_an_app_without_settings_is_answered_by_what_its_owner_has_loaded(
    owner: Owner, runs: Runs, options: dict[str, int]
) -> None:
    before, models = owner.load_for_ever(**options), list(owner.api.models())
    suite = f"""
import json, urllib.request
{APP}
{BUDGET}
@pytest.mark.parametrize("number", range(2))
def test_app(llm_client, llm_perf, number):
    assert (llm_client.model == "{MODEL}") is {not options}
    app(llm_client)
    data = {{"model": llm_client.model, "messages": [{{"role": "user", "content": "Hi"}}], "stream": False}}
    url = llm_client.base_url.removesuffix("/v1") + "/api/chat"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(data).encode())).close()
    llm_client.chat("Hello", max_tokens=4)
    assert llm_perf.measurement.engine.model == "{MODEL}"
"""
    result = runs.plain(suite, *attached(owner), "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])
    result.stdout.no_fnmatch_line("llmperf: ollama: *load*")
    assert owner.found() == [before]
    assert list(owner.api.models()) == models


def test_a_client_that_loads_it_otherwise_makes_one_test_invalid_and_the_next_takes_it_as_it_is(
    owner: Owner, runs: Runs
) -> None:
    before = owner.load_for_ever(num_ctx=2048, num_thread=1)
    suite = f"""
{APP}
{BUDGET}
def test_by_name(llm_client):
    llm_client.chat("Hello", max_tokens=4)
    app(llm_client, model="{MODEL}")

{BUDGET}
def test_app(llm_client):
    llm_client.chat("Hello", max_tokens=4)
    app(llm_client)
    app(llm_client, model="{MODEL}")
"""
    result = runs.plain(suite, *attached(owner))
    told = f"only requests to llmperf/{MODEL}-* (llm_client.model) have the options that it is to be loaded with*"
    again = f"llmperf: ollama: {MODEL} is loaded at {owner.url} again as it was found, with a context of 2048 tokens"
    result.stdout.fnmatch_lines([f"*context 2048 → 4096*; {told}", "budgets: 1 PASS, 1 INVALID", again])
    assert owner.found() == [before]


def test_where_no_model_can_be_derived_what_runs_is_used_by_its_own_name(
    owner: Owner, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = owner.load_for_ever(num_ctx=2048)

    def refuse(*_: object) -> None:
        raise EngineError("the store is read-only")

    monkeypatch.setattr("pytest_llmperf.engines.ollama.deployment.derive_model", refuse)
    result = runs.plain(ONE, *attached(owner))
    result.assert_outcomes(passed=1)
    told = f"llmperf: ollama: the store is read-only: a request that does not say how {MODEL} runs may load it again"
    result.stdout.fnmatch_lines([told, "budgets: 1 PASS"])
    assert owner.found() == [before]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_ctx": 4096}, "with num_ctx=2048, and num_ctx=4096 would load it again for all its users: leave it out"),
        ({"num_thread": 2}, "with num_thread=1, and num_thread=2 would load it again for all its users: leave it out"),
        ({"num_gpu": 0}, "already, and num_gpu=0 would load it again for all its users: leave it out"),
        ({"keep_alive": -1}, "already, for as long as its user asked for: leave out keep_alive=-1"),
    ],
)
def test_what_would_change_it_for_its_users_is_refused(
    owner: Owner, runs: Runs, arguments: dict[str, Any], words: str
) -> None:
    owner.load(num_ctx=2048, num_thread=1)
    result = runs.plain(ONE, *attached(owner, **arguments))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"ERROR *EngineUnavailable: ollama: {MODEL} is loaded at http*{words}*"])
    assert owner.loaded() == [(MODEL, 2048, True)]
    assert list(owner.api.models()) == [MODEL, "qwen:tiny", "gemma:tiny", "embed:tiny"]


def test_an_app_has_the_options_that_were_asked_for_without_a_reload(owner: Owner, runs: Runs) -> None:
    owner.load(num_ctx=2048, num_thread=1)
    before = list(owner.api.models())
    suite = f"""
{APP}
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_app(llm_client, llm_perf):
    assert llm_client.model.startswith("llmperf/{MODEL}-")
    app(llm_client)
    llm_client.chat("Hello", max_tokens=4)
    assert llm_perf.measurement.engine.model == "{MODEL}"
"""
    result = runs.plain(suite, *attached(owner, num_ctx=2048, num_thread=1))
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])
    assert owner.loaded() == [(MODEL, 2048, True)]
    assert list(owner.api.models()) == before


@pytest.mark.parametrize("how", ["by name", "with options", "of a file", "by workers"])
def test_what_was_loaded_or_made_for_the_tests_is_gone_after_them(
    owner: Owner, runs: Runs, tmp_path: Path, how: str, own_tmp: Path
) -> None:
    if how == "by workers":
        pytest.importorskip("xdist")
    file = tmp_path / "my.gguf"
    file.write_bytes(b"GGUF")
    before = list(owner.api.models())
    options = {
        "by name": attached(owner),
        "with options": attached(owner, num_ctx=512, num_thread=1),
        "of a file": attached(owner, str(file)),
        "by workers": [*attached(owner, num_ctx=512), "-n2"],
    }[how]
    suite = f"""
{APP}
@pytest.mark.parametrize("number", range(3))
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_one(llm_client, llm_engine, number):
    assert llm_client.generate("Hello", max_tokens=4).text
    app(llm_client)
    (entry,) = llm_engine.deployment._api.list_loaded()
    assert entry["expires_at"] < "2300"
"""
    result = runs.plain(suite, *options, "--llmperf-strict")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines([f"llmperf: ollama: *loaded at {owner.url} in * s for this run", "budgets: 3 PASS"])
    assert owner.loaded() == []
    assert list(owner.api.models()) == before
    assert list((own_tmp / f"pytest-llmperf-{os.getuid()}").iterdir()) == []


@pytest.mark.parametrize(("number", "options"), [(signal.SIGKILL, []), (signal.SIGINT, []), (signal.SIGKILL, ["-n2"])])
def test_a_run_that_is_killed_leaves_nothing_either(
    owner: Owner, runs: Runs, pytester: pytest.Pytester, number: signal.Signals, options: list[str]
) -> None:
    if options:
        pytest.importorskip("xdist")
    before = list(owner.api.models())
    owner.load("qwen:tiny")
    runs.write("""
        import time

        def test_one(llm_client):
            llm_client.chat("Hello", max_tokens=4)
            open("reached", "w").close()
            time.sleep(600)
        """)
    command = [sys.executable, "-m", "pytest", *attached(owner, num_ctx=512), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        until((pytester.path / "reached").exists)
        assert sorted(entry["context_length"] for entry in owner.api.list_loaded()) == [512, 4096]
        run.send_signal(number)
        run.wait(PATIENCE_S)
    until(lambda: list(owner.api.models()) == before)
    assert owner.loaded() == [("qwen:tiny", 4096, True)]


def test_a_model_that_somebody_else_has_asked_to_stay_longer_is_left_to_them(owner: Owner, runs: Runs) -> None:
    suite = """
        def test_one(llm_client, llm_engine):
            llm_client.chat("Hello", max_tokens=4)
            # Another user of the server, who keeps it for an hour.
            llm_engine.deployment._api._ask("POST", "/api/generate", {"model": llm_client.model, "keep_alive": "1h"})
        """
    runs.plain(suite, *attached(owner)).assert_outcomes(passed=1)
    assert [name for name, *_ in owner.loaded()] == [MODEL]


def test_a_model_that_has_to_go_for_that_of_the_tests_is_named(
    owner: Owner, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in ("qwen:tiny", "gemma:tiny", "hub:1b"):
        if model == "hub:1b":
            owner.ask("/api/pull", model=model)
        owner.load(model, "20m" if model == "qwen:tiny" else "10m")
    result = runs.plain(ONE, *attached(owner))
    result.stdout.fnmatch_lines([f"llmperf: ollama: the server at {owner.url} has unloaded * to load {MODEL}"])
    assert len(owner.loaded()) == 3
    assert MODEL not in [name for name, *_ in owner.loaded()]


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Owner:
    """Whoever has started a server that holds one model at a time."""
    monkeypatch.setenv("OLLAMA_MAX_LOADED_MODELS", "1")
    return Owner(request.getfixturevalue("server"))


def test_what_had_to_go_is_loaded_again_as_it_was(narrow: Owner, runs: Runs) -> None:
    before = narrow.load_for_ever("qwen:tiny", num_ctx=2048, num_thread=1, num_batch=64)
    result = runs.plain(ONE, *attached(narrow))
    gone = f"llmperf: ollama: the server at {narrow.url} has unloaded qwen:tiny to load {MODEL}"
    again = f"llmperf: ollama: qwen:tiny is loaded at {narrow.url} again as it was found, with a context of 2048 tokens"
    result.stdout.fnmatch_lines([gone, "budgets: 1 PASS", again])
    assert narrow.found() == [before]


def test_a_run_that_is_killed_gives_back_what_it_has_changed(
    narrow: Owner, runs: Runs, pytester: pytest.Pytester
) -> None:
    before = narrow.load_for_ever("qwen:tiny", num_ctx=2048)
    runs.write("""
        import time

        def test_one(llm_client):
            llm_client.chat("Hello", max_tokens=4)
            open("reached", "w").close()
            time.sleep(600)
        """)
    command = [sys.executable, "-m", "pytest", *attached(narrow)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        until((pytester.path / "reached").exists)
        run.kill()
        run.wait(PATIENCE_S)
    until(lambda: narrow.found() == [before])
