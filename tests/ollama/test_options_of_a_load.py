"""Options that a model is loaded with are those of every request, of an app that cannot say them as well."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.engine_processes import own_tmp
from tests.helpers.waiting import PATIENCE_S, until
from tests.ollama_double import MODEL

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

__all__ = ["own_tmp"]
APP = """
import json, urllib.request

def post(url, **body):
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())) as answer:
        return json.load(answer)

def app(llm_client):
    messages = [{"role": "user", "content": "Hi"}]
    post(f"{llm_client.base_url}/chat/completions", model=llm_client.model, messages=messages, max_tokens=4)
    root = llm_client.base_url.removesuffix("/v1")
    options = {"num_predict": 4}
    post(f"{root}/api/chat", model=llm_client.model, messages=messages, stream=False, options=options)
"""
SUITE = """
@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.latency_budget(e2e_max="60 s")
@pytest.mark.memory_budget(peak="2 GiB")
@pytest.mark.parametrize("number", range(2))
def test_app(llm_client, llm_engine, llm_perf, number):
    before = llm_engine.deployment.look()
    assert (before.context, before.runner.argument("-t"), before.runner.argument("-b")) == {expected!r}
    app(llm_client)
    llm_client.chat("Hello", max_tokens=4)
    app(llm_client)
    assert llm_engine.deployment.look().runner == before.runner
    assert llm_engine.memory().kv_reserved == {expected[0]} * 23040
    assert llm_perf.measurement.engine.model == {model!r}
"""


def derived(ollama: OllamaRuns) -> list[Path]:
    """The files of models that were derived for tests and are still there."""
    return list((ollama.models / "manifests" / "registry.ollama.ai").glob("llmperf/*/*"))


@pytest.mark.parametrize(
    ("arguments", "parameters", "default", "expected"),
    [
        ({}, {}, "", (4096, None, "512")),
        ({}, {}, "1024", (1024, None, "512")),
        ({"num_ctx": 2048}, {}, "1024", (2048, None, "512")),
        ({"num_thread": 1}, {}, "", (4096, "1", "512")),
        ({"num_ctx": 512, "num_thread": 1, "num_batch": 256}, {}, "", (512, "1", "256")),
        ({}, {"num_ctx": 1024}, "", (1024, None, "512")),
        ({}, {"num_ctx": 1024, "num_thread": 1}, "2048", (1024, "1", "512")),
        ({"num_ctx": 2048}, {"num_ctx": 1024}, "", (2048, None, "512")),
        ({"num_thread": 2}, {"num_ctx": 1024}, "", (1024, "2", "512")),
    ],
)
def test_an_app_and_llm_client_have_the_same_model(
    ollama: OllamaRuns,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    parameters: dict[str, int],
    default: str,
    expected: tuple[int, str | None, str],
) -> None:
    ollama.is_like(parameters={MODEL: parameters})
    if default:
        monkeypatch.setenv("OLLAMA_CONTEXT_LENGTH", default)
    result = ollama(f"{APP}\n{SUITE.format(expected=expected, model=MODEL)}", "--llmperf-strict", **arguments)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"llmperf: ollama: {MODEL} loaded at *", "budgets: 6 PASS"])
    result.stdout.no_fnmatch_line("note: *came from*")
    assert derived(ollama) == []


def test_an_app_that_asks_the_model_by_its_own_name_is_told_the_one_to_ask(ollama: OllamaRuns) -> None:
    suite = f"""
{APP}
@pytest.mark.throughput_budget(output="0.01 tok/s")
def test_app(llm_client):
    url = f"{{llm_client.base_url}}/chat/completions"
    post(url, model="{MODEL}", messages=[{{"role": "user", "content": "Hi"}}], max_tokens=4)
"""
    result = ollama(suite, "--llmperf-strict", num_thread=1)
    result.assert_outcomes(failed=1)
    told = f"only requests to llmperf/{MODEL}-* (llm_client.model) have the options that it is to be *"
    result.stdout.fnmatch_lines([f"throughput.output INVALID: *{MODEL} was loaded again during the test *; {told}"])


def test_models_of_one_server_have_each_their_own(ollama: OllamaRuns) -> None:
    suite = f"""
{APP}
ARGS = {{"models_dir": "{ollama.models}"}}

@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.parametrize(("model", "given"), [("qwen:tiny", 512), ("gemma:tiny", 1024)])
def test_app(llm_engine, llm_engine_factory, llm_client_factory, model, given):
    engine = llm_engine_factory("ollama", model=model, args={{**ARGS, "num_ctx": given}})
    assert engine.pids == llm_engine.pids
    app(llm_client_factory(engine))
    assert engine.deployment.look().context == given
"""
    result = ollama(suite, "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])
    assert derived(ollama) == []


def test_one_model_in_two_ways_needs_two_servers(ollama: OllamaRuns) -> None:
    suite = f"""
{APP}
ARGS = {{"models_dir": "{ollama.models}"}}

@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.parametrize("given", [{{"num_ctx": 2048}}, {{"num_thread": 1}}])
def test_app(llm_client, llm_engine, llm_engine_factory, llm_client_factory, given):
    engine = llm_engine_factory("ollama", model="{MODEL}", args={{**ARGS, **given}})
    assert engine.pids != llm_engine.pids
    for client in [llm_client, llm_client_factory(engine)] * 2:
        app(client)
    assert llm_engine.deployment.look().context == 4096
    assert engine.deployment.look().context == given.get("num_ctx", 4096)
"""
    result = ollama(suite, "--llmperf-strict")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])
    assert derived(ollama) == []


def test_a_server_that_was_kept_is_asked_for_it_again_without_a_reload(ollama: OllamaRuns) -> None:
    from tests.ollama.test_getting_models import _end_kept

    suite = f"""
{APP}
def test_app(llm_client, llm_engine):
    app(llm_client)
    with open("log", "a") as log:
        print(llm_engine.startup_time, llm_engine.deployment.look().runner.pid, file=log)
"""
    try:
        for _ in range(2):
            ollama(suite, "--llmperf-keep-engine=600", num_thread=1).assert_outcomes(passed=1)
            assert derived(ollama) == []
        (first, pid), (second, same) = map(str.split, Path("log").read_text(encoding="utf-8").splitlines())
        assert (first != "None", second, pid) == (True, "None", same)
    finally:
        _end_kept()


@pytest.mark.usefixtures("own_tmp")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_killed_leaves_no_model_in_the_users_folder(
    ollama: OllamaRuns, runs: Runs, pytester: pytest.Pytester, number: signal.Signals
) -> None:
    runs.write("""
        import time

        def test_one(llm_client):
            llm_client.chat("Hello", max_tokens=4)
            open("reached", "w").close()
            time.sleep(600)
        """)
    options = [f"--llm-engine=ollama:{MODEL}", f"--llmperf-engine-bin=ollama:{ollama.binary}"]
    options += ollama.arguments(models_dir=ollama.models, num_thread=1)
    command = [sys.executable, "-m", "pytest", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as run:
        until((pytester.path / "reached").exists)
        assert len(derived(ollama)) == 1
        run.send_signal(number)
        run.wait(PATIENCE_S)
    until(lambda: not derived(ollama))


@pytest.mark.usefixtures("own_tmp")
def test_workers_have_a_model_each_and_one_runner(ollama: OllamaRuns, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    suite = f"""
{APP}
@pytest.mark.throughput_budget(output="0.01 tok/s")
@pytest.mark.parametrize("number", range(4))
def test_app(llm_client, llm_engine, number):
    app(llm_client)
    with open("log", "a") as log:
        print(llm_client.model, llm_engine.deployment.look().runner.pid, file=log)
"""
    result = ollama(suite, "-n2", "--llmperf-strict", num_thread=1)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["budgets: 4 PASS"])
    rows = [line.split() for line in (pytester.path / "log").read_text(encoding="utf-8").splitlines()]
    assert len({model for model, _ in rows}) == 2
    assert len({pid for _, pid in rows}) == 1
    assert derived(ollama) == []
