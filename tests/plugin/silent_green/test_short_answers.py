"""An answer shorter than asked for has failed if its end was to be ignored; elsewhere a line says that it is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report
from tests.helpers.hostile_server import good_stream, good_whole

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

BUDGETS = """
    import json, urllib.request
    from pytest_llmperf import workload

    pytestmark = [
        pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min"),
        pytest.mark.throughput_budget(output="0.0001 tok/s", requests="0.0001 req/s"),
    ]

    def post(client, **more):
        body = json.dumps({"prompt": "x", "stream": True, **more}).encode()
        urllib.request.urlopen(urllib.request.Request(client.base_url + "/completions", body)).read()
"""
WAYS = {
    "generate": 'llm_client.generate("x", max_tokens=30, {})',
    "whole": 'llm_client.generate("x", max_tokens=30, stream=False, {})',
    "a list": 'llm_client.run(["x"], max_tokens=30, {})',
    "a load": 'llm_client.run(workload(["x"], output_tokens=30), {})',
    "an app": "post(llm_client, max_tokens=30, {})",
}
ENDS = {"length": "1 answer is shorter than asked for, cut off: the context was full, or the server has a limit"}
ENDS["stop"] = "1 answer is shorter than asked for"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("finish", ENDS)
def test_one_line_says_that_answers_are_short(
    runs: Runs, hostile: HostileServer, pytester: pytest.Pytester, way: str, finish: str
) -> None:
    hostile.answer = lambda asked: (good_stream if asked.body.get("stream") else good_whole)(11, finish)
    result = runs.plain(
        BUDGETS
        + f"""
    def test_asks(llm_client):
        {WAYS[way].format("temperature=0")}
""",
        "--llmperf-report=out.json",
        "--llmperf-report=out.md",
        *hostile.options,
    )
    result.assert_outcomes(passed=1)
    sentence = f"{ENDS[finish]}; the shortest has 11 of 30 tokens (test_it.py::test_asks)"
    result.stdout.fnmatch_lines([f"note: {sentence}"])
    assert f"- {sentence}" in (pytester.path / "out.md").read_text(encoding="utf-8").replace("\\", "")
    (test,) = read_report(pytester.path / "out.json")["tests"]
    requests = test["measurement"]["requests"]
    assert requests["short"] == {"answers": 1, "cut_off": int(finish == "length"), "tokens": 11, "asked_tokens": 30}
    assert requests["records"][0]["asked_tokens"] == 30


@pytest.mark.parametrize("way", WAYS)
def test_an_end_that_was_to_be_ignored_fails_the_request(runs: Runs, hostile: HostileServer, way: str) -> None:
    hostile.answer = lambda asked: (good_stream if asked.body.get("stream") else good_whole)(11)
    result = runs.plain(
        BUDGETS
        + f"""
    from pytest_llmperf import RequestFailed

    def test_asks(llm_client):
        try:
            {WAYS[way].format("ignore_eos=True")}
        except RequestFailed:
            pass
""",
        "--llmperf-strict",
        *hostile.options,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*INVALID: 1 of 1 requests failed, the first with: 11 of 30 tokens came, although the server was told to "
            "go on to the end (ignore_eos): prompt and answer may not fit into its context*",
            "budgets: 4 INVALID",
        ]
    )


@pytest.mark.parametrize("settings", ["ignore_eos=True, stop=['.']", "ignore_eos=False"])
def test_an_answer_that_may_end_earlier_has_not_failed(runs: Runs, hostile: HostileServer, settings: str) -> None:
    hostile.answer = lambda _: good_stream(11, "stop")
    result = runs.plain(
        BUDGETS
        + f"""
    def test_asks(llm_client):
        llm_client.generate("another", max_tokens=30, {settings})
        post(llm_client, max_tokens=30, {settings})
""",
        *hostile.options,
    )
    result.stdout.fnmatch_lines(["note: 2 answers are shorter than asked for; *", "budgets: 4 PASS"])


def test_many_tests_are_one_line(runs: Runs) -> None:
    result = runs(
        BUDGETS
        + """
    @pytest.mark.parametrize("tokens", [5, 3, 7])
    def test_asks(llm_client, tokens):
        llm_client.generate("x", max_tokens=10, simulate={"output_tokens": tokens})

    def test_gets_all(llm_client):
        llm_client.generate("x", max_tokens=10)
"""
    )
    result.stdout.fnmatch_lines(
        [
            "note: 3 answers are shorter than asked for; the shortest has 3 of 10 tokens (*test_asks?5? and 2 more)",
            "budgets: 16 PASS",
        ]
    )
    assert result.stdout.str().count("shorter than asked for") == 1
