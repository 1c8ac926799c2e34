"""What a request for embeddings or scores asks for, and the prompt tokens that the server counted of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list
from pytest_llmperf.traffic.answers.usage import COUNTS_OF_OLLAMA, TokenCounts, find_no_count, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.measurement.request import Work

# The fields of a request that hold the texts, of OpenAI, Ollama, llama.cpp, TEI, Cohere and SGLang.
_TEXTS = ("input", "inputs", "prompt", "content", "texts", "text", "input_ids")
# Those with the texts that are held against a query; the pairs of a score are as many as the longer side has.
_DOCUMENTS = ("documents", "texts", "items", "text_2", "data_2", "passages")
_QUERIES = ("queries", "query", "text_1", "data_1")
# The most results that a request for ranks wants back.
_MOST_RESULTS = ("top_n", "top_k")
_OLLAMA_PROMPT = "prompt_eval_count"
_TOTAL = "total_tokens"
_BILLED = re.compile(r"input_tokens")


def count_asked_inputs(work: Work, body: Mapping[str, Any]) -> int | None:
    """How many texts a request has embedded, or held against a query; None if that cannot be told."""
    if work == "rank":
        sides = [max((_count(body[key]) for key in keys if key in body), default=0) for keys in (_DOCUMENTS, _QUERIES)]
        if sides[0]:
            return max(sides)
    return next((_count(body[key]) for key in _TEXTS if body.get(key)), None) or (1 if body.get("messages") else None)


def count_asked_results(work: Work, body: Mapping[str, Any]) -> int | None:
    """How many vectors or scores a request asks for; None if that cannot be told."""
    asked = count_asked_inputs(work, body)
    wanted = [as_count(body.get(key)) for key in _MOST_RESULTS] if work == "rank" else []
    return asked if asked is None else min(asked, *(count for count in wanted if count), asked)


def _count(texts: object) -> int:
    """A list of numbers is one text, of the numbers of its tokens."""
    listed = as_list(texts)
    return 1 if not listed or all(isinstance(text, int) for text in listed) else len(listed)


def read_input_tokens(content: Mapping[str, Any]) -> TokenCounts:
    """The tokens of the texts as the server counted them: in its usage, as Ollama does, or as Cohere bills them."""
    if usage := as_dict(content.get("usage")):
        return _read_usage(usage)
    if _OLLAMA_PROMPT in content:
        fault = find_no_count({_OLLAMA_PROMPT: content[_OLLAMA_PROMPT]}, COUNTS_OF_OLLAMA)
        return TokenCounts(prompt=as_count(content[_OLLAMA_PROMPT]), fault=fault)
    meta = as_dict(content.get("meta"))
    billed = {**as_dict(meta.get("billed_units")), **as_dict(meta.get("tokens"))}
    return TokenCounts(prompt=as_count(billed.get("input_tokens")), fault=find_no_count(billed, _BILLED))


def _read_usage(usage: Mapping[str, Any]) -> TokenCounts:
    """Without output, the total is that of the texts: some servers state nothing else."""
    counts, total = read_usage(usage), as_count(usage.get(_TOTAL))
    if counts.prompt is None:
        return replace(counts, prompt=total)
    if total and total < counts.prompt:
        fault = f"the server counted {total} tokens in all, and {counts.prompt} of the texts"
        return replace(counts, fault=counts.fault or fault)
    return counts
