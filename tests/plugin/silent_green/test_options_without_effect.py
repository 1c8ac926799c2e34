"""Options that can have no effect are refused where they were typed, or a line says that they have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.lifecycle.attached_deployment import AttachedDeployment
from pytest_llmperf.plugin.preflight.unused_options import read_command_line
from tests.conftest import SIMULATED
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

SOURCE = """
def test_answers(llm_client):
    llm_client.generate("x", max_tokens=2)
"""
STRICT = "--llmperf-strict"
URL = "--llmperf-url=http://127.0.0.1:9"
OLD, NEW = "--llm-engine=old=simulated", "--llm-engine=new=simulated"
REFUSED = {
    "a URL without an engine": ([URL], f"{URL} has no effect without --llm-engine=NAME"),
    "a model without an engine": (["--llmperf-model=a"], "--llmperf-model=a has no effect without --llm-engine=NAME"),
    "a setting without an engine": (["--llmperf-engine-arg=a=1"], "--llmperf-engine-arg=a=1 has no effect without *"),
    "a program without an engine": (["--llmperf-engine-bin=/bin/x"], "--llmperf-engine-bin=/bin/x has no effect *"),
    "a second URL": (
        ["--llm-engine=openai", URL, "--llmperf-url", "http://127.0.0.1:8"],
        "--llmperf-url is given twice, as http://127.0.0.1:9 and as http://127.0.0.1:8, *",
    ),
    "a second model": (
        ["--llm-engine=openai", URL, "--llmperf-model=a", "--llmperf-model=b"],
        "--llmperf-model is given twice, as a and as b, *",
    ),
    "a second value of a setting": (
        [SIMULATED, "--llmperf-engine-arg=ttft=1 s", "--llmperf-engine-arg=ttft=2 s"],
        "--llmperf-engine-arg is given twice, as ttft=1 s and as ttft=2 s, *",
    ),
    "a second program": (
        [SIMULATED, "--llmperf-engine-bin=vllm:/a", "--llmperf-engine-bin=vllm:/b"],
        "--llmperf-engine-bin is given twice, as vllm:/a and as vllm:/b, *",
    ),
    "other devices": (
        [SIMULATED, "--llmperf-gpus=0", "--llmperf-gpus=1"],
        "--llmperf-gpus is given twice, as 0 and as 1, *",
    ),
    "a model beside another": (
        [f"{SIMULATED}:a", "--llmperf-model=b"],
        "--llmperf-model=b has no effect: --llm-engine names a model already",
    ),
    "a setting of another engine": (
        [SIMULATED, "--llmperf-engine-arg=vllm:max_model_len=1"],
        "--llmperf-engine-arg=vllm:max_model_len=1 has no effect: the engine of this run is simulated",
    ),
    "a setting of no engine": (
        [SIMULATED, "--llmperf-engine-arg=simulatd:ttft=1 s"],
        "--llmperf-engine-arg=simulatd:ttft=1 s has no effect: the engine of this run is simulated",
    ),
    "a setting of no variant": (
        [OLD, NEW, "--llmperf-engine-arg=odl:ttft=1 s"],
        "--llmperf-engine-arg=odl:ttft=1 s has no effect: the engines of this run are old (simulated), new (simulated)",
    ),
    "a setting that every variant has of its own": (
        [OLD, NEW, *(f"--llmperf-engine-arg={owner}ttft=1 s" for owner in ("", "old:", "new:"))],
        "--llmperf-engine-arg=ttft=1 s has no effect: --llmperf-engine-arg=old:ttft=1 s and * beats it",
    ),
    "a server of no variant": (
        [OLD, NEW, "--llmperf-url=odl:http://127.0.0.1:9"],
        "--llmperf-url=odl:http://127.0.0.1:9 has no effect: the engines of this run are old (simulated), new *",
    ),
    "a second server of one variant": (
        ["--llm-engine=old=openai", "--llmperf-url=old:http://127.0.0.1:9", "--llmperf-url=old:http://127.0.0.1:8"],
        "--llmperf-url is given twice, as old:* and as old:*; name each server as an engine of the run, *",
    ),
    "a program of no variant": (
        [OLD, NEW, "--llmperf-engine-bin=odl:/bin/vllm"],
        "--llmperf-engine-bin=odl:/bin/vllm: unknown engine 'odl': it is one of old, new, vllm, *",
    ),
    "a program of no engine": (
        [SIMULATED, "--llmperf-engine-bin=vlm:/bin/vllm"],
        "--llmperf-engine-bin=vlm:/bin/vllm: unknown engine 'vlm': it is one of vllm, *",
    ),
    "an exporter for an engine of this host": (
        [SIMULATED, "--llmperf-dcgm=127.0.0.1:9"],
        "--llmperf-dcgm has no effect: it is for engines of other hosts, given by --llmperf-url",
    ),
    "a GPU where there is none": (
        [SIMULATED, "--llmperf-gpus=97"],
        "--llmperf-gpus: no driver of this host lists 97: leave the option out *",
    ),
    "a GPU without an engine": (["--llmperf-gpus=GPU-1234"], "--llmperf-gpus: no driver of this host lists GPU-1234*"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_can_have_no_effect_is_refused(runs: Runs, options: list[str], message: str) -> None:
    result = runs.plain(SOURCE, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: {message}"])


def test_under_xdist_it_is_refused_once(runs: Runs) -> None:
    pytest.importorskip("xdist")
    result = runs.plain(SOURCE, URL, "-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert (result.stdout.str() + result.stderr.str()).count("has no effect") == 1


INI = """
[pytest]
addopts = --llmperf-model=a
llmperf_url =
llmperf_engine_arg =
    vllm:max_model_len=1
    simulated:output_tokens=3
llmperf_engine_bin = vllm:/bin/vllm
llmperf_dcgm = 127.0.0.1:9
llmperf_keep_engine = 0
llmperf_share = devices
"""


@pytest.mark.parametrize("engine", [[SIMULATED], [f"{SIMULATED}:b"], []])
def test_a_file_may_hold_more_than_one_run_needs(pytester: pytest.Pytester, runs: Runs, engine: list[str]) -> None:
    pytester.makeini(INI)
    result = runs.plain(SOURCE, *engine)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*given twice*")


@pytest.mark.parametrize(
    "lines",
    ["llmperf_url =\n    http://h:1\n    http://h:2", "addopts = --llmperf-url=http://h:1 --llmperf-url=http://h:2"],
    ids=["setting", "addopts"],
)
def test_two_servers_of_one_engine_in_a_file_are_refused(pytester: pytest.Pytester, runs: Runs, lines: str) -> None:
    pytester.makeini(f"[pytest]\n{lines}\n")
    result = runs.plain(SOURCE, "--llm-engine=openai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: llmperf: --llmperf-url is given twice, as http://h:1 and as http://h:2, *"])


@pytest.mark.parametrize("strict", [True, False])
def test_a_device_of_the_file_that_is_not_here(pytester: pytest.Pytester, runs: Runs, strict: bool) -> None:
    pytester.makeini("[pytest]\nllmperf_gpus = 97\n")
    result = runs(SOURCE, *[STRICT] * strict)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)
    result.stdout.fnmatch_lines(
        [f"{'error' if strict else 'warning'}: --llmperf-gpus: no driver of this host lists 97*"]
    )


IDLE = {
    "rounds of a run that measures nothing": (
        [SIMULATED, "--llmperf-disable", "--llmperf-rounds=3", "--llmperf-warmup", "2"],
        ["--llmperf-rounds=3 has no effect with --llmperf-disable", "--llmperf-warmup=2 has no effect *"],
    ),
    "the most rounds of a test with one": (
        [SIMULATED, "--llmperf-max-rounds=9", "--llmperf-max-seconds=9"],
        [
            "--llmperf-max-rounds=9 has no effect without --llmperf-rounds=auto or run(..., until='decided')",
            "--llmperf-max-seconds=9 has no effect *",
        ],
    ),
    "several engines that would be kept": (
        [f"{SIMULATED}:a", f"{SIMULATED}:b", "--llmperf-keep-engine=9"],
        ["--llmperf-keep-engine keeps the last of several engines: *"],
    ),
    "devices of no workers": (
        [SIMULATED, "--llmperf-share=devices"],
        ["--llmperf-share=devices has no effect without workers of pytest-xdist: -n2"],
    ),
    "rounds of tests without budgets": (
        [SIMULATED, "--llmperf-rounds=3", "--llmperf-warmup=1"],
        ["--llmperf-rounds=3 has no effect: only tests with budgets are repeated", "--llmperf-warmup=1 has no effect*"],
    ),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(("options", "lines"), IDLE.values(), ids=list(IDLE))
def test_what_changes_nothing_and_does_no_harm_is_said(
    runs: Runs, options: list[str], lines: list[str], strict: bool
) -> None:
    result = runs.plain(SOURCE, *options, *[STRICT] * strict)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines([f"warning: {line}" for line in lines])


def test_rounds_that_are_run_are_not_spoken_of(runs: Runs) -> None:
    source = f"@pytest.mark.memory_budget(peak='2 GiB'){SOURCE}"
    result = runs(source, "--llmperf-rounds=2", "--llmperf-warmup=1")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*no effect*")


def test_an_engine_that_runs_on_anyway_is_not_kept(runs: Runs, hostile: HostileServer) -> None:
    result = runs.plain(SOURCE, *hostile.options, "--llmperf-keep-engine=9", "--llmperf-no-engine-warmup")
    assert result.ret == pytest.ExitCode.OK
    for option in ("--llmperf-keep-engine", "--llmperf-no-engine-warmup"):
        result.stdout.fnmatch_lines([f"warning: {option} has no effect with --llmperf-url: *"])


def test_a_server_that_runs_already_is_not_kept_from_a_busy_gpu(runs: Runs, hostile: HostileServer) -> None:
    result = runs.plain(SOURCE, *hostile.options, "--llmperf-busy-gpu=fail")
    result.stdout.fnmatch_lines(["warning: --llmperf-busy-gpu has no effect with --llmperf-url: *"])


def test_an_exporter_for_a_server_of_this_host(pytester: pytest.Pytester, runs: Runs) -> None:
    with serving(pytester.path) as server:
        attach = ["--llm-engine=openai", f"--llmperf-url=http://127.0.0.1:{server.port}"]
        result = runs.plain(SOURCE, *attach, "--llmperf-dcgm=127.0.0.1:9", STRICT)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["warning: --llmperf-dcgm has no effect: it is for engines of other hosts, *"])


@pytest.mark.parametrize("strict", [True, False])
def test_an_exporter_that_does_not_answer(
    pytester: pytest.Pytester, runs: Runs, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch, strict: bool
) -> None:
    # As on another host, where its processes cannot be seen.
    monkeypatch.setattr(AttachedDeployment, "pids", property(lambda _: ()))
    pytester.makeini("[pytest]\nllmperf_dcgm = 127.0.0.1:9\n")
    result = runs.plain(SOURCE, *hostile.options, *[STRICT] * strict)
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)
    result.stdout.fnmatch_lines([f"{'error' if strict else 'warning'}: the DCGM exporter cannot be read: *:9*"])


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], []),
        (["--a=1"], ["1"]),
        (["--a", "1", "--a=2"], ["1", "2"]),
        (["--ab=1", "x"], []),
        (["x", "--a"], [""]),
        (["--a="], [""]),
    ],
)
def test_values_of_the_command_line(arguments: list[str], values: list[str]) -> None:
    assert read_command_line(arguments, "--a") == values


@pytest.mark.parametrize("strict", [True, False])
def test_a_setting_of_the_ini_file_that_is_none(pytester: pytest.Pytester, runs: Runs, strict: bool) -> None:
    pytester.makeini("[pytest]\nllmperf_on_inconclusve = fail\nllmperf_nothing = 1\nllm = mine\n")
    override = ["-o", "llm_engines=simulated", "-o", f"llmperf_strict={strict}"]
    result = runs.plain("def test_it():\n    pass", *override, "-W", "ignore")
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if strict else pytest.ExitCode.OK)
    level = "error" if strict else "warning"
    result.stdout.fnmatch_lines_random(
        [
            f"{level}: llmperf_on_inconclusve in the ini file or -o is no setting * llmperf_on_inconclusive is",
            f"{level}: llmperf_nothing in the ini file or -o is no setting of pytest-llmperf and has no effect",
            f"{level}: llm_engines in the ini file or -o is no setting * llm_engine is",
        ]
    )
    result.stdout.no_fnmatch_line("*: llm in the ini file*")
