"""A file is sent as it means, or refused with its line and key: no budget passes on another load than the file's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

SUITE = """
from pytest_llmperf import workload_file

@pytest.mark.latency_budget(ttft_max="1 min", e2e_max="1 min")
@pytest.mark.throughput_budget(goodput="0.001 req/s")
def test_it(llm_client):
    llm_client.run(workload_file({name!r}{arguments}, tokenizer=lambda text: len(text.split())), max_error_rate="1 %")
"""
SECONDS = [{"timestamp": stamp, "input_length": 8, "output_length": 2} for stamp in (0.7, 0.9, 1.1)]
REFUSED: dict[str, tuple[list[Any], str]] = {
    "seconds": (SECONDS, "trace.jsonl:1: timestamp is 0.7, no whole number of milliseconds: give time_unit='s' or *"),
    "whole seconds": (
        [{**line, "timestamp": number} for number, line in enumerate(SECONDS)],
        "trace.jsonl: the 3 values of timestamp are 1 apart on average, hardly milliseconds: give time_unit='s' or *",
    ),
    "blocks of 32": (
        [{"input_length": 320, "hash_ids": list(range(10))}],
        "trace.jsonl:1: hash_ids has 10 blocks, which do not fit an input_length of 320 in blocks of 512 or 16 *",
    ),
    "a mistyped key": (
        [{"prompt": "a"}, {"prompt": "a", "max_token": 9}],
        "trace.jsonl:2: unknown key 'max_token'; did you mean max_tokens?",
    ),
    "no time": ([{**SECONDS[0], "timestamp": float("nan")}], "trace.jsonl:1: timestamp is nan: it must be a finite *"),
    "a bool": ([{"input_length": True}], "trace.jsonl:1: input_length is True: it must be a whole number *"),
    "a text": ([{"input_length": "80"}], "trace.jsonl:1: input_length is '80': it must be a whole number *"),
}


@pytest.mark.parametrize(("lines", "message"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_may_mean_something_else_is_refused_and_nothing_is_sent(
    lines: list[Any], message: str, runs: Runs, hostile: HostileServer, pytester: pytest.Pytester
) -> None:
    pytester.path.joinpath("trace.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    result = runs.plain(SUITE.format(name="trace.jsonl", arguments=""), *hostile.options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E * ValueError: {message.replace('[', '[[]')}"])
    assert not hostile.asked


@pytest.mark.parametrize(
    ("name", "data", "arguments", "tokens"),
    [
        ("trace.jsonl", "\n".join(map(json.dumps, SECONDS)), ", time_unit='s'", [2, 2, 2]),
        ("custom.jsonl", '{"prompt": "a", "output_tokens": 10}', "", [10]),
        (
            "chats.json",
            '[{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b c"}]}]',
            "",
            [2],
        ),
        (
            "batch.jsonl",
            '{"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {"prompt": "a", "max_tokens": 9}}',
            "",
            [9],
        ),
        ("azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,8,5\n", "", [5]),
    ],
)
def test_a_file_is_sent_as_it_means(
    name: str,
    data: str,
    arguments: str,
    tokens: list[int],
    runs: Runs,
    hostile: HostileServer,
    pytester: pytest.Pytester,
) -> None:
    pytester.path.joinpath(name).write_text(f"\N{ZERO WIDTH NO-BREAK SPACE}{data}\n", encoding="utf-8")
    result = runs.plain(SUITE.format(name=name, arguments=arguments), *hostile.options)
    result.assert_outcomes(passed=1)
    assert [asked.body["max_tokens"] for asked in hostile.asked] == tokens
