"""Which engines are warmed up, by what, and what comes of a request that fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState, EngineStatus
from pytest_llmperf.plugin.measuring import engine_warmup
from pytest_llmperf.plugin.measuring.engine_warmup import EngineWarmups
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from tests.helpers.scripted_server import ScriptedServer, refused_url, sized, text_stream
from tests.helpers.streams import limits

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = text_stream("x")
SHORT = text_stream()


class FakeEngine:
    """The part of an engine that a warm-up needs, asked at a real address."""

    name = title = "fake"

    def __init__(self, url: str) -> None:
        self.endpoint = Endpoint(url, "tiny")
        self.dialect = Dialect(full_length={"ignore_eos": True}, warmup={"cold": True})
        self.spec = SimpleNamespace(startup_timeout=5.0)
        self.deployment = SimpleNamespace(log_tail=lambda: "out of memory", keep_log=lambda: "fake.log")
        self.status = self.after = EngineStatus(EngineState.READY, "")
        self.notes: list[float | None] = []

    @property
    def is_cold(self) -> bool:
        return not self.notes

    def note_warmup(self, seconds: float | None) -> None:
        self.notes.append(seconds)

    def read_status(self) -> EngineStatus:
        """As it was, and after its warm-up."""
        return self.after if self.notes else self.status


class Bench:
    def __init__(self, url: str, *, is_on: bool = True) -> None:
        self.engine: Any = FakeEngine(url)
        self.said: list[str] = []
        self.warned: list[str] = []
        self.warmups = EngineWarmups(self.said.append, self.warned.append, is_on=is_on)

    def warm_up(self, **limit: str) -> bool:
        group, given = ("memory", limit) if "growth" in limit or "peak" in limit else ("latency", limit)
        return self.warmups.warm_up([self.engine], limits(group, **given) if given else [])


@pytest.fixture(autouse=True)
def _without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_warmup, "_END_TIMEOUT", 0.0)


@pytest.fixture
def served(request: pytest.FixtureRequest) -> Iterator[tuple[ScriptedServer, Bench]]:
    with ScriptedServer(*([[answer]] for answer in getattr(request, "param", [GOOD]))) as server:
        yield server, Bench(server.url)


def test_a_cold_engine_is_asked_once_for_a_few_tokens(served: tuple[ScriptedServer, Bench]) -> None:
    server, bench = served
    assert not bench.warm_up(e2e_max="1 s")
    assert not bench.warm_up(e2e_max="1 s")
    [seen] = server.requests
    assert seen.head.startswith("POST /v1/completions ")
    assert (seen.body["max_tokens"], seen.body["ignore_eos"], seen.body["cold"]) == (4, True, True)
    [seconds] = bench.engine.notes
    assert seconds > 0
    assert bench.said[0].startswith("fake: warmed up by one request in ")
    assert not bench.warned


def test_memory_must_settle_where_the_level_before_the_test_counts(served: tuple[ScriptedServer, Bench]) -> None:
    _, bench = served
    assert bench.warm_up(growth="1 GiB")
    assert not bench.warm_up(growth="1 GiB")  # nothing was sent


def test_no_request_goes_to_what_is_warm_or_meant_to_be_cold_or_where_it_is_off() -> None:
    nowhere = refused_url()
    started = Bench(nowhere)
    started.warmups.note_start(started.engine)
    started.warm_up()
    off = Bench(nowhere, is_on=False)
    off.warm_up()
    limited = Bench(nowhere)
    limited.warm_up(startup="60 s", ttft_max="1 s")
    for bench in (started, off, limited):
        assert not bench.engine.notes
        assert not bench.warned
    asleep = Bench(nowhere)
    asleep.engine.status = EngineStatus(EngineState.ASLEEP, "")
    asleep.warm_up()
    assert not asleep.engine.notes
    started.warmups.begin_test()
    started.warm_up()
    assert started.engine.notes == [None]  # the next test is another one


@pytest.mark.parametrize("served", [[sized({}, "404 Not Found"), text_stream("x")]], indirect=True)
def test_a_server_of_chats_alone_is_asked_for_one(served: tuple[ScriptedServer, Bench]) -> None:
    server, bench = served
    bench.warm_up()
    assert [seen.head.split()[1] for seen in server.requests] == ["/v1/completions", "/v1/chat/completions"]


@pytest.mark.parametrize("served", [[SHORT]], indirect=True)
def test_an_answer_that_is_no_good_one_has_warmed_it_up_all_the_same(served: tuple[ScriptedServer, Bench]) -> None:
    _, bench = served
    bench.warm_up()
    assert not bench.warned
    assert bench.engine.notes != [None]


@pytest.mark.parametrize("served", [[sized({}, "500 Oh")]], indirect=True)
def test_a_failure_is_one_line_and_is_not_tried_again(served: tuple[ScriptedServer, Bench]) -> None:
    server, bench = served
    bench.warm_up()
    bench.warm_up()
    [text] = bench.warned
    assert text.startswith("fake: its warm-up request failed, so that its first test may meet it cold: POST ")
    assert "HTTP 500" in text
    assert text.endswith("; --llmperf-no-engine-warmup leaves it out")
    assert "\n" not in text
    assert len(server.requests) == 1


def test_an_engine_that_ends_over_it_is_named_with_its_own_reason_and_log() -> None:
    bench = Bench(refused_url())
    bench.engine.after = EngineStatus(EngineState.ENDED, "fake ended with SIGILL")
    with pytest.raises(EngineError, match=r"^fake ended with SIGILL, while it was warmed up by its first") as raised:
        bench.warm_up()
    assert (raised.value.log_tail, raised.value.log_path) == ("out of memory", "fake.log")
    assert not bench.warned
