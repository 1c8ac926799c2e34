"""Endpoints that generate no text: embeddings, rankings and scores, and counts of tokens."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.request import RequestError, is_warmup, read_count
from pytest_llmperf.engines.simulated.model.vectors import compare, embed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.engines.simulated.model.settings import Simulation

_MOST_DIMENSIONS = 8192


@dataclass(frozen=True)
class PoolingAsk:
    """What one request asks for: ``texts`` as a script sees them, their ``tokens``, and the body of the answer."""

    simulation: Simulation
    texts: tuple[str, ...]
    tokens: int
    payload: Mapping[str, Any]
    is_warmup: bool = False


def read_embeddings(asked: Mapping[str, Any], simulation: Simulation) -> PoolingAsk:
    """``/v1/embeddings`` of OpenAI's API.

    Raises:
        RequestError: the body is not understood.
    """
    texts = _find_inputs(asked)
    form = asked.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise RequestError(400, f"encoding_format={form!r} is neither float nor base64")
    dimensions = read_count(asked, "dimensions", most=_MOST_DIMENSIONS) or simulation.dimensions
    data = [
        {"object": "embedding", "index": index, "embedding": _encode(embed(text, dimensions), form)}
        for index, text in enumerate(texts)
    ]
    tokens = _count_tokens(texts)
    payload = {"object": "list", "data": data, "model": simulation.model}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _make_ask(asked, simulation, texts, payload, usage)


def read_ranking(asked: Mapping[str, Any], simulation: Simulation) -> PoolingAsk:
    """``/v1/rerank``, as Jina and Cohere have it and servers have taken it over.

    Raises:
        RequestError: the body is not understood.
    """
    query, documents = asked.get("query"), asked.get("documents")
    if not isinstance(query, str) or not query:
        raise RequestError(400, "query is missing: give a text")
    if not isinstance(documents, list) or not documents:
        raise RequestError(400, "documents are missing: give a list of texts")
    texts = [_read_document(document) for document in documents]
    scores = _score(query, texts, simulation)
    best = sorted(range(len(texts)), key=lambda index: -scores[index])[: read_count(asked, "top_n")]
    shown = asked.get("return_documents") is not False
    results = [
        {"index": index, "relevance_score": scores[index]} | ({"document": {"text": texts[index]}} if shown else {})
        for index in best
    ]
    payload = {"id": "rerank", "object": "list", "model": simulation.model, "results": results}
    tokens = _count_tokens([query] * len(texts)) + _count_tokens(texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _make_ask(asked, simulation, (query, *texts), payload, usage, tokens)


def read_scores(asked: Mapping[str, Any], simulation: Simulation) -> PoolingAsk:
    """``/v1/score`` of vLLM's server: how alike pairs of texts are.

    Raises:
        RequestError: the body is not understood.
    """
    ones, others = _read_texts(asked, "text_1"), _read_texts(asked, "text_2")
    if len(ones) == 1:
        ones *= len(others)
    if len(ones) != len(others):
        raise RequestError(400, f"text_1 has {len(ones)} texts and text_2 {len(others)}: give one, or as many")
    pairs = list(zip(ones, others, strict=True))
    data = [
        {"index": index, "object": "score", "score": _score(one, [other], simulation)[0]}
        for index, (one, other) in enumerate(pairs)
    ]
    tokens = _count_tokens(ones) + _count_tokens(others)
    payload = {"id": "score", "object": "list", "model": simulation.model, "data": data}
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _make_ask(asked, simulation, (*ones, *others), payload, usage, tokens)


def _make_ask(
    asked: Mapping[str, Any],
    simulation: Simulation,
    texts: Sequence[str],
    payload: dict[str, Any],
    usage: Mapping[str, int],
    tokens: int | None = None,
) -> PoolingAsk:
    if simulation.usage != "never":
        payload["usage"] = usage
    tokens = _count_tokens(texts) if tokens is None else tokens
    return PoolingAsk(simulation, tuple(texts), tokens, payload, is_warmup(asked))


def _find_inputs(asked: Mapping[str, Any]) -> list[str]:
    given = asked.get("input")
    if isinstance(given, str) or (isinstance(given, list) and given and all(type(one) is int for one in given)):
        given = [given]
    if not isinstance(given, list) or not given:
        raise RequestError(400, "input is missing: give a text, a list of texts, or token ids")
    texts = []
    for one in given:
        if isinstance(one, list) and one and all(type(token) is int for token in one):
            one = " ".join(map(str, one))
        if not isinstance(one, str) or not one:
            raise RequestError(400, "input is neither a text that is not empty, nor a list of such, nor token ids")
        texts.append(one)
    return texts


def _read_document(document: object) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise RequestError(400, "documents are neither texts nor objects with a text")
    return text


def _read_texts(asked: Mapping[str, Any], key: str) -> list[str]:
    given = asked.get(key)
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError(400, f"{key} is missing: give a text or a list of texts")
    return texts


def _score(query: str, texts: Sequence[str], simulation: Simulation) -> list[float]:
    wanted = embed(query, simulation.dimensions)
    return [compare(wanted, embed(text, simulation.dimensions)) for text in texts]


def _count_tokens(texts: Sequence[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _encode(vector: Sequence[float], form: str) -> list[float] | str:
    if form == "float":
        return list(vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
