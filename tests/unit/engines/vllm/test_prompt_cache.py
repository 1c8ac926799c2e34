from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.vllm import prompt_cache
from pytest_llmperf.engines.vllm.prompt_cache import empty_llm_cache, empty_server_cache
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

ALL = ["/reset_prefix_cache", "/reset_mm_cache", "/reset_encoder_cache"]


class Dev(HTTPServer):
    """The part of vLLM's server that empties its caches; ``held`` is how often it fails because blocks are held."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.orders: list[str] = []
        self.unknown: list[str] = []
        self.body = b'{"success": true}'
        self.held = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Dev

    def do_POST(self) -> None:
        server = self.server
        server.orders.append(self.path)
        body = server.body
        if server.held:
            server.held -= 1
            body = json.dumps({"success": False}).encode()
        self.send_response(404 if self.path in server.unknown else 200)
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


def test_a_server_forgets_all_that_it_caches(server: Dev) -> None:
    empty_server_cache(server.url, {})
    assert server.orders == ALL


@pytest.mark.parametrize("argument", ["kv_transfer_config", "kv_offloading_size"])
def test_blocks_outside_of_the_pool_are_forgotten_too(server: Dev, argument: str) -> None:
    empty_server_cache(server.url, {argument: "4"})
    assert server.orders[0] == "/reset_prefix_cache?reset_external=true"


def test_it_waits_for_blocks_of_a_request_that_was_given_up(server: Dev) -> None:
    server.held = 2
    empty_server_cache(server.url, {})
    assert server.orders == [ALL[0], ALL[0], *ALL]


def test_earlier_versions_answer_nothing_and_have_fewer_caches(server: Dev) -> None:
    server.body, server.unknown = b"", ALL[1:]
    empty_server_cache(server.url, {})
    assert server.orders == ALL


def test_blocks_that_are_held_on_are_said(server: Dev, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_cache, "_PATIENCE_S", 0.01)
    server.held = 1000
    with pytest.raises(EngineError, match=r"^vllm did not empty its prefix cache: requests still hold blocks of it$"):
        empty_server_cache(server.url, {})


def test_a_server_without_the_address_says_what_it_was_started_without(server: Dev) -> None:
    server.unknown = ALL[:1]
    with pytest.raises(EngineError, match=r"cache: HTTP 404; VLLM_SERVER_DEV_MODE=1 must be set where it is started$"):
        empty_server_cache(server.url, {})


@pytest.mark.parametrize("body", [b"[1]", b"what?"])
def test_an_answer_of_another_kind_is_a_failure(server: Dev, body: bytes) -> None:
    server.body = body
    with pytest.raises(EngineError, match=r"^vllm did not empty its prefix cache: "):
        empty_server_cache(server.url, {})


class LLM:
    """Notes what it is told; ``held`` as of the server."""

    def __init__(self, held: int = 0, failure: Exception | None = None) -> None:
        self.orders: list[Any] = []
        self.held = held
        self.failure = failure
        self.llm_engine = SimpleNamespace(reset_encoder_cache=lambda: self.orders.append("encoder"))

    def reset_prefix_cache(self, reset_running_requests: bool = False, reset_connector: bool = False) -> bool:
        if self.failure is not None:
            raise self.failure
        self.orders.append(reset_connector)
        self.held -= 1
        return self.held < 0

    def reset_mm_cache(self) -> None:
        self.orders.append("images")


def test_an_llm_forgets_all_that_it_caches() -> None:
    llm = LLM(held=1)
    empty_llm_cache(llm, {})
    assert llm.orders == [False, False, "images", "encoder"]
    outside = LLM()
    empty_llm_cache(outside, {"kv_offloading_size": "4"})
    assert outside.orders[0] is True


def test_an_llm_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompt_cache, "_PATIENCE_S", 0.01)
    with pytest.raises(EngineError, match="requests still hold blocks"):
        empty_llm_cache(LLM(held=1000), {})
    with pytest.raises(EngineError, match=r"^vllm did not empty its prefix cache: the core is dead$"):
        empty_llm_cache(LLM(failure=RuntimeError("the core\nis dead")), {})
