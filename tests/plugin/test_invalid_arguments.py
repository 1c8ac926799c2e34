"""Every misuse is answered with one line that names where it stands and what would be right, and starts no engine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Runs

WORKERS = pytest.param(("-n1",), id="one worker")
MARKERS = {
    "unknown keyword": (
        "memory_budget(peek='1 GiB')",
        "@memory_budget: unknown key 'peek'; it takes peak, growth, *, device, engine",
    ),
    "positional": (
        "memory_budget('16 GiB')",
        "@memory_budget: '16 GiB' has no name; write KEY='...' with one of *",
    ),
    "nothing limited": ("throughput_budget()", "@throughput_budget: limits nothing; give at least one of output, *"),
    "bare number": ("memory_budget(peak=16)", "@memory_budget: peak=16 has no unit: write a string such as '16 GiB'"),
    "number without unit": (
        "latency_budget(e2e_max='300')",
        "@latency_budget: e2e_max='300' has no unit: write a string such as '300 ms'",
    ),
    "lower case unit": (
        "memory_budget(peak='16 gb')",
        "@memory_budget: peak='16 gb' has the unknown unit 'gb': write GiB (2[*][*]30 bytes) or GB (10[*][*]9 bytes)",
    ),
    "unit of something else": (
        "throughput_budget(output='800 ms')",
        "@throughput_budget: output='800 ms' has the unknown unit 'ms': a token rate is written in one of tok/s",
    ),
    "GB and GiB mixed": (
        "memory_budget(peak='16 GB', growth='1 GiB')",
        "@memory_budget: mixes peak='16 GB' (powers of 1000) with growth='1 GiB' (powers of 1024); write both in one",
    ),
    "negative": (
        "memory_budget(peak='-1 GiB')",
        "@memory_budget: peak='-1 GiB' is negative: a memory size is at least *",
    ),
    "not a number": (
        "memory_budget(peak='nan GiB')",
        "@memory_budget: peak='nan GiB' is not a finite memory size: *",
    ),
    "infinite": (
        "latency_budget(startup='inf s')",
        "@latency_budget: startup='inf s' is not a finite duration: *'300 ms'",
    ),
    "words": ("memory_budget(peak='lots')", "@memory_budget: peak='lots' is not a memory size: *'16 GiB'"),
    "percentile out of range": (
        "latency_budget(ttft_p100='1 s')",
        "@latency_budget: 'ttft_p100' asks for percentile 100: it must lie between 0 and 100, both excluded*",
    ),
    "percentile missing": (
        "latency_budget(ttft='1 s')",
        "@latency_budget: 'ttft' needs a percentile, such as ttft_p95 (or ttft_max)",
    ),
    "percentile of one number": (
        "memory_budget(peak_p95='1 GiB')",
        "@memory_budget: 'peak' has no percentiles; write peak=",
    ),
    "device is no name": ("memory_budget(peak='1 GiB', device=0)", "@memory_budget: device=0 is not a name or glob"),
    "engine name unknown": (
        "llm_engines('vlm')",
        "@llm_engines: unknown engine 'vlm'; it is one of vllm, *",
    ),
    "no engine named": ("llm_engines()", "@llm_engines takes names, such as @llm_engines('vllm', 'llamacpp')"),
}
BAD_AND_GOOD = """
@pytest.mark.{mark}
def test_bad(llm_client):
    llm_client.generate("x")

def test_good():
    pass
"""


@pytest.mark.parametrize(("mark", "message"), MARKERS.values(), ids=MARKERS)
def test_a_bad_marker_is_an_error_of_its_test_and_the_others_run(runs: Runs, mark: str, message: str) -> None:
    result = runs(BAD_AND_GOOD.format(mark=mark))
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines([f"test_bad: {message}"])
    assert_no_engine_was_started(result)


def test_the_same_budget_twice_on_one_test_is_a_mistake(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="1 GiB")
        @pytest.mark.memory_budget(peak="2 GiB")
        def test_twice(llm_client):
            pass
        """
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["test_twice: @memory_budget: memory.peak is limited twice; *limits it already"])
    assert_no_engine_was_started(result)


@pytest.mark.parametrize("options", [pytest.param((), id="no worker"), WORKERS])
def test_a_bad_marker_reads_the_same_in_a_worker(runs: Runs, options: tuple[str, ...]) -> None:
    if options:
        pytest.importorskip("xdist")
    result = runs(BAD_AND_GOOD.format(mark="memory_budget(peak='16 gb')"), *options)
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "test_bad: @memory_budget: peak='16 gb' has the unknown unit 'gb': write GiB (2[*][*]30 bytes) or GB (10[*][*]9 bytes)"  # noqa: E501
        ]
    )
    assert_no_engine_was_started(result)


OPTIONS = {
    "unknown engine": (
        ["--llm-engine=vlm"],
        "unknown engine 'vlm': it is one of vllm, ollama, llamacpp, openai, simulated",
    ),
    "vllm without a model": (["--llm-engine=vllm"], "vllm needs a model: --llmperf-model=ID, a hub id or a folder"),
    "engine twice": (["--llm-engine=simulated"] * 2, "--llm-engine=simulated is given twice: *"),
    "openai without a url": (
        ["--llm-engine=openai"],
        "openai attaches to a running server: give --llmperf-url=http://*",
    ),
    "no url": (
        ["--llm-engine=openai", "--llmperf-url=localhost:8000"],
        "--llmperf-url='localhost:8000' is not an *",
    ),
    "url of an engine that is started here": (
        ["--llm-engine=simulated", "--llmperf-url=http://127.0.0.1:1"],
        "simulated is always started here: it takes neither --llmperf-url nor --llmperf-engine-bin",
    ),
    "unknown engine argument": (
        ["--llm-engine=simulated", "--llmperf-engine-arg=tftt=1 s"],
        "simulated: unknown setting 'tftt'; the simulated engine takes ttft, *",
    ),
    "bad engine argument": (
        ["--llm-engine=simulated", "--llmperf-engine-arg=ttft=5"],
        "simulated: ttft='5' has no unit: write a string such as '300 ms'",
    ),
    "engine argument without =": (
        ["--llm-engine=simulated", "--llmperf-engine-arg=ttft"],
        "--llmperf-engine-arg=ttft is not [[]ENGINE or LABEL:[]]KEY=VALUE",
    ),
    "model missing": (["--llm-engine=llamacpp:/nowhere/x.gguf"], "*/nowhere/x.gguf*"),
    "no device": (["--llm-engine=simulated", "--llmperf-gpus=abc"], "--llmperf-gpus=abc: write auto, indices (0,2), *"),
    "rounds in words": (["--llmperf-rounds=many"], "--llmperf-rounds=many is neither a number from 1 nor auto"),
    "an allowance of one round": (["--llmperf-max-rounds=1"], "--llmperf-max-rounds=1 must be 2 to 30"),
    "no round": (["--llmperf-rounds=0"], "--llmperf-rounds=0 is neither a number from 1 nor auto"),
    "no number of seconds": (["--llmperf-max-seconds=nan"], "--llmperf-max-seconds=nan must be 0 or more"),
    "negative warm-up": (["--llmperf-warmup=-1"], "--llmperf-warmup=-1 must be 0 or more"),
    "no sample": (["--llmperf-sample-hz=0"], "--llmperf-sample-hz=0 must be above 0"),
    "too many samples": (["--llmperf-sample-hz=5000"], "--llmperf-sample-hz=5000 must be 1000 or less"),
    "rate is no number": (["--llmperf-sample-hz=nan"], "--llmperf-sample-hz=nan must be above 0"),
    "no time to answer": (["--llmperf-request-timeout=0"], "--llmperf-request-timeout=0 must be above 0"),
    "no time to start": (["--llmperf-startup-timeout=0"], "--llmperf-startup-timeout=0 must be above 0"),
    "nothing to share": (["--llmperf-share=all"], "--llmperf-share=all is neither engine nor devices"),
    "unknown form of report": (
        ["--llmperf-report=out.txt"],
        "--llmperf-report=out.txt has no known suffix: *",
    ),
    "report below a file": (
        ["--llmperf-report=test_it.py/x.json"],
        "--llmperf-report=test_it.py/x.json cannot be written",
    ),
}
ASKS = "def test_asks(llm_client):\n    llm_client.generate('x')\n"


@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_a_bad_option_is_a_usage_error(runs: Runs, options: list[str], message: str) -> None:
    result = runs.plain(ASKS, *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: {message}"])
    assert_no_engine_was_started(result)


def test_a_bad_option_reads_the_same_with_workers(runs: Runs) -> None:
    pytest.importorskip("xdist")
    result = runs.plain(ASKS, "--llm-engine=vlm", "-n1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: llmperf: unknown engine 'vlm': it is one of vllm, ollama, llamacpp, openai, simulated"]
    )


@pytest.mark.parametrize("option", ["--llmperf-warmup=many", "--llmperf-sample-hz=fast"])
def test_a_word_for_a_number_is_a_usage_error(runs: Runs, option: str) -> None:
    result = runs.plain(ASKS, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*argument {option.split('=')[0]}: invalid *value: *"])


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_in_use_is_a_usage_error(runs: Runs, taken_port: int) -> None:
    result = runs.plain(ASKS, "--llm-engine=simulated", f"--llmperf-engine-arg=port={taken_port}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: llmperf: port={taken_port}: the port cannot be used (Address already in use); leave it out *"]
    )


def test_an_unreachable_url_fails_each_test_that_needs_it(runs: Runs) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port, and nobody answers
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        result = runs.plain(ASKS, "--llm-engine=openai:any", f"--llmperf-url={url}")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"no answer from {url}/v1/models: *Connection refused*; is the server running?"])


FILES = {
    "not TOML": ("[[budget\n", "not valid TOML: *"),
    "not UTF-8": (b"\xff\xfe", "not valid TOML: *"),
    "unknown key at the top": (
        "[budgets]\n",
        "unknown key 'budgets'; it holds [[][[]budget]] tables, [[]prices] and [[]metrics]",
    ),
    "not a list of tables": ("[budget]\ntests='*'\n", "budget is not a list of tables; write [[][[]budget]]"),
    "no tests": ("[[budget]]\nmemory.peak='1 GiB'\n", "[[][[]budget]] 1: tests must be a glob over node ids, *"),
    "unknown key": ("[[budget]]\ntests='*'\npeak='1 GiB'\n", "[[][[]budget]] 1: unknown key 'peak'; it takes tests, *"),
    "nothing limited": ("[[budget]]\ntests='*'\n", "[[][[]budget]] 1: limits nothing; give one of memory, *"),
    "bare number": (
        "[[budget]]\ntests='*'\nmemory.peak=16\n",
        "[[][[]budget]] 1 memory: peak=16 has no unit: write a string such as '16 GiB'",
    ),
    "group is no table": (
        "[[budget]]\ntests='*'\nmemory='1 GiB'\n",
        "[[][[]budget]] 1: memory is not a table; write memory.KEY = '...'",
    ),
    "the same budget twice": (
        "[[budget]]\ntests='*'\nmemory.peak='1 GiB'\n[[budget]]\ntests='*'\nmemory.peak='2 GiB'\n",
        "[[][[]budget]] 2 memory: memory.peak is limited twice for '[*]'; *[[]budget]] 1 memory limits it already",
    ),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=FILES)
def test_a_broken_budget_file_is_a_usage_error(
    runs: Runs, pytester: pytest.Pytester, text: str | bytes, message: str
) -> None:
    (pytester.path / "llmperf.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    result = runs(ASKS)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: llmperf: llmperf.toml: {message}"])
    assert_no_engine_was_started(result)


def assert_no_engine_was_started(result: pytest.RunResult) -> None:
    result.stdout.no_fnmatch_line("*llmperf: simulated: loading*")
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
