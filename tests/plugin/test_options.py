"""Every option is documented, has an ini twin, and the command line beats the ini, which beats the default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.session import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.plugin.settings import Settings
    from tests.conftest import Runs

    Read = Callable[..., Settings]

NATIVE_TOML = pytest.version_tuple >= (9,)
OPTIONS = {
    "--llm-engine": "llm_engine (linelist):",
    "--llmperf-model": "llmperf_model (string):",
    "--llmperf-url": "llmperf_url (linelist):",
    "--llmperf-engine-arg": "llmperf_engine_arg (linelist):",
    "--llmperf-engine-bin": "llmperf_engine_bin (linelist):",
    "--llmperf-startup-timeout": "llmperf_startup_timeout (float):",
    "--llmperf-request-timeout": "llmperf_request_timeout (float):",
    "--llmperf-pull": "llmperf_pull (bool):",
    "--llmperf-gpus": "llmperf_gpus (string):",
    "--llmperf-busy-gpu": "llmperf_busy_gpu (string):",
    "--llmperf-dcgm": "llmperf_dcgm (linelist):",
    "--llmperf-metrics": "llmperf_metrics (linelist):",
    "--llmperf-sample-hz": "llmperf_sample_hz (float):",
    "--llmperf-against": "llmperf_against (string):",
    "--llmperf-seed": "llmperf_seed (int):",
    "--llmperf-rounds": "llmperf_rounds (string):",
    "--llmperf-max-rounds": "llmperf_max_rounds (int):",
    "--llmperf-max-seconds": "llmperf_max_seconds (float):",
    "--llmperf-warmup": "llmperf_warmup (int):",
    "--llmperf-engine-warmup": "llmperf_engine_warmup (bool):",
    "--llmperf-strict": "llmperf_strict (bool):",
    "--llmperf-on-inconclusive": "llmperf_on_inconclusive (string):",
    "--llmperf-session-noise": "llmperf_session_noise (string):",
    "--llmperf-table": "llmperf_table (bool):",
    "--llmperf-report": "llmperf_report (linelist):",
    "--llmperf-save": "llmperf_save (string):",
    "--llmperf-save-anyway": "llmperf_save_anyway (bool):",
    "--llmperf-compare": "llmperf_compare (string):",
    "--llmperf-store": "llmperf_store (string):",
    "--llmperf-save-reference": "llmperf_save_reference (string):",
    "--llmperf-calibrate": "llmperf_calibrate (int):",
    "--llmperf-keep-engine": "llmperf_keep_engine (float):",
    "--llmperf-share": "llmperf_share (string):",
    "--llmperf-relay-host": "llmperf_relay_host (string):",
    "--llmperf-disable": "llmperf_disable (bool):",
}

NEGATIONS = ("--llmperf-no-strict", "--llmperf-no-pull", "--llmperf-no-engine-warmup", "--llmperf-no-table")


@pytest.fixture
def settings(runs: Runs, pytester: pytest.Pytester) -> Read:
    """Gives the settings that a run with some options would have."""
    return lambda *options: pytester.parseconfigure(*options).stash[SESSION].settings


def test_the_help_lists_every_option_and_its_ini_twin(runs: Runs) -> None:
    text = runs.plain("", "--help").stdout.str()
    for option, twin in OPTIONS.items():
        assert f"  {option}" in text
        assert f"  {twin}" in text
    assert all(f"  {option}" in text for option in NEGATIONS)
    listed = {word.rstrip("=,") for line in text.splitlines() for word in line.split()[:1] if word.startswith("--llm")}
    assert {word.partition("=")[0] for word in listed} == {*OPTIONS, *NEGATIONS}


INI = """
llm_engine =
    simulated:one
    simulated:two
llmperf_engine_arg =
    ttft=1 ms
llmperf_startup_timeout = 7
llmperf_sample_hz = 50
llmperf_rounds = 3
llmperf_warmup = 2
llmperf_strict = true
llmperf_report = a.json
llmperf_disable = true
"""


def test_without_options_the_defaults_hold(settings: Read) -> None:
    found = settings()
    assert found.engines == ()
    assert (found.rounds, found.warmup, found.sample_hz) == (1, 0, 200)
    assert (found.strict, found.disable, found.reports) == (False, False, ())


def check_ini(found: Settings) -> None:
    assert [spec.label for spec in found.engines] == ["simulated:one", "simulated:two"]
    assert [dict(spec.args) for spec in found.engines] == [{"ttft": "1 ms"}] * 2
    assert found.engines[0].startup_timeout == 7
    assert (found.rounds, found.warmup, found.sample_hz) == (3, 2, 50)
    assert (found.strict, found.disable) == (True, True)
    assert [file.path.name for file in found.reports] == ["a.json"]


def test_the_program_of_a_further_engine_is_that_of_its_call_or_of_the_options(settings: Read) -> None:
    programs = ("old:/bin/old", "vllm:/bin/vllm", "/bin/any")
    found = settings("--llm-engine=openai", "--llmperf-url=http://h:1", "-o", "llmperf_engine_bin=vllm:/bin/vllm")
    assert found.further_spec("vllm", "m", None, {}, None).binary == "/bin/vllm"
    assert found.further_spec("vllm", "m", None, {}, "/bin/own").binary == "/bin/own"
    assert found.further_spec("ollama", "m", None, {}, None).binary is None
    found = found._replace(programs=programs)
    assert found.further_spec("ollama", "m", None, {}, None).binary is None
    assert found.further_spec("openai", "m", None, {}, None).binary == "/bin/any"


def test_the_ini_wins_over_the_defaults(pytester: pytest.Pytester, settings: Read) -> None:
    pytester.makeini(f"[pytest]{INI}")
    check_ini(settings())


def test_the_command_line_wins_over_the_ini(pytester: pytest.Pytester, settings: Read) -> None:
    pytester.makeini(f"[pytest]{INI}")
    found = settings(
        "--llm-engine=simulated",
        "--llmperf-model=three",
        "--llmperf-engine-arg=tpot=2 ms",
        "--llmperf-startup-timeout=9",
        "--llmperf-sample-hz=20",
        "--llmperf-rounds=1",
        "--llmperf-warmup=0",
        "--llmperf-no-strict",
        "--llmperf-report=b.md",
    )
    [spec] = found.engines
    assert (spec.label, dict(spec.args), spec.startup_timeout) == ("simulated:three", {"tpot": "2 ms"}, 9)
    assert (found.rounds, found.warmup, found.sample_hz, found.strict) == (1, 0, 20, False)
    assert [file.path.name for file in found.reports] == ["b.md"]


def test_ini_options_of_pyproject_toml_are_read(pytester: pytest.Pytester, settings: Read) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        llm_engine = ["simulated:one", "simulated:two"]
        llmperf_engine_arg = ["ttft=1 ms"]
        llmperf_startup_timeout = "7"
        llmperf_sample_hz = "50"
        llmperf_rounds = "3"
        llmperf_warmup = "2"
        llmperf_strict = true
        llmperf_report = ["a.json"]
        llmperf_disable = true
        """
    )
    check_ini(settings())


NATIVE: dict[str, Any] = {
    "llm_engine": '["simulated:one", "simulated:two"]',
    "llmperf_model": '"unused"',
    "llmperf_url": "[]",
    "llmperf_engine_arg": '["ttft=1 ms"]',
    "llmperf_engine_bin": '["llamacpp:/bin/llama-server"]',
    "llmperf_startup_timeout": "7.0",
    "llmperf_request_timeout": "60.0",
    "llmperf_pull": "false",
    "llmperf_gpus": '"auto"',
    "llmperf_busy_gpu": '"warn"',
    "llmperf_dcgm": '["node7:9400"]',
    "llmperf_metrics": '["http://node7:8000/metrics"]',
    "llmperf_sample_hz": "50.0",
    "llmperf_against": '"simulated:two"',
    "llmperf_seed": "7",
    "llmperf_rounds": '"3"',
    "llmperf_max_rounds": "9",
    "llmperf_max_seconds": "9.5",
    "llmperf_warmup": "2",
    "llmperf_engine_warmup": "false",
    "llmperf_strict": "true",
    "llmperf_on_inconclusive": '"fail"',
    "llmperf_session_noise": '"5%"',
    "llmperf_table": "false",
    "llmperf_report": '["a.json"]',
    "llmperf_save": '"nightly"',
    "llmperf_save_anyway": "true",
    "llmperf_compare": '"release/1.2"',
    "llmperf_store": '"shared/store"',
    "llmperf_save_reference": '"ref.json"',
    "llmperf_calibrate": "0",
    "llmperf_keep_engine": "0.0",
    "llmperf_share": '"devices"',
    "llmperf_relay_host": '"127.0.0.1"',
    "llmperf_disable": "true",
}


@pytest.mark.skipif(not NATIVE_TOML, reason="native TOML configuration came with pytest 9")
def test_native_toml_takes_every_option(pytester: pytest.Pytester, settings: Read) -> None:
    lines = "\n".join(f"{key} = {value}" for key, value in NATIVE.items())
    pytester.makepyprojecttoml(f"[tool.pytest]\n{lines}\n")
    assert list(NATIVE) == [twin.split()[0] for twin in OPTIONS.values()]
    check_ini(settings())


@pytest.mark.skipif(not NATIVE_TOML, reason="native TOML configuration came with pytest 9")
@pytest.mark.parametrize("line", ["llmperf_warmup = '3'", "llmperf_sample_hz = '50'", "llmperf_strict = 'true'"])
def test_native_toml_of_the_wrong_type_is_a_usage_error(runs: Runs, pytester: pytest.Pytester, line: str) -> None:
    pytester.makepyprojecttoml(f"[tool.pytest]\n{line}\n")
    result = runs.plain("def test_plain():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{line.split()[0]}*"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("llmperf_rounds = many", "*--llmperf-rounds=many is neither a number from 1 nor auto*"),
        ("llmperf_warmup = many", "*the setting llmperf_warmup in the configuration file: *many*"),
        ("llmperf_strict = perhaps", "*the setting llmperf_strict in the configuration file: *perhaps*"),
        ("llmperf_sample_hz = 0", "--llmperf-sample-hz=0 must be above 0"),
    ],
)
def test_a_bad_ini_value_is_a_usage_error(runs: Runs, pytester: pytest.Pytester, line: str, message: str) -> None:
    pytester.makeini(f"[pytest]\n{line}\n")
    result = runs.plain("def test_plain():\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: {message}"])
