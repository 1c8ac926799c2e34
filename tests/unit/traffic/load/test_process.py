"""The load client against a server that writes down when it really wrote each token, and one that misbehaves."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_llmperf.system.child_process import ChildProcess
from pytest_llmperf.traffic.load import process
from pytest_llmperf.traffic.load.process import LoadClientDied, LoadOutcome, LoadProgress, run_load
from pytest_llmperf.traffic.load.wire import Order, Plan
from tests.helpers.scripted_server import (
    STREAM_END,
    STREAM_HEAD,
    ScriptedServer,
    chunk,
    event,
    refused_url,
    text_stream,
    wait_for_the_end,
)
from tests.helpers.simulated_process import Running, serving
from tests.helpers.waiting import halt, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_llmperf.measurement.request import RequestTiming

MS = 1_000_000
LOOPS = ["asyncio", "auto"]


def plan(url: str, *, users: int | None = 4, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "url": url,
        "api_key": "",
        "timeout": 60.0,
        "keep": True,
        "path": "/chat/completions",
        "streamed": True,
        "kept_bytes": 2**28,
        "connections": users or 8,
        "reserve": 0 if users else 8,
        "user_starts_ns": [0] * users if users else None,
        "duration_ns": None,
        "max_error_rate": None,
        **changes,
    }
    return Plan(**fields)


def body(tokens: int = 5, **simulate: Any) -> bytes:
    usage = {"include_usage": True, "continuous_usage_stats": simulate.pop("continuous", False)}
    asked = {"messages": [{"role": "user", "content": "a b c"}], "max_tokens": tokens, "simulate": simulate}
    return json.dumps({**asked, "stream": True, "stream_options": usage}).encode()


def orders(count: int, content: bytes = b"", every_ns: int | None = None) -> Iterator[Order]:
    for number in range(count):
        yield Order(number, content or body(), None if every_ns is None else number * every_ns)


def timings(outcome: LoadOutcome) -> list[RequestTiming]:
    return [outcome.timings[number] for number in sorted(outcome.timings)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("server"), slots="64", tpot="2 ms", ttft="5 ms") as running:
        yield running


@pytest.fixture
def url(server: Running) -> str:
    return f"http://127.0.0.1:{server.port}/v1"


SHAPES = {
    "one token a chunk": ({}, [1] * 6),
    "four tokens a chunk": ({"tokens_per_chunk": 4}, [4, 2]),
    "reasoning, then the answer": ({"reasoning_tokens": 3, "tokens_per_chunk": 2}, [2, 1, 2, 1]),
    "no role chunk": ({"role_chunk": False}, [1] * 6),
}


@pytest.mark.parametrize(("simulate", "counts"), SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("loop", LOOPS)
def test_every_token_is_accounted_for_and_none_is_seen_before_it_was_written(
    tmp_path: Path, loop: str, simulate: dict[str, Any], counts: list[int]
) -> None:
    with serving(tmp_path, slots="64", tpot="1 ms", ttft="3 ms") as golden:
        target = f"http://127.0.0.1:{golden.port}/v1"
        outcome = run_load(plan(target, users=1), orders(12, body(6, continuous=True, **simulate)), event_loop=loop)
        records = sorted(golden.records(12), key=lambda record: record["arrived_ns"])
    for timing, record in zip(timings(outcome), records, strict=True):
        assert timing.error is None
        assert (timing.output_tokens, timing.prompt_tokens, timing.status) == (6, 3, 200)
        assert [chunk.tokens for chunk in timing.chunks] == [tokens for _, tokens in record["written_ns"]] == counts
        assert timing.sent_ns < record["arrived_ns"]
        assert all(
            written <= chunk.at_ns for (written, _), chunk in zip(record["written_ns"], timing.chunks, strict=True)
        )
        assert record["ended_ns"] <= timing.end_ns
    assert outcome.health is not None
    assert outcome.stopped == ""


def test_a_closed_loop_has_so_many_under_way_and_no_more(url: str) -> None:
    seen = timings(run_load(plan(url, users=3), orders(12)))
    edges = sorted([(t.sent_ns, 1) for t in seen] + [(t.end_ns, -1) for t in seen])
    under_way, most = 0, 0
    for _, step in edges:
        under_way += step
        most = max(most, under_way)
    assert (len(seen), most) == (12, 3)
    assert all(timing.scheduled_ns is None for timing in seen)


def test_an_open_loop_sends_at_its_moments_and_never_before(url: str) -> None:
    outcome = run_load(plan(url, users=None), orders(10, every_ns=7 * MS))
    seen = timings(outcome)
    assert [timing.scheduled_ns for timing in seen] == [outcome.begun_ns + number * 7 * MS for number in range(10)]
    assert all(timing.sent_ns >= (timing.scheduled_ns or 0) for timing in seen)
    assert outcome.health is not None
    assert outcome.health.schedule_lag is not None


def test_a_load_ends_with_its_duration_and_what_is_under_way_is_answered(url: str) -> None:
    outcome = run_load(plan(url, users=1, duration_ns=60 * MS), orders(500))
    seen = timings(outcome)
    assert 0 < len(seen) < 500
    assert all(timing.error is None for timing in seen)
    assert seen[-1].sent_ns < outcome.begun_ns + 60 * MS
    assert outcome.stopped == ""


def test_a_load_stops_when_too_much_fails(url: str) -> None:
    outcome = run_load(plan(url, max_error_rate=0.5), orders(500, body(1, error=True)))
    seen = timings(outcome)
    assert 20 <= len(seen) < 40
    assert "had failed, more than max_error_rate=0.5" in outcome.stopped
    assert {timing.error for timing in seen} == {"HTTP 500: simulated failure"}


def test_failures_are_told_apart(url: str) -> None:
    kinds = [body(4, cut_after=2), body(4, error=True, error_status=429), b"{}", body(4)]
    seen = timings(run_load(plan(url), (Order(number, kind) for number, kind in enumerate(kinds))))
    assert [timing.error for timing in seen] == [
        "the server closed the connection in the middle of the answer",
        "HTTP 429: simulated failure",
        "HTTP 400: messages are missing: give a list of objects with role and content",
        None,
    ]
    assert [len(timing.chunks) for timing in seen] == [2, 0, 0, 4]


def test_turns_of_a_chat_follow_each_other_with_the_answers_really_given(url: str) -> None:
    first = json.loads(body(4))
    order = Order(5, json.dumps(first).encode(), further=[("d e", 2, 5 * MS), ("f", 3, 9 * MS)])
    seen = timings(run_load(plan(url), [order]))
    # Three words, then with an answer of four and two more, then with one of two and one more.
    assert [(timing.prompt_tokens, timing.output_tokens) for timing in seen] == [(3, 4), (9, 2), (12, 3)]
    assert [timing.scheduled_ns for timing in seen] == [None, seen[0].end_ns + 5 * MS, seen[1].end_ns + 9 * MS]


def test_a_chat_whose_turn_fails_goes_no_further(url: str) -> None:
    order = Order(0, body(4, cut_after=1), further=[("d", 2, 0)])
    seen = timings(run_load(plan(url), [order]))
    assert len(seen) == 1


@pytest.mark.parametrize("last", [{"choices": [{"text": "", "finish_reason": "abort"}]}, {"detail": "no"}])
def test_a_chat_whose_answer_does_not_count_goes_no_further(last: object) -> None:
    stream = STREAM_HEAD + b"".join(map(chunk, (event({"choices": [{"text": "a"}]}), event(last)))) + STREAM_END
    with ScriptedServer(*[[[stream]]] * 2) as scripted:
        order = Order(0, body(4), further=[("d", 2, 0), ("e", 2, 0)])
        seen = timings(run_load(plan(scripted.url, users=1), [order]))
    assert [timing.error is not None for timing in seen] == [True]


def test_connections_are_used_again_and_a_stale_one_is_replaced() -> None:
    with ScriptedServer([[text_stream("a")]], [[text_stream("b")], [text_stream("c")]]) as scripted:
        outcome = run_load(plan(scripted.url, users=1), orders(3, b"{}"))
        assert [timing.error for timing in timings(outcome)] == [None] * 3
        assert [seen.connection for seen in scripted.requests] == [0, 1, 1]


def test_where_connections_are_not_to_be_kept_each_request_has_its_own() -> None:
    with ScriptedServer(*[[[text_stream("a")]]] * 3) as scripted:
        outcome = run_load(plan(scripted.url, users=1, keep=False, connections=0), orders(3, b"{}"))
        assert [timing.error for timing in timings(outcome)] == [None] * 3
        assert [seen.connection for seen in scripted.requests] == [0, 1, 2]
        assert all("Connection: close" in seen.head for seen in scripted.requests)


def test_where_nobody_listens_each_request_says_so() -> None:
    seen = timings(run_load(plan(refused_url()), orders(3, b"{}")))
    assert len(seen) == 3
    assert all("connection refused" in (timing.error or "") for timing in seen)


def test_a_silent_server_is_not_waited_for_without_end() -> None:
    with ScriptedServer([[STREAM_HEAD, wait_for_the_end]]) as scripted:
        (timing,) = timings(run_load(plan(scripted.url, users=1, timeout=0.5), orders(1, b"{}")))
    assert timing.error == f"{scripted.url.removesuffix('/v1')} was silent for 0.5 s"
    assert timing.status == 200


def test_what_no_longer_fits_raw_is_taken_apart_on_the_way(url: str) -> None:
    seen = timings(run_load(plan(url, kept_bytes=2000), orders(40)))
    assert [(timing.output_tokens, len(timing.chunks)) for timing in seen] == [(5, 5)] * 40


def test_progress_is_told_while_it_runs(url: str) -> None:
    told: list[LoadProgress] = []
    run_load(plan(url, users=1), orders(1, body(2, ttft="400 ms")), told.append)
    assert told[0].ended == 0
    assert told[-1].sent == 1


# ------------------------------------------------------------------------------------------------ how it may end


def children(of: int | None = None) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(of).children():
        with contextlib.suppress(psutil.Error):
            found += [child] if "traffic.load.main" in " ".join(child.cmdline()) else []
    return found


def test_an_interrupted_load_keeps_what_has_come(url: str) -> None:
    told: list[LoadProgress] = []

    def interrupt(progress: LoadProgress) -> None:
        told.append(progress)
        if progress.ended >= 2 and told[-2].ended < 2:
            raise KeyboardInterrupt

    def slow() -> Iterator[Order]:
        for number in range(6):
            yield Order(number, body(2, ttft="1 ms" if number < 2 else "30 s"))

    outcome = run_load(plan(url, users=2), slow(), interrupt)
    assert outcome.interrupted
    assert outcome.stopped == "it was interrupted"
    assert [timing.error for timing in timings(outcome)] == [None, None, "cancelled", "cancelled"]
    assert not children()


def test_the_death_of_the_client_is_one_line_that_says_how_far_it_was(url: str) -> None:
    def kill(progress: LoadProgress) -> None:
        if progress.ended >= 1:
            children()[0].kill()

    def slow() -> Iterator[Order]:
        yield Order(0, body(1))
        yield Order(1, body(2, ttft="30 s"))

    with pytest.raises(
        LoadClientDied, match=r"the load client died \(killed by SIGKILL\); 1 of 2 requests had ended"
    ) as error:
        run_load(plan(url, users=1), slow(), kill)
    assert "\n" not in str(error.value)


def test_a_client_that_hangs_is_ended(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def suspend(progress: LoadProgress) -> None:
        if progress.sent and not progress.unheard_s:
            # Not before: its start may take longer than this.
            monkeypatch.setattr(process, "_SILENCE_TIMEOUT_S", 1.0)
            children()[0].suspend()

    monkeypatch.setattr(process, "_UNHEARD_S", 0.0)
    died = r"^the load client was silent for 1 s \(it was stopped\); 0 of 1 requests had ended"
    with pytest.raises(LoadClientDied, match=died):
        run_load(plan(url, users=1), orders(1, body(2, ttft="60 s")), suspend)
    assert not children()


@pytest.mark.parametrize("count", [1, 2000])
def test_a_client_that_hangs_before_it_begins_is_ended(url: str, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """With all orders written, and with more of them than the pipe holds."""
    monkeypatch.setattr(process, "_SILENCE_TIMEOUT_S", 1.0)

    def start_stopped(*arguments: Any) -> ChildProcess:
        child = ChildProcess(*arguments)
        halt(child.pid)
        return child

    monkeypatch.setattr(process, "ChildProcess", start_stopped)
    with pytest.raises(LoadClientDied, match=r"^the load client was silent for 1 s \(it was stopped\); 0 of 0 "):
        run_load(plan(url, users=1), orders(count))
    assert not children()


def test_the_texts_of_a_load_may_take_longer_than_a_client_may_be_silent(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[None] = []
    monkeypatch.setattr(process, "_SILENCE_TIMEOUT_S", -1.0)
    check = process._Client._check_silence

    def note(client: process._Client, *given: Any) -> None:
        check(client, *given)
        checked.append(None)

    monkeypatch.setattr(process._Client, "_check_silence", note)

    def slow() -> Iterator[Order]:
        yield Order(0, body(1))
        until(lambda: checked)

    def begun(_: LoadProgress) -> None:
        monkeypatch.setattr(process, "_SILENCE_TIMEOUT_S", 120.0)

    assert [timing.error for timing in timings(run_load(plan(url, users=1), slow(), begun))] == [None]


def test_a_load_to_which_nothing_comes_ends_whatever_is_still_to_be_sent() -> None:
    told: list[LoadProgress] = []
    with ScriptedServer(*[[[wait_for_the_end]]] * 2) as scripted:
        outcome = run_load(plan(scripted.url, users=2, timeout=0.5), orders(500, b"{}"), told.append)
    assert outcome.stopped == "the engine is silent: nothing came for 0.5 s"
    assert len(timings(outcome)) == 2
    assert all("silent" in (timing.error or "") for timing in timings(outcome))
    assert max(progress.silent_s for progress in told) > 0


def test_an_error_while_requests_are_made_ends_the_load_and_is_the_one_that_is_raised(url: str) -> None:
    def broken() -> Iterator[Order]:
        yield Order(0, body())
        raise ValueError("no such tokenizer")

    with pytest.raises(ValueError, match="no such tokenizer"):
        run_load(plan(url), broken())
    assert not children()


STARTS_A_LOAD = """
import sys
from tests.unit.traffic.load.test_process import body, orders, plan, run_load
run_load(plan(sys.argv[1], users=1), orders(1, body(2, ttft="60 s")))
"""


def test_the_client_ends_with_whoever_started_it(url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTS_A_LOAD, url]) as starter:
        try:
            until(lambda: bool(children(starter.pid)))
            (child,) = children(starter.pid)
        finally:
            starter.kill()
    until(lambda: not child.is_running())
