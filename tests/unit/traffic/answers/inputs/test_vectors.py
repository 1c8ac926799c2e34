"""Numbers are taken out of vectors piece by piece, and what is left still reads as the same vectors."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from pytest_llmperf.traffic.answers.inputs.vectors import find_scores, find_vectors, is_given, thin_out

RANDOM = Random(5)
VECTORS = [[RANDOM.gauss(0, 1) * 10 ** RANDOM.randint(-12, 3) for _ in range(300)] for _ in range(5)]
CONTENT: dict[str, Any] = {
    "data": [{"index": at, "embedding": vector} for at, vector in enumerate(VECTORS)],
    "usage": {"prompt_tokens": 12345, "total_tokens": 12345},
}
LAYOUTS: dict[str, dict[str, Any]] = {"one line": {}, "close": {"separators": (",", ":")}, "indented": {"indent": 4}}


@pytest.mark.parametrize("size", [1, 7, 100, 1460, 65536])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_whatever_the_pieces_the_rest_is_the_same(layout: str, size: int) -> None:
    body = json.dumps(CONTENT, **LAYOUTS[layout]).encode()
    thin = b"".join(thin_out(body[start : start + size]) for start in range(0, len(body), size))
    found = json.loads(thin)
    assert found["usage"] == CONTENT["usage"]
    vectors = find_vectors(found)
    assert [(vector[0], vector[-1]) for vector in vectors] == [(vector[0], vector[-1]) for vector in VECTORS]
    assert all(map(is_given, vectors))
    if size > 1000:
        assert len(thin) < len(body) / 5


@pytest.mark.parametrize("body", ['{"a": "1, 2, 3, 4"}', "[1, 2, 3]", '"' + "1.5," * 3 + '"', ""])
def test_short_lists_stay_as_they_are(body: str) -> None:
    assert thin_out(body.encode()) == body.encode()


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "value",
    [
        *([], {}, None, "", True, NAN, INFINITE, [NAN, 1.0], [1.0, None], [INFINITE], [[1.0], []], [[1.0], [NAN]]),
        *([True, 1.0], {"error": "out of memory"}, {"7": NAN}),
    ],
)
def test_what_is_no_vector_and_no_score_is_none(value: object) -> None:
    assert not is_given(value)
    assert not any(map(is_given, find_vectors({"data": [{"embedding": value}]})))
    assert not any(map(is_given, find_scores({"results": [{"score": value}]})))


@pytest.mark.parametrize(
    "value", [0, 0.0, -1.5, "AAAA", "a label", [0, 0], [1.5, 2], [[1.5], [2]], ["AAAA", "AAAA"], {"7": 0.5}]
)
def test_vectors_scores_and_labels_in_any_form_count(value: object) -> None:
    assert is_given(value)


@pytest.mark.parametrize("stated", [{"error": "out of memory"}, {"error": {"code": 500}}])
def test_a_part_that_states_an_error_gives_nothing(stated: dict[str, Any]) -> None:
    parts = [{"embedding": [0.0], "score": 0.0}, {"embedding": [0.0], "score": 0.0, **stated}]
    assert find_vectors({"data": parts}) == [[0.0], None]
    assert find_scores({"data": parts}) == [0.0, None]
    fine = {"embedding": [0.0], "score": 0.5, "error": None, "error_code": 0, "document": {"error": "of the document"}}
    assert (find_vectors({"data": [fine]}), find_scores({"data": [fine]})) == ([[0.0]], [0.5])


def test_a_type_of_number_that_was_not_asked_for_may_be_null() -> None:
    assert find_vectors({"embeddings": {"float": None, "int8": [[1], [2]]}}) == [[1], [2]]
