from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.llm_client import RequestFailed
from tests.helpers.recorded_client import REFUSAL, WHOLE, client_of
from tests.helpers.scripted_server import STREAM_HEAD, sized, text_stream, wait_for_the_end
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from pytest_llmperf.traffic.answers.answer import Answer
    from pytest_llmperf.traffic.llm_client import LLMClient
    from tests.helpers.scripted_server import Turn


def echo(count: int, before: Callable[[], object]) -> list[list[Turn]]:
    """``count`` connections with one answer each, given once ``before`` has returned."""
    return [[[lambda _: before(), text_stream(f"{number}")]] for number in range(count)]


def test_a_run_keeps_so_many_requests_in_flight_and_no_more() -> None:
    together = threading.Barrier(3)
    lock = threading.Lock()
    in_flight: list[int] = [0, 0]

    def meet() -> None:
        with lock:
            in_flight[0] += 1
            in_flight[1] = max(in_flight)
        together.wait(PATIENCE_S)
        with lock:
            in_flight[0] -= 1
        together.wait(PATIENCE_S)

    with client_of(*echo(6, meet)) as (client, server):
        answers = client.run(["x"] * 6, concurrency=3, max_tokens=1)
    assert in_flight == [0, 3]
    assert len(answers) == len(client.timings) == len(server.requests) == 6


def test_the_answers_of_a_run_are_in_the_order_of_its_prompts() -> None:
    scripts: list[list[Turn]] = [[[text_stream(word)]] for word in "abcd"]
    with client_of(*scripts) as (client, server):
        answers = client.run(["1", "2", "3", "4"])
    assert [answer.text for answer in answers] == ["a", "b", "c", "d"]
    assert [seen.body["prompt"] for seen in server.requests] == ["1", "2", "3", "4"]


def test_a_run_may_chat() -> None:
    with client_of([[sized(WHOLE)]], [[sized(WHOLE)]]) as (client, server):
        client.run(["a", [{"role": "user", "content": "b"}]], chat=True, stream=False)
    assert [seen.body["messages"][0]["content"] for seen in server.requests] == ["a", "b"]  # type: ignore[index]


def test_a_failure_stops_no_other_request_of_a_run() -> None:
    scripts: list[list[Turn]] = [[[text_stream("a")]], [[REFUSAL]], [[text_stream("c")]], [[sized({})]]]
    with client_of(*scripts) as (client, _), pytest.raises(RequestFailed, match="too busy") as failure:
        client.run(["1", "2", "3", "4"])
    assert [timing.status for timing in client.timings] == [200, 503, 200, 200]
    assert failure.value.timing is client.timings[1]


def test_a_run_works_inside_a_running_event_loop() -> None:
    async def inside(client: LLMClient) -> list[Answer]:
        return client.run(["1", "2"], concurrency=2)

    with client_of([[text_stream("a")]], [[text_stream("a")]]) as (client, _):
        assert [answer.text for answer in asyncio.run(inside(client))] == ["a", "a"]


def test_an_interrupted_run_records_what_was_sent_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()

    def stall(connection: socket.socket) -> None:
        began.set()
        wait_for_the_end(connection)

    def interrupt(*_: object) -> None:
        assert began.wait(PATIENCE_S)
        raise KeyboardInterrupt

    monkeypatch.setattr("concurrent.futures.Future.result", interrupt)
    with client_of([[STREAM_HEAD, stall]]) as (client, _), pytest.raises(KeyboardInterrupt):
        client.run(["1", "2"])
    assert [timing.error for timing in client.timings] == ["cancelled"]
