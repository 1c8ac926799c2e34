"""A request that does not fit into a slot is refused before it is sent, by a server whose tokens are words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pytest_llmperf.engines.llamacpp import room
from pytest_llmperf.traffic.client.dialect import Endpoint

ENDPOINT = Endpoint("http://127.0.0.1:1/v1", "tiny", "secret")


class Server:
    """Two slots of 512 tokens."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.keys: set[str] = set()
        self.properties: dict[str, Any] = {"default_generation_settings": {"n_ctx": 512}, "total_slots": 2}

    def get(self, url: str, *, api_key: str) -> bytes:
        self.keys.add(api_key)
        self.asked.append(url.rpartition("/")[2])
        return json.dumps(self.properties).encode()

    def post(self, url: str, content: dict[str, Any], *, api_key: str) -> bytes:
        self.keys.add(api_key)
        self.asked.append(url.rpartition("/")[2])
        if url.endswith("/apply-template"):
            return json.dumps({"prompt": " ".join(m["content"] for m in content["messages"]) + " <end>"}).encode()
        return json.dumps({"tokens": content["content"].split()}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(room, "http_get", server.get)
    monkeypatch.setattr(room, "http_post", server.post)
    room._read_slots.cache_clear()
    room._count_tokens.cache_clear()
    return server


def ask(words: int, max_tokens: int, *, chat: bool = False) -> dict[str, Any]:
    text = " ".join(["word"] * words)
    body: dict[str, Any] = {"max_tokens": max_tokens}
    return {**body, "messages": [{"role": "user", "content": text}]} if chat else {**body, "prompt": text}


def test_what_certainly_fits_is_not_counted(server: Server) -> None:
    for _ in range(3):
        room.check_room(ENDPOINT, ask(10, 400))
    assert server.asked == ["props"]


@pytest.mark.parametrize(
    ("words", "chat", "fits"), [(400, False, True), (412, False, True), (413, False, False), (411, True, True)]
)
def test_a_prompt_is_counted_by_the_server(server: Server, words: int, chat: bool, fits: bool) -> None:
    if fits:
        room.check_room(ENDPOINT, ask(words, 100, chat=chat))
    else:
        with pytest.raises(ValueError, match="do not fit"):
            room.check_room(ENDPOINT, ask(words, 100, chat=chat))


def test_the_refusal_names_the_settings(server: Server) -> None:
    with pytest.raises(ValueError, match="llamacpp:parallel") as found:
        room.check_room(ENDPOINT, ask(400, 300, chat=True))
    assert server.keys == {"secret"}
    assert str(found.value) == (
        "a prompt of 401 tokens and max_tokens=300 do not fit into the 512 tokens that each of 2 slots has: "
        "--llmperf-engine-arg=llamacpp:ctx_size=1536 makes them fit, and so does a smaller llamacpp:parallel"
    )


def test_what_cannot_be_counted_is_not_refused(server: Server) -> None:
    server.properties = {}
    room.check_room(ENDPOINT, ask(4000, 300))
