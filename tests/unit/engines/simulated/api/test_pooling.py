"""Embeddings as OpenAI's own client reads them; rankings and scores."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import openai

    from tests.helpers.simulated_process import Running

RETURNS = "Customers may send an article back within thirty days; the shop pays for the parcel."
DELIVERY = "Parcels leave the shop on the day of the order and take two days."
QUESTION = "Who pays for the parcel when a customer returns an article?"


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_embeddings_come_in_order_with_length_one_and_counts(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="simulated", input=[RETURNS, DELIVERY])
    assert [one.index for one in answer.data] == [0, 1]
    assert [len(one.embedding) for one in answer.data] == [256, 256]
    assert all(math.isclose(dot(one.embedding, one.embedding), 1, rel_tol=1e-6) for one in answer.data)
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (29, 29)


def test_both_encodings_carry_the_same_numbers(sdk: openai.OpenAI) -> None:
    # The client asks for base64 by itself, and for floats only on request.
    coded = sdk.embeddings.create(model="simulated", input=QUESTION).data[0].embedding
    plain = sdk.embeddings.create(model="simulated", input=QUESTION, encoding_format="float").data[0].embedding
    assert coded == pytest.approx(plain, abs=1e-7)


@pytest.mark.parametrize("dimensions", [64, 256, 1024])
def test_a_question_is_nearer_to_what_answers_it(sdk: openai.OpenAI, dimensions: int) -> None:
    answer = sdk.embeddings.create(model="simulated", input=[QUESTION, RETURNS, DELIVERY], dimensions=dimensions)
    asked, right, wrong = (one.embedding for one in answer.data)
    assert len(asked) == dimensions
    assert dot(asked, right) > dot(asked, wrong) + 0.1


def test_token_ids_are_embedded_too(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model="simulated", input=[[1, 2, 3], [4]])
    assert (len(answer.data), answer.usage.prompt_tokens) == (2, 4)
    assert len(sdk.embeddings.create(model="simulated", input=[1, 2, 3]).data) == 1


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_are_ranked_by_what_they_have_in_common_with_the_query(server: Running, path: str) -> None:
    asked = {"model": "simulated", "query": QUESTION, "documents": [DELIVERY, {"text": RETURNS}, "Cards."]}
    answer = json.loads(server.send(path, asked)[2])
    assert [result["index"] for result in answer["results"]] == [1, 0, 2]
    assert answer["results"][0]["document"] == {"text": RETURNS}
    scores = [result["relevance_score"] for result in answer["results"]]
    assert 1 >= scores[0] > scores[1] > scores[2] >= 0
    assert answer["usage"] == {"prompt_tokens": 63, "total_tokens": 63}
    short = json.loads(server.send(path, {**asked, "top_n": 1, "return_documents": False})[2])
    assert short["results"] == [{"index": 1, "relevance_score": scores[0]}]


@pytest.mark.parametrize("path", ["/v1/score", "/score"])
def test_pairs_of_texts_are_scored(server: Running, path: str) -> None:
    answer = json.loads(server.send(path, {"text_1": QUESTION, "text_2": [QUESTION, RETURNS, DELIVERY]})[2])
    scores = [one["score"] for one in answer["data"]]
    assert scores[0] == pytest.approx(1)
    assert scores[0] > scores[1] > scores[2]
    paired = json.loads(server.send(path, {"text_1": [QUESTION, RETURNS], "text_2": [RETURNS, RETURNS]})[2])
    assert [one["score"] for one in paired["data"]] == pytest.approx([scores[1], 1])


@pytest.mark.parametrize(
    ("path", "asked", "message"),
    [
        ("/v1/embeddings", {}, "input is missing"),
        ("/v1/embeddings", {"input": []}, "input is missing"),
        ("/v1/embeddings", {"input": ""}, "input is neither a text that is not empty"),
        ("/v1/embeddings", {"input": ["a", 1]}, "input is neither a text that is not empty"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format='int8' is neither"),
        ("/v1/embeddings", {"input": "a", "dimensions": 0}, "dimensions=0 is not a whole number from 1 to 8192"),
        ("/v1/rerank", {"documents": ["a"]}, "query is missing"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents are missing"),
        ("/v1/rerank", {"query": "a", "documents": [1]}, "documents are neither texts nor"),
        ("/v1/score", {"text_1": "a"}, "text_2 is missing"),
        ("/v1/score", {"text_1": ["a", "b"], "text_2": ["a"]}, "text_1 has 2 texts and text_2 1"),
    ],
)
def test_what_is_not_known_is_refused_by_name(server: Running, path: str, asked: dict[str, Any], message: str) -> None:
    status, _, body = server.send(path, asked)
    assert status == 400
    assert json.loads(body)["error"]["message"].startswith(message)
