"""Success is the presence of an answer: a status of 200, a few chunks or ``[DONE]`` prove nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import Reply, delta, event, lines, stream, text, usage, whole
from tests.plugin.silent_green.senders import STEADY, judge_each, sends

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer

WORDS = [text(f" w{number}") for number in range(4)]
DIED = {"object": "error", "message": "EngineCore died", "code": 500}
DEEP = b'{"choices": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
NO_ANSWERS: dict[str, tuple[str, Reply, str]] = {
    "an error object in a stream": ("client", stream(*WORDS, DIED, "[DONE]"), "*reported an error: EngineCore died"),
    "an error object after the end": (
        "load",
        stream(*WORDS, text("", "stop"), usage(4), DIED, "[DONE]"),
        "*reported an error: EngineCore died",
    ),
    "an error event": (
        "app",
        stream(*WORDS, b'event: error\ndata: {"message": "out of memory"}\n\n', "[DONE]"),
        "*reported an error: out of memory",
    ),
    "a detail": ("client, whole", whole({"detail": "Not authenticated"}), "*reported an error: Not authenticated"),
    "a type": (
        "app, whole",
        whole({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "*reported an error: Overloaded",
    ),
    "an error of ollama": (
        "app, ollama",
        lines({"message": {"content": "a"}, "done": False}, {"error": "runner terminated"}),
        "*reported an error: runner terminated",
    ),
    "an error of responses": (
        "app, responses",
        stream({"type": "response.output_text.delta", "delta": "a"}, {"detail": "worker lost"}),
        "*reported an error: worker lost",
    ),
    "an empty object": ("client, whole", whole({}), "status 200 without an answer: {}"),
    "no choice": ("app, whole", whole({"choices": []}), "status 200 without an answer: *"),
    "an empty object of ollama": ("app, ollama", whole({}), "status 200 without an answer: {}"),
    "done alone": ("load", stream("[DONE]"), "status 200 without an answer: *"),
    "no content": ("client, chat", stream(delta("stop", role="assistant"), usage(0)), "the answer is empty: *0 tokens"),
    "counted nothing": ("client, whole", whole(text("", "stop", **usage(50))), "*"),
    "deep": ("client, whole", whole(DEEP), "the server sent something that is not a JSON object: *"),
    "deep in a load": ("load", stream(*WORDS, b"data: " + DEEP + b"\n\n"), "the server sent something that is not*"),
    "deep in the app": ("app", stream(*WORDS, b"data: " + DEEP + b"\n\n"), "the server sent something that is not*"),
}


@pytest.mark.parametrize(("way", "reply", "reason"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_what_is_no_answer_is_a_failed_request_that_names_it(
    runs: Runs, hostile: HostileServer, way: str, reply: Reply, reason: str
) -> None:
    hostile.answer = lambda _: reply
    result = runs.plain(sends(way), "--llmperf-strict", *hostile.options)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"* INVALID: * requests failed, the first with: {reason}*"])
    result.stdout.fnmatch_lines(["budgets: 6 INVALID"])


GOOD = [*WORDS, text("", "stop"), usage(4), "[DONE]"]
FURTHER: dict[str, Reply] = {
    "without a finish reason": stream(*WORDS, usage(4), "[DONE]"),
    "Please log in": Reply([b"<html>Please log in</html>"], "text/html"),
    "not a JSON object: '[[]1[]]'": stream(event([1])),
    "EngineCore died": stream(*GOOD[:-1], {"choices": [], "message": "EngineCore died", "code": 500}, "[DONE]"),
    "worker lost": stream(*GOOD, {"error": "worker lost"}),
    "out of memory": stream(*WORDS, {"choices": [{"delta": {"error": "out of memory"}, "finish_reason": "stop"}]}),
    "queue full": stream(*GOOD[:-1], {"choices": [], "status": "failed", "message": "queue full"}),
    "Internal Server Error": stream(*GOOD, b"Internal Server Error\n\n"),
    "ended with 'abort'": stream(*WORDS, text("", "abort"), text("", "stop"), usage(4), "[DONE]"),
    "two models answered": stream(text("a", model="a"), text("b", "stop", model="b"), usage(2)),
    "several choices": stream(*WORDS, {"choices": [{"index": "1", "text": " w"}]}, *GOOD[4:]),
}


def test_further_answers_that_are_none_are_failed_requests(runs: Runs, hostile: HostileServer) -> None:
    result = judge_each(runs, hostile, list(FURTHER.values()))
    result.assert_outcomes(failed=len(FURTHER))
    for number, reason in enumerate(FURTHER):
        result.stdout.fnmatch_lines_random([f"FAILED *::test_it[[]{number}[]] *1 of 1 requests failed*{reason}*"])


FINE = [
    stream(b"data:\n\n", *WORDS, b"data: \n\n", text("", "eos_token"), usage(4), "[DONE] "),
    stream(*WORDS, b"event: ping\ndata: 17\n\n", text("", "model_length"), {"choices": [], "x_groq": usage(4)}),
    stream(*[event(each).replace(b"\n", b"\r\n") for each in GOOD]),
    stream(*WORDS, {"choices": [{"text": "", "finish_reason": "stop_sequence", **usage(4)}]}),
]


def test_what_servers_rightly_send_is_judged(runs: Runs, hostile: HostileServer) -> None:
    result = judge_each(runs, hostile, FINE)
    result.assert_outcomes(passed=len(FINE))
    result.stdout.fnmatch_lines([f"budgets: {2 * len(FINE)} PASS"])


ANSWERS: dict[str, tuple[str, Reply]] = {
    "a tool call": (
        "app, chat",
        stream(
            delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": ""}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}]),
            delta("tool_calls"),
            usage(9),
            "[DONE]",
        ),
    ),
    "a refusal": ("app, chat", stream(delta(refusal="I"), delta(refusal=" cannot"), delta("stop"), usage(3))),
    "an answer without done": ("client", stream(*WORDS, text("", "stop"), usage(5))),
    "an event between": ("client", stream({"type": "ping"}, *WORDS, b": ping\n\n", text("", "stop"), usage(4))),
    "an empty error": ("client", stream(*({**word, "error": None} for word in WORDS), text("", "length"), usage(4))),
}


@pytest.mark.parametrize(("way", "reply"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_an_answer_is_judged(runs: Runs, hostile: HostileServer, way: str, reply: Reply) -> None:
    hostile.answer = lambda _: reply
    result = runs.plain(sends(way, STEADY), "--llmperf-strict", *hostile.options)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])
