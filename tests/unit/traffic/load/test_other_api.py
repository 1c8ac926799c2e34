"""Loads on a server with an API of its own: what crosses to the process that sends them, and what is refused before."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.answers.answer import Answer, Arrival
from pytest_llmperf.traffic.client.api import FunctionName, HttpApi
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.client.request import RequestFailed
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.load.wire import OPENAI_READER, Plan
from tests.helpers.scripted_server import ScriptedServer, Seen, sized
from tests.unit.traffic.load.test_process import plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_llmperf.traffic.workloads.workload import Workload

PROMPTS = workload(["a b", "c d", "e f"], output_tokens=2)
TURNS = workload(prompt_tokens=3, output_tokens=2, requests=3, turns=3, tokenizer=str.split)


def put(path: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The request in the form of the server; it knows no temperature above 0."""
    if body.get("temperature"):
        raise ValueError("the server has no temperature: leave it out")
    asked = {"inputs": body["prompt"]} if "prompt" in body else {"messages": body["messages"]}
    return "/say", {**asked, "limits": {"new": body["max_tokens"]}}


def read_words(arrival: Arrival) -> Answer:
    """An answer that is one JSON object with its words."""
    words = json.loads(arrival.body)["words"]
    timing = RequestTiming(
        arrival.sent_ns,
        arrival.end_ns,
        output_tokens=len(words),
        prompt_tokens=7,
        streamed=False,
        status=arrival.status,
        scheduled_ns=arrival.scheduled_ns,
    )
    return Answer(" ".join(words), "", [], "length", None, timing, {})


def create(url: str, **fields: Any) -> LLMClient:
    parts: dict[str, Any] = {"translate": put, "read": read_words, "length": ("limits", "new"), **fields}
    api = HttpApi(f"{url.removesuffix('/v1')}/own?key=1", **parts)
    return LLMClient(Endpoint(url, "m"), Dialect(api=lambda _: api))


def run(work: Workload, answers: int, **arguments: Any) -> tuple[tuple[RequestTiming, ...], list[Seen]]:
    """The timings of a load, and each request as the server got it."""
    turn = [sized({"words": ["x", "y"]})]
    with ScriptedServer([turn] * answers) as server, create(server.url) as client:
        result = client.run(work, stream=False, **arguments)
        assert result.load.health is not None
    return result.requests, server.requests


def test_a_load_is_put_and_read_in_the_form_of_the_server() -> None:
    timings, seen = run(PROMPTS, 3)
    assert [request.head.split("\r\n")[0] for request in seen] == ["POST /own/say?key=1 HTTP/1.1"] * 3
    assert [request.body for request in seen] == [{"inputs": p, "limits": {"new": 2}} for p in ("a b", "c d", "e f")]
    assert [(t.error, t.output_tokens, t.prompt_tokens) for t in timings] == [(None, 2, 7)] * 3
    assert all(timing.prompt is not None for timing in timings)


def test_each_turn_of_a_chat_holds_those_before_it_and_has_its_own_length() -> None:
    _, seen = run(TURNS, 3)
    assert [[m["role"] for m in request.body["messages"]] for request in seen] == [  # type: ignore[attr-defined]
        ["user", "assistant"] * turn + ["user"] for turn in range(3)
    ]
    assert seen[2].body["messages"][1]["content"] == "x y"  # type: ignore[index]
    assert [request.body["limits"] for request in seen] == [{"new": 2}] * 3


def test_a_single_request_goes_the_same_way() -> None:
    with ScriptedServer([[sized({"words": ["x"]})]]) as server, create(server.url) as client:
        answer = client.generate("a b", max_tokens=1, stream=False)
    assert (answer.text, server.requests[0].body) == ("x", {"inputs": "a b", "limits": {"new": 1}})


def outer_read() -> Any:
    def read(arrival: Arrival) -> Answer:
        return read_words(arrival)

    return read


@pytest.mark.parametrize(
    ("fields", "work", "arguments", "message"),
    [
        ({}, PROMPTS, {"temperature": 1.0}, "the server has no temperature: leave it out"),
        ({"read": lambda arrival: read_words(arrival)}, PROMPTS, {}, "make it a function of a module"),
        ({"read": outer_read()}, PROMPTS, {}, "make it a function of a module"),
        ({"translate": lambda path, body: ("/say", {"text": str(body)})}, TURNS, {}, "leave out turns"),
    ],
)
def test_what_cannot_be_put_or_read_is_refused_before_anything_is_sent(
    fields: dict[str, Any], work: Workload, arguments: dict[str, Any], message: str
) -> None:
    with ScriptedServer() as server, create(server.url, **fields) as client, pytest.raises(ValueError, match=message):
        client.run(work, stream=False, **arguments)
    assert server.requests == []


def test_a_reader_that_raises_fails_its_request_and_no_other() -> None:
    answers = [[sized({"words": ["x", "y"]})], [sized({"no": "words"})], [sized({"words": ["x", "y"]})]]
    unread = "1 of 3 requests failed, the first with: the answer cannot be read"
    with (
        ScriptedServer(answers) as server,
        create(server.url) as client,
        pytest.raises(RequestFailed, match=unread),
    ):
        client.run(PROMPTS, stream=False)


def test_a_reader_crosses_by_its_name_and_the_folder_of_its_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "its_package"
    package.mkdir()
    (package / "__init__.py").write_text("def first(): pass\n", encoding="utf-8")
    (package / "inner.py").write_text("def second(): pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    from its_package import first, inner  # type: ignore[import-not-found]

    names = [FunctionName.of(first), FunctionName.of(inner.second)]
    assert names == [
        FunctionName("its_package", "first", str(tmp_path)),
        FunctionName("its_package.inner", "second", str(tmp_path)),
    ]
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    assert [name.find() for name in names] == [first, inner.second]


def test_a_plan_holds_its_reader() -> None:
    given = plan("http://127.0.0.1:1/v1", reader=FunctionName.of(read_words), length=["limits", "new"])
    assert Plan.unpack(given.pack()) == given
    assert Plan.unpack(plan("http://127.0.0.1:1/v1").pack()).reader.find() is openai.read
    assert OPENAI_READER.module == "pytest_llmperf.traffic.answers.openai"
