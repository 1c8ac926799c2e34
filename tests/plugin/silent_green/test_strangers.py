"""Others who use an attached server make a test INVALID, by whatever the server tells of them."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.helpers.hostile_server import stream, text, usage, whole

if TYPE_CHECKING:
    from tests.conftest import Runs
    from tests.helpers.hostile_server import HostileServer, Reply

SUITE = """
@pytest.mark.throughput_budget(output="1 tok/s")
@pytest.mark.latency_budget(e2e_max="60 s")
def test_one(llm_client):
    llm_client.generate("Hello", max_tokens=4)
"""


def slots(*busy: bool) -> object:
    return [{"id": number, "is_processing": one} for number, one in enumerate(busy)]


@pytest.fixture
def slow(hostile: HostileServer) -> HostileServer:
    """A server whose answers take longer than the time between two looks."""
    words = [text(f" w{number}") for number in range(4)]
    hostile.answer = lambda _: stream(*words, text("", "length"), usage(4), "[DONE]", pause_s=0.1)
    return hostile


@pytest.mark.parametrize("name", ["llamacpp:tokens_predicted_total", "vllm:generation_tokens_total"])
@pytest.mark.parametrize(("others", "late"), [(0, False), (5, False), (0, True)])
def test_tokens_that_are_not_the_tests(hostile: HostileServer, runs: Runs, name: str, others: int, late: bool) -> None:
    unseen = count()

    def metrics() -> Reply:
        """The last tokens may be counted a moment after they were sent."""
        missing = 3 if late and hostile.asked and next(unseen) < 3 else 0
        generated = 100 + (4 + others) * len(hostile.asked) - missing
        return whole(f"# TYPE {name} counter\n{name} {generated}\n".encode(), content_type="text/plain")

    hostile.pages["/metrics"] = metrics
    result = runs.plain(SUITE, *hostile.options, "--llmperf-strict")
    result.assert_outcomes(failed=1) if others else result.assert_outcomes(passed=1)
    if others:
        result.stdout.fnmatch_lines(
            ["*latency.e2e_max INVALID: others used the server: it generated 9 tokens, 4 of them for the test *"]
        )


@pytest.mark.parametrize(
    ("busy", "words"),
    [
        ((True, False), ""),
        ((False, False), ""),
        ((True, True), "2 of its slots were busy with 1 request of the test *"),
    ],
)
def test_slots_that_are_not_the_tests(slow: HostileServer, runs: Runs, busy: tuple[bool, ...], words: str) -> None:
    slow.pages["/slots"] = lambda: whole(slots(*busy))
    result = runs.plain(SUITE, *slow.options, "--llmperf-strict")
    if words:
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"*latency.e2e_max INVALID: others used the server: {words}"])
    else:
        result.assert_outcomes(passed=1)


@pytest.mark.parametrize("page", ["not json", '{"error": "This server does not support slots endpoint."}', "[1]"])
def test_a_server_that_does_not_tell_is_taken_as_it_is(slow: HostileServer, runs: Runs, page: str) -> None:
    slow.pages["/slots"] = slow.pages["/metrics"] = lambda: whole(page.encode(), status=200)
    runs.plain(SUITE, *slow.options, "--llmperf-strict").assert_outcomes(passed=1)
