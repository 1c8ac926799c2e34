"""What can never work is refused in one line, most of it before anything is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs
    from tests.ollama.conftest import OllamaRuns

SUITE = """
def test_one(llm_engine):
    pass
"""
REQUESTS = {
    "ignore_eos=True": "ignore_eos=True: Ollama has no such option and would ignore it; it has *",
    "top_n=4": "top_n=4: Ollama has no such option and would ignore it; did you mean top_*?",
    'options={"num_predict": "5"}': "num_predict='5' must be a whole number",
    "top_k=5.9": "top_k=5.9 must be a whole number",
    "num_ctx=512": "num_ctx=512 would load the model again in the middle of a test: *",
    "keep_alive=0": "keep_alive=0 would load the model again in the middle of a test: *",
    "tools=[]": "generate of Ollama takes no tools",
}


def test_a_request_that_the_server_would_take_for_another_is_not_sent(ollama: OllamaRuns) -> None:
    lines = [f"def test_{i}(llm_client): llm_client.generate('Hi', {one})" for i, one in enumerate(REQUESTS)]
    result = ollama("\n".join(lines), "--tb=line")
    result.assert_outcomes(failed=len(REQUESTS))
    result.stdout.fnmatch_lines([f"FAILED *::test_* - ValueError: {words}" for words in REQUESTS.values()])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_ctx": "many"}, "engine argument num_ctx='many' is not a whole number"),
        ({"use_mmap": "1"}, "engine argument use_mmap='1' is not true or false"),
        ({"num_contexts": 512}, "unknown engine argument 'num_contexts'; did you mean num_ctx?"),
        ({"temperature": 0}, "temperature goes with a request: llm_client.chat(..., temperature=...)"),
        ({"kv_cache_type": "bogus"}, "engine argument kv_cache_type='bogus' is not one of f16, q8_0, q4_0"),
        ({"num_parallel": 0}, "engine argument num_parallel='0' is not a whole number of at least 1"),
        ({"keep_alive": "abc"}, "engine argument keep_alive='abc' is neither seconds nor a duration such as 10m"),
    ],
)
def test_a_wrong_engine_argument_ends_the_run_before_it_begins(
    ollama: OllamaRuns, arguments: dict[str, object], words: str
) -> None:
    result = ollama(SUITE, *ollama.arguments(**arguments))
    result.stderr.fnmatch_lines([f"ERROR: llmperf: ollama: {words}"])
    result.stdout.no_fnmatch_line("*loading*")


def test_a_program_that_is_not_there_is_named(runs: Runs) -> None:
    result = runs.plain(SUITE, "--llm-engine=ollama", "--llmperf-engine-bin=/no/such/ollama")
    result.stderr.fnmatch_lines(
        ["ERROR: llmperf: ollama: '/no/such/ollama' cannot be run; --llmperf-engine-bin is an ollama"]
    )


def test_without_the_program_it_says_where_to_get_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("pytest_llmperf.engines.ollama.lookup._WELL_KNOWN", ())
    result = runs.plain(SUITE, "--llm-engine=ollama")
    result.stderr.fnmatch_lines(["ERROR: llmperf: ollama is not installed here: see https://ollama.com/download, or *"])


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("nope", ["--llmperf-no-pull"], "ollama: the server has no model 'nope': ollama pull nope gets it, or *"),
        ("nope", [], "ollama cannot pull nope: pull model manifest: file does not exist"),
        ("full:1b", ["--llmperf-pull"], "ollama cannot pull full:1b: write *: no space left on device; models_dir=*"),
    ],
)
def test_a_model_that_cannot_be_had_fails_its_tests(
    ollama: OllamaRuns, model: str, options: list[str], words: str
) -> None:
    result = ollama(SUITE, *options, model=model)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([words])


def test_a_context_larger_than_the_models_is_refused_with_both_numbers(ollama: OllamaRuns) -> None:
    result = ollama(SUITE, num_ctx=16384)
    result.stdout.fnmatch_lines(
        [
            "ERROR *EngineUnavailable: ollama: num_ctx=16384 is more than smollm2:135m-q4 was trained for: "
            "its context is 8192 tokens"
        ]
    )


def test_a_server_that_is_too_old_is_refused(ollama: OllamaRuns) -> None:
    ollama.is_like(version="0.15.4")
    result = ollama(SUITE)
    result.stdout.fnmatch_lines(
        ["ERROR *EngineUnavailable: ollama 0.15.4 is too old to be measured: this needs 0.24.0 or newer"]
    )


@pytest.mark.parametrize(("version", "lines"), [("0.99.0", 1), ("0.30.0", 0)])
def test_a_server_that_is_newer_than_the_tested_ones_is_used_and_that_is_said(
    ollama: OllamaRuns, version: str, lines: int
) -> None:
    ollama.is_like(version=version)
    result = ollama(SUITE)
    result.assert_outcomes(passed=1)
    said = [line for line in result.outlines if line.startswith(f"llmperf: ollama: version {version} is newer than ")]
    assert len(said) == lines
