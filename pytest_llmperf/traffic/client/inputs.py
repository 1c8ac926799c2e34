"""Requests for embeddings and ranks: what they post, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import check_count
from pytest_llmperf.traffic.answers.inputs.vectors import find_vectors
from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list
from pytest_llmperf.traffic.client.arguments import check_words, parse_extra_body, parse_headers, parse_timeout
from pytest_llmperf.traffic.client.request import Post

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.request import RequestTiming, Work
    from pytest_llmperf.traffic.answers.answer import Answer
    from pytest_llmperf.traffic.client.dialect import Endpoint

_OWN = ("headers", "timeout", "extra_body")


@dataclass(frozen=True)
class Embeddings:
    """The vectors of some texts.

    Attributes:
        vectors: one for each text, in their order; text in base64 if that was asked for.
        usage: the token counts of the server; None if it gave none.
        timing: how long it took, with the number of texts (``inputs``) and of their tokens (``prompt_tokens``).
        raw: the JSON body.
    """

    vectors: list[Any]
    usage: dict[str, Any] | None
    timing: RequestTiming
    raw: dict[str, Any]

    @staticmethod
    def of(answer: Answer) -> Embeddings:
        """What an answer to :func:`embedding` says."""
        listed = as_list(answer.raw.get("data"))
        in_order = sorted(listed, key=lambda part: as_count(as_dict(part).get("index")) or 0)
        return Embeddings(find_vectors(in_order), answer.usage, answer.timing, answer.raw)


@dataclass(frozen=True)
class Ranking:
    """How well some documents fit a query.

    Attributes:
        scores: of each document, in the order in which they were given; None for one that the server left out, as
            ``top_n`` says.
        usage, timing, raw: as of :class:`Embeddings`.
    """

    scores: list[float | None]
    usage: dict[str, Any] | None
    timing: RequestTiming
    raw: dict[str, Any]

    @staticmethod
    def of(answer: Answer, documents: int) -> Ranking:
        """What an answer to :func:`rank` of so many documents says."""
        found = [as_dict(part) for part in as_list(answer.raw.get("results"))]
        scores = {part.get("index"): part.get("relevance_score") for part in found}
        return Ranking([scores.get(place) for place in range(documents)], answer.usage, answer.timing, answer.raw)


def embedding(endpoint: Endpoint, texts: str | Sequence[str], settings: Mapping[str, Any]) -> Post:
    """``POST /embeddings``.

    Raises:
        ValueError: there is no text, or a setting that cannot be sent.
    """
    listed = [texts] if isinstance(texts, str) else list(texts)
    _check_texts("texts", listed)
    return _post("/embeddings", "embed", {"model": endpoint.model, "input": listed}, settings)


def rank(
    endpoint: Endpoint, query: str, documents: Sequence[str], top_n: int | None, settings: Mapping[str, Any]
) -> Post:
    """``POST /rerank``.

    Raises:
        ValueError: there is no query or no document, or a setting that cannot be sent.
    """
    if isinstance(documents, str):
        raise ValueError("documents must be a list of strings")
    _check_texts("query", [query])
    _check_texts("documents", documents)
    body: dict[str, Any] = {"model": endpoint.model, "query": query, "documents": list(documents)}
    if top_n is not None:
        check_count("top_n", top_n)
        body["top_n"] = top_n
    return _post("/rerank", "rank", body, settings)


def _check_texts(name: str, texts: Sequence[object]) -> None:
    if not texts or not all(isinstance(text, str) and text for text in texts):
        raise ValueError(f"{name} must be one string or more, none of them empty")


def _post(path: str, work: Work, body: Mapping[str, Any], settings: Mapping[str, Any]) -> Post:
    fields = {key: value for key, value in settings.items() if key not in _OWN}
    check_words(fields, _OWN)
    return Post(
        path,
        {**body, **fields, **parse_extra_body(settings.get("extra_body"))},
        streamed=False,
        shared_prefix=True,
        headers=parse_headers(settings.get("headers")),
        timeout_s=parse_timeout(settings.get("timeout")),
        work=work,
    )
