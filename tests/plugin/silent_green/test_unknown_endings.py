"""An answer that ends in an unknown way is a failed request that names its ending."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import delta, good_stream, good_whole, lines, stream, text, usage
from tests.plugin.silent_green.senders import STEADY, sends

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer, Reply

ABORTED = {
    "client": stream(text(" a"), text(" b"), text("", "abort"), usage(2), "[DONE]"),
    "client, whole": good_whole(2, "abort"),
    "client, chat": stream(delta(content="a"), delta("abort", content="b"), usage(2), "[DONE]"),
    "prompts": good_stream(2, "abort"),
    "load": good_stream(2, "abort"),
    "app": good_stream(2, "abort"),
    "app, whole": good_whole(2, "abort"),
    "app, chat": stream(delta(content="a"), delta("abort"), usage(2), "[DONE]"),
    "app, ollama": lines(
        {"message": {"content": "a"}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "abort", "eval_count": 1, "prompt_eval_count": 1},
    ),
}


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_a_known_ending_is_judged(runs: Runs, hostile: HostileServer, finish: str) -> None:
    hostile.answer = lambda _: good_stream(finish=finish)
    result = runs.plain(sends("client", STEADY), "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])


@pytest.mark.parametrize(("way", "reply"), ABORTED.items(), ids=ABORTED)
def test_an_aborted_answer_is_a_failed_request_however_it_was_asked_for(
    runs: Runs, hostile: HostileServer, way: str, reply: Reply
) -> None:
    hostile.answer = lambda _: reply
    result = runs.plain(sends(way), "--llmperf-strict", *hostile.options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["* INVALID: * requests failed, the first with: the * ended with 'abort'*"])
    result.stdout.fnmatch_lines(["budgets: 6 INVALID"])


@pytest.mark.parametrize("status", ["cancelled", "queued"])
def test_a_response_of_another_status_is_a_failed_request(runs: Runs, hostile: HostileServer, status: str) -> None:
    events = [
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {"status": status, "usage": {"output_tokens": 1}}},
    ]
    hostile.answer = lambda _: stream(*events)
    result = runs.plain(sends("app, responses"), "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines([f"* INVALID: 1 of 1 requests failed, *: the answer ended * its status is {status}*"])
    result.stdout.fnmatch_lines(["budgets: 6 INVALID"])


def test_an_aborted_request_is_no_goodput_of_a_load(runs: Runs, hostile: HostileServer) -> None:
    replies = iter([good_stream(16)] + [good_stream(1, "abort")] * 2)
    hostile.answer = lambda _: next(replies)
    result = runs.plain(sends("load"), *hostile.options)
    result.stdout.fnmatch_lines(
        ["why: *throughput.goodput * INVALID: 2 of 3 requests failed, *: the stream ended with 'abort'*"]
    )
