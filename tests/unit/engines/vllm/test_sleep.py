from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.vllm.sleep import LLMSleeper, ServerSleeper, Sleeper, SleepingDeployment
from tests.helpers.fake_engine import FakeDeployment, FakeEngine
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ASKED = {"enable_sleep_mode": "true"}


class Dev(HTTPServer):
    """The part of vLLM's server that puts it to sleep, with the orders it got."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.orders: list[str] = []
        self.sleeping = self.deaf = False
        self.status = 200


class _Handler(BaseHTTPRequestHandler):
    server: Dev

    def do_GET(self) -> None:
        self._answer(json.dumps({"is_sleeping": self.server.sleeping}).encode())

    def do_POST(self) -> None:
        parts, server = urlsplit(self.path), self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server.orders.append(" ".join([self.path, body.decode()]).strip())
        if server.status == 200 and not server.deaf:
            tags = parse_qs(parts.query).get("tags")
            server.sleeping = parts.path == "/sleep" or (server.sleeping and tags == ["weights"])
            if parts.path == "/collective_rpc":
                server.sleeping = True
        self._answer(b"{}")

    def _answer(self, body: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""


@pytest.fixture
def server() -> Iterator[Dev]:
    with Dev() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE_S)


class Bed(SleepingDeployment, FakeDeployment):
    """Sleeps by ``how``, on a GPU unless it is ``on_cpu``."""

    is_on_cpu = False

    def __init__(self, how: Sleeper, *, on_cpu: bool = False, args: Mapping[str, str] = ASKED) -> None:
        super().__init__(EngineSpec("vllm", args=args))
        self.is_on_cpu = on_cpu
        self.state = EngineState.READY
        self._how = how

    def sleeper(self) -> Sleeper:
        return self._how


@pytest.fixture
def engine(server: Dev) -> Bed:
    return Bed(ServerSleeper(f"http://127.0.0.1:{server.server_port}/v1"))


def asleep(engine: Bed) -> bool:
    return engine.state is EngineState.ASLEEP


def test_a_server_is_put_to_sleep_and_woken(server: Dev, engine: Bed) -> None:
    engine.sleep(1)
    assert asleep(engine)
    engine.wake()
    assert not asleep(engine)
    assert server.orders == ["/sleep?level=1", "/wake_up"]


def test_weights_that_were_given_up_are_read_anew_before_it_is_used(server: Dev, engine: Bed) -> None:
    engine.sleep(2)
    engine.wake()
    assert server.orders == [
        "/sleep?level=2",
        "/wake_up?tags=weights",
        '/collective_rpc {"method": "reload_weights"}',
        "/wake_up?tags=kv_cache",
    ]


def test_with_sleep_mode_a_model_is_unloaded_by_sleeping(server: Dev, engine: Bed) -> None:
    engine.unload()
    assert server.orders == ["/sleep?level=1"]
    assert asleep(engine)


def test_without_it_unloading_is_left_to_the_kind_of_engine(server: Dev) -> None:
    sleeper = ServerSleeper(f"http://127.0.0.1:{server.server_port}/v1")
    for bed in (Bed(sleeper, args={}), Bed(sleeper, on_cpu=True)):
        with pytest.raises(EngineError, match="vllm cannot unload its model while it runs"):
            bed.unload()
    assert server.orders == []


def test_waking_what_does_not_sleep_asks_nobody(server: Dev, engine: Bed) -> None:
    engine.wake()
    assert server.orders == []


def test_a_sleep_or_a_wake_that_did_not_happen_is_an_error(server: Dev, engine: Bed) -> None:
    server.deaf = True
    with pytest.raises(EngineError, match="did not go to sleep"):
        engine.sleep(1)
    assert not asleep(engine)
    server.deaf = False
    engine.sleep(1)
    server.deaf = True
    with pytest.raises(EngineError, match="did not wake up"):
        engine.wake()
    assert asleep(engine)


def test_a_server_without_the_addresses_says_what_is_missing(server: Dev, engine: Bed) -> None:
    server.status = 404
    with pytest.raises(EngineError, match=r"^vllm did not sleep: HTTP 404; VLLM_SERVER_DEV_MODE=1 must be set"):
        engine.sleep(1)


def test_an_engine_that_fails_at_it_is_one_line(engine: Bed, server: Dev) -> None:
    server.status = 500
    with pytest.raises(EngineError, match=r"^vllm did not sleep: HTTP 500$"):
        engine.sleep(1)


class Llm:
    """A ``vllm.LLM`` as far as its sleep goes."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.llm_engine = self
        self.sleeping = False

    def sleep(self, level: int) -> None:
        self.calls.append(level)
        self.sleeping = True

    def wake_up(self, tags: list[str] | None) -> None:
        self.calls.append(tags)
        self.sleeping = tags == ["weights"]

    def collective_rpc(self, method: str) -> None:
        self.calls.append(method)

    def is_sleeping(self) -> bool:
        return self.sleeping


def test_an_engine_of_this_process_sleeps_as_well() -> None:
    llm = Llm()
    engine = Bed(LLMSleeper(llm))
    engine.sleep(2)
    engine.wake()
    assert llm.calls == [2, ["weights"], "reload_weights", ["kv_cache"]]
    assert not asleep(engine)


def test_on_the_cpu_it_is_refused_before_it_would_do_nothing() -> None:
    llm = Llm()
    with pytest.raises(EngineError, match="sleep is not supported here: its sleep mode is for CUDA and ROCm"):
        Bed(LLMSleeper(llm), on_cpu=True).sleep(1)
    assert llm.calls == []


def test_without_the_mode_or_at_an_unknown_level_it_is_refused_with_what_to_do() -> None:
    llm = Llm()
    with pytest.raises(EngineError, match="give --llmperf-engine-arg=enable_sleep_mode=true"):
        Bed(LLMSleeper(llm), args={}).sleep(1)
    with pytest.raises(EngineError, match=r"no sleep at level 0 \(1: the weights go to the host's memory, 2:"):
        Bed(LLMSleeper(llm)).sleep(0)
    assert llm.calls == []


def test_other_engines_cannot_sleep() -> None:
    with pytest.raises(EngineError, match=r"^fake cannot sleep; llm_engine\.restart"):
        FakeEngine(EngineSpec("fake")).sleep()
    with pytest.raises(EngineError, match=r"^fake cannot sleep, so there is nothing to wake"):
        FakeEngine(EngineSpec("fake")).wake()
