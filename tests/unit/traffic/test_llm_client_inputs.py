"""Embeddings and ranks of the client of a test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.client.api import HttpApi
from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
from pytest_llmperf.traffic.llm_client import LLMClient, RequestFailed
from tests.helpers.recorded_client import client_of
from tests.helpers.scripted_server import sized

if TYPE_CHECKING:
    from collections.abc import Mapping

VECTORS = {
    "model": "tiny",
    "data": [{"index": 1, "embedding": [0.2, 0.3]}, {"index": 0, "embedding": [0.0, 0.1]}],
    "usage": {"prompt_tokens": 5, "total_tokens": 5},
}
RANKS = {"results": [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.4}]}


def test_texts_are_embedded_in_their_order() -> None:
    with client_of([[sized(VECTORS)]], api_key="secret") as (client, server):
        found = client.embed(["one", "two"], dimensions=2, headers={"X-Team": "a"})
    assert found.vectors == [[0.0, 0.1], [0.2, 0.3]]
    timing = found.timing
    assert (timing.work, timing.inputs, timing.prompt_tokens, timing.output_tokens) == ("embed", 2, 5, None)
    assert (timing.prompt, timing.streamed, timing.lag is not None) == (None, False, True)
    assert client.timings == [timing]
    [seen] = server.requests
    assert seen.head.startswith("POST /v1/embeddings HTTP/1.1\r\n")
    assert "Authorization: Bearer secret" in seen.head
    assert "X-Team: a" in seen.head
    assert seen.body == {"model": "tiny", "input": ["one", "two"], "dimensions": 2}


def test_documents_are_ranked_and_those_that_were_left_out_have_no_score() -> None:
    with client_of([[sized(RANKS)]]) as (client, server):
        found = client.rerank("sea", ["ocean", "hill", "wave"], top_n=2)
    assert found.scores == [0.4, None, 0.9]
    assert (found.timing.work, found.timing.inputs) == ("rank", 3)
    assert server.requests[0].body == {
        "model": "tiny", "query": "sea", "documents": ["ocean", "hill", "wave"], "top_n": 2
    }  # fmt: skip


def test_the_coroutines_do_the_same() -> None:
    with client_of([[sized(VECTORS)]], [[sized(RANKS)]]) as (client, _):
        assert asyncio.run(client.aembed(["one", "two"])).vectors == [[0.0, 0.1], [0.2, 0.3]]
        assert asyncio.run(client.arerank("sea", ["a", "b", "c"], top_n=2)).scores == [0.4, None, 0.9]


def test_fewer_vectors_than_texts_fail() -> None:
    with client_of([[sized(VECTORS)]]) as (client, _):
        with pytest.raises(RequestFailed, match="the answer has 2 embeddings where 3 were asked for"):
            client.embed(["one", "two", "three"])
        assert client.timings[0].error is not None
        assert client.timings[0].work == "embed"


def fail_to_translate(path: str, body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    raise AssertionError((path, body))


def test_an_engine_with_an_api_of_its_own_is_asked_for_them_in_that_of_openai() -> None:
    with client_of([[sized(VECTORS)]]) as (client, server):
        dialect = Dialect(api=lambda endpoint: HttpApi(endpoint.root, fail_to_translate))
        with LLMClient(Endpoint(client.base_url, "tiny"), dialect) as other:
            assert len(other.embed(["one", "two"]).vectors) == 2
    assert server.requests[0].head.startswith("POST /v1/embeddings ")


@pytest.mark.parametrize(
    ("arguments", "mistake"),
    [
        ({"texts": []}, "texts must be one string or more"),
        ({"texts": ["a", ""]}, "texts must be one string or more"),
        ({"texts": [1]}, "texts must be one string or more"),
        ({"texts": "a", "extra_headers": {}}, "extra_headers= is no field"),
        ({"texts": "a", "timeout": 0}, "timeout=0 must be seconds above 0"),
        ({"texts": "a", "extra_body": []}, "extra_body must be a dict"),
    ],
)
def test_what_cannot_be_sent_is_refused(arguments: dict[str, Any], mistake: str) -> None:
    with client_of() as (client, server):
        with pytest.raises(ValueError, match=mistake):
            client.embed(**arguments)
        assert (client.timings, server.requests) == ([], [])


@pytest.mark.parametrize(
    ("documents", "top_n", "mistake"),
    [
        ("a", None, "documents must be a list"),
        ([], None, "documents must be one"),
        (["a"], 0, "top_n=0 must be a whole"),
    ],
)
def test_ranks_that_cannot_be_asked_for_are_refused(documents: Any, top_n: int | None, mistake: str) -> None:
    with client_of() as (client, _), pytest.raises(ValueError, match=mistake):
        client.rerank("q", documents, top_n=top_n)
