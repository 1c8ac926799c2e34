"""Reads the most likely next tokens from an answer: of the OpenAI API in both of its forms, and of Ollama's own."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.quality.next_tokens import MOST_LIKELY, NextTokens

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DIGITS = 6
"""Decimals that a log-probability is rounded to, so that a stored one is the same as a measured one."""
# llama.cpp and Ollama write special tokens as empty, vLLM by their names.
_SPECIAL = re.compile(r"<\|[^<>|]+\|>|</?s>")
_LEAST = -1e4
"""What a log-probability of minus infinity counts as, which JSON cannot write and some servers send as -9999."""
_NONE = -1e3
"""At or below it the second most likely token has no probability; that of a model is not below about -100."""
_LARGEST_SUM = 1.01


class NoLikelyTokensError(ValueError):
    """An answer that does not state the most likely tokens; the message is one line."""


def read_next_tokens(body: bytes) -> NextTokens:
    """The most likely first tokens of an answer that was asked for with its log-probabilities.

    Tokens that are written the same, such as parts of a character, are one token here, with the sum of their
    probabilities.

    Raises:
        NoLikelyTokensError: the answer is an error, or states no log-probabilities, or not those of the most likely.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise NoLikelyTokensError("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise NoLikelyTokensError("the answer is not a JSON object")
    if answer.get("error"):
        raise NoLikelyTokensError(_describe_error(answer["error"]))
    try:
        pairs = () if _has_ended(answer) or _is_part_of_character(answer) else _list_pairs(answer)
        likely = _add_up((str(token), float(value)) for token, value in pairs)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        raise NoLikelyTokensError("the answer states no log-probabilities of the most likely tokens") from None
    if len(likely) == 1:
        raise NoLikelyTokensError(f"the answer states 1 of the {MOST_LIKELY} most likely tokens")
    _refuse_other_numbers(likely)
    return NextTokens(_count_context(answer), likely)


def _refuse_other_numbers(likely: Mapping[str, float]) -> None:
    """Refuses logits, and what is left of the probabilities once a token was chosen: one of 1 and others of 0."""
    if (whole := math.fsum(math.exp(value) for value in likely.values())) > _LARGEST_SUM:
        raise NoLikelyTokensError(f"the probabilities that the answer states add up to {whole:.3g}")
    if likely and sorted(likely.values())[-2:][0] <= _NONE:
        raise NoLikelyTokensError("the answer states probabilities after a token was chosen: all others are 0")


def _describe_error(error: Any) -> str:
    message = error.get("message", error) if isinstance(error, dict) else error
    return f"the server refuses to state log-probabilities: {' '.join(str(message).split())}"


def _has_ended(answer: dict[str, Any]) -> bool:
    """Whether the first token ended the answer of an Ollama, which then states no log-probabilities of it."""
    return answer.get("done_reason") == "stop" and not answer.get("response") and not answer.get("logprobs")


def _is_part_of_character(answer: dict[str, Any]) -> bool:
    """Whether the token is a part of a character, of which llama.cpp states no log-probabilities."""
    first = answer["choices"][0] if answer.get("choices") else {}
    return "logprobs" in first and first["logprobs"] is None and str(first.get("text")).endswith("\ufffd")


def _list_pairs(answer: dict[str, Any]) -> Sequence[tuple[str, float]]:
    """Of Ollama; of llama.cpp, which lists them under ``content``; and of vLLM, with a dict for each token."""
    if "choices" not in answer:
        return [(one["token"], one["logprob"]) for one in answer["logprobs"][0]["top_logprobs"]]
    logprobs = answer["choices"][0]["logprobs"]
    if "content" in logprobs:
        return [(one["token"], one["logprob"]) for one in logprobs["content"][0]["top_logprobs"]]
    return list(logprobs["top_logprobs"][0].items())


def _add_up(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for token, value in pairs:
        if math.isnan(value) or value > 0.001:
            raise ValueError(f"{value} is no logarithm of a probability")
        token, value = "" if _SPECIAL.fullmatch(token) else token, max(value, _LEAST)
        found[token] = value if token not in found else _add_logs(found[token], value)
    return {token: round(min(0.0, value), DIGITS) for token, value in found.items()}


def _add_logs(one: float, other: float) -> float:
    larger = max(one, other)
    return larger + math.log(math.exp(one - larger) + math.exp(other - larger))


def _count_context(answer: dict[str, Any]) -> int | None:
    usage = answer.get("usage")
    count = usage.get("prompt_tokens") if isinstance(usage, dict) else answer.get("prompt_eval_count")
    return count if type(count) is int else None
