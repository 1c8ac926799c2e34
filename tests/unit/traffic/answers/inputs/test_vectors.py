"""Numbers are taken out of vectors piece by piece, and what is left still reads as the same vectors."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from pytest_llmperf.traffic.answers.inputs.vectors import find_vectors, is_given, thin_out

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
