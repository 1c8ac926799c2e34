"""A count and a series of chunks that are not of the same tokens give no verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.hostile_server import delta, good_whole, lines, stream, text, usage, whole
from tests.plugin.silent_green.senders import STEADY, judge_each, sends

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer, Reply

WORDS = [text(f" w{number}") for number in range(4)]
END = text("", "stop")
BUDGETS = """
@pytest.mark.latency_budget(tpot_max="1 min", itl_max="1 min")
@pytest.mark.throughput_budget(output="0.001 tok/s", per_user="0.001 tok/s")
def test_it(llm_client):
    send(llm_client, {way!r})
"""
FAULTS: dict[str, tuple[str, Reply, str]] = {
    "more than asked": ("client", stream(*WORDS, END, usage(4000)), "4000 tokens where 16 were asked for"),
    "more than asked, whole": ("client, whole", good_whole(4000), "4000 tokens where 16 were asked for"),
    "more than asked, load": ("load", stream(*WORDS, END, usage(4000)), "*4000 tokens*"),
    "more than asked, ollama": (
        "app, ollama",
        lines(
            *({"message": {"content": " word"}, "done": False} for _ in range(4)),
            {"message": {}, "done": True, "done_reason": "stop", "eval_count": 20, "prompt_eval_count": 2},
        ),
        "20 tokens where 16 were asked for",
    ),
    "fewer than came, load": ("load", stream(*WORDS, END, usage(2)), "2 tokens, and 4 chunks came"),
    "fewer than came, app": ("app", stream(*WORDS, END, usage(2)), "2 tokens, and 4 chunks came"),
    "fewer than came, ollama": (
        "app, ollama",
        lines(
            *({"message": {"content": "a"}, "done": False} for _ in range(4)),
            {"message": {}, "done": True, "done_reason": "stop", "eval_count": 1, "prompt_eval_count": 2},
        ),
        "1 token, and 4 chunks came",
    ),
    "more than asked, app": ("app", stream(*WORDS, END, usage(4000)), "4000 tokens where 16 were asked for"),
    "a fraction": ("load", stream(*WORDS, END, usage(4.5)), "completion_tokens: 4.5, which is no number of tokens"),
    "thirty digits": ("load", stream(*WORDS, END, usage(10**30)), "completion_tokens: 1000*no number of tokens"),
    "400 digits": ("app", stream(*WORDS, END, usage(10**400)), "completion_tokens: 1000*no number of tokens"),
}


@pytest.mark.parametrize(("way", "reply", "reason"), FAULTS.values(), ids=FAULTS)
def test_counts_that_cannot_be_right_give_no_verdict(
    runs: Runs, hostile: HostileServer, way: str, reply: Reply, reason: str
) -> None:
    hostile.answer = lambda _: reply
    result = runs.plain(sends(way, BUDGETS), "--llmperf-strict", *hostile.options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [f"* INVALID: the token counts of * cannot be right, the first: the server counted {reason}*"]
    )
    result.stdout.fnmatch_lines(["budgets: 4 INVALID"])


def details(**counts: object) -> dict[str, object]:
    return {"completion_tokens_details": counts}


PLACEHOLDER = [delta(reasoning="..."), *[text(" word")] * 90, END]
FURTHER: dict[str, Reply] = {
    "2 tokens, and 4 chunks came": stream(*WORDS, END, usage(2)),
    "completion_tokens: -4, which is no number": stream(*WORDS, END, usage(-4)),
    "completion_tokens: true, which is no number": stream(*WORDS, END, usage(True)),
    "prompt_tokens: -3, which is no number": stream(*WORDS, END, usage(4, -3)),
    'cached_tokens: "12", which is no number': stream(*WORDS, END, usage(4, cached_tokens="12")),
    "reasoning_tokens: 3.5, which is no number": stream(*WORDS, END, usage(4, **details(reasoning_tokens=3.5))),
    "reasoning_tokens: NaN, which is no number": stream(*WORDS, END, usage(4, reasoning_tokens=float("nan"))),
    "2 tokens in all": stream(*WORDS, END, usage(4, total_tokens=2)),
    "3 tokens, and 4 chunks came": stream(*WORDS, END, usage(9, **details(rejected_prediction_tokens=6))),
    "300 tokens of reasoning, and 3 bytes": stream(*PLACEHOLDER, usage(390, reasoning_tokens=300)),
    "400 tokens, and the answer has 3 bytes": whole({**usage(400), **text("Yes", "stop")}),
}


def test_further_counts_that_cannot_be_right_give_no_verdict(runs: Runs, hostile: HostileServer) -> None:
    result = judge_each(runs, hostile, list(FURTHER.values()))
    result.assert_outcomes(failed=len(FURTHER))
    result.stdout.fnmatch_lines([f"budgets: {2 * len(FURTHER)} INVALID"])
    for number, reason in enumerate(FURTHER):
        result.stdout.fnmatch_lines_random([f"FAILED *::test_it[[]{number}[]] *cannot be right*{reason}*"])


HIDDEN = usage(1000, completion_tokens_details={"reasoning_tokens": 996})


@pytest.mark.parametrize("way", ["client, chat", "app, chat"])
def test_a_first_token_that_was_not_streamed_is_not_measured(runs: Runs, hostile: HostileServer, way: str) -> None:
    hostile.answer = lambda _: stream(*[delta(content=" w")] * 4, delta("stop"), HIDDEN)
    budgets = """
@pytest.mark.latency_budget(ttft_max="1 min", ttft_answer_max="1 min")
@pytest.mark.throughput_budget(goodput="0.001 req/s")
def test_it(llm_client):
    send(llm_client, {way!r})
"""
    result = runs.plain(sends(way, budgets).replace("TOKENS = 16", "TOKENS = 1000"), *hostile.options)
    result.stdout.fnmatch_lines_random(
        [
            "*latency.ttft_max * NOT MEASURED",
            "*latency.ttft_answer_max * PASS",
            "*throughput.goodput * NOT MEASURED",
            "*answers began with reasoning that the server counted and did not stream: limit ttft_answer instead*",
        ]
    )


@pytest.mark.parametrize("way", ["client", "load", "app"])
def test_the_tokens_that_were_streamed_are_told_from_hidden_reasoning(
    runs: Runs, hostile: HostileServer, way: str
) -> None:
    hostile.answer = lambda _: stream(*WORDS, END, HIDDEN)
    source = sends(
        way,
        """
def test_it(llm_client, llm_perf):
    send(llm_client, {way!r})
    for request in llm_perf.measurement.requests:
        first, *_, last = request.chunks
        assert (request.output_tokens, request.visible_tokens, request.ttft) == (1000, 4, None)
        assert request.tpot == pytest.approx((last.at_ns - first.at_ns) / 3e9)
        assert len(request.itl) == 3
""",
    )
    result = runs.plain(source, *hostile.options)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "reasoning_text", "thinking"])
def test_reasoning_is_seen_in_every_field(runs: Runs, hostile: HostileServer, field: str) -> None:
    carried: dict[str, Any] = {field: " hm"}
    reasoning = delta(**carried)
    pieces = [*(reasoning for _ in range(3)), delta(content=" yes"), delta("stop"), usage(4)]
    hostile.answer = lambda _: stream(*pieces, "[DONE]")
    result = runs.plain(
        sends(
            "app, chat",
            """
def test_it(llm_client, llm_perf):
    send(llm_client, {way!r})
    [request] = llm_perf.measurement.requests
    assert [chunk.kind for chunk in request.chunks] == ["reasoning"] * 3 + ["text"]
""",
        ),
        *hostile.options,
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("way", ["client", "client, chat", "load", "app", "app, chat"])
def test_several_choices_are_refused_and_never_mixed(runs: Runs, hostile: HostileServer, way: str) -> None:
    def piece(index: int, finish: str | None = None) -> dict[str, object]:
        choice = {"index": index, "text": " w", "delta": {"content": " w"}, "finish_reason": finish}
        return {"choices": [choice]}

    pieces = [piece(number % 2) for number in range(8)]
    hostile.answer = lambda _: stream(*pieces, piece(0, "length"), piece(1, "length"), usage(10), "[DONE]")
    result = runs.plain(sends(way, BUDGETS), "--llmperf-strict", *hostile.options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["* INVALID: * requests failed, the first with: the answer has several choices*"])
    result.stdout.fnmatch_lines(["budgets: 4 INVALID"])


GOOD: dict[str, Reply] = {
    "the end of the sequence is counted": stream(*WORDS, END, usage(5)),
    "one more than asked for": stream(*[text(" w")] * 16, text("", "length"), usage(17)),
    "several tokens a chunk": stream(*[text(" one two three")] * 4, text("", "length"), usage(12)),
    "an empty last chunk": stream(*WORDS, text(""), END, usage(4)),
    "half a character": stream(text(" a"), text(""), text("é"), END, usage(4)),
}


@pytest.mark.parametrize("reply", GOOD.values(), ids=GOOD)
def test_counts_that_servers_rightly_give_are_judged(runs: Runs, hostile: HostileServer, reply: Reply) -> None:
    hostile.answer = lambda _: reply
    result = runs.plain(sends("client", STEADY), "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])
