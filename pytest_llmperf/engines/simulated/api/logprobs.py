"""Log-probabilities of the tokens of an answer, in the two forms of OpenAI's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.request import RequestError
from pytest_llmperf.engines.simulated.model.likely_tokens import find_logprob, list_likely_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.engines.simulated.api.request import Ask

_MOST = 20


def read_count(asked: Mapping[str, Any], key: str) -> int | None:
    """How many likely tokens a field asks for; None if it is not given."""
    count = asked.get(key)
    if count is not None and (type(count) is not int or not 0 <= count <= _MOST):
        raise RequestError(400, f"{key}={count!r} is not a whole number from 0 to {_MOST}")
    return count


def list_for_chat(ask: Ask, tokens: Sequence[str], first: int, last: int) -> list[dict[str, Any]]:
    """Those of some tokens of a text, each with the likely ones at its place."""
    return [
        _describe(token, logprob) | {"top_logprobs": [_describe(*one) for one in likely.items()]}
        for token, logprob, likely in _list_all(ask, tokens, first, last)
    ]


def list_for_completion(ask: Ask, tokens: Sequence[str], first: int, last: int) -> dict[str, Any] | None:
    """The same in the older form."""
    if ask.logprobs is None:
        return None
    offset = sum(map(len, tokens[:first]))
    found: dict[str, Any] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for token, logprob, likely in _list_all(ask, tokens, first, last):
        for key, value in zip(found, (token, logprob, likely, offset), strict=True):
            found[key].append(value)
        offset += len(token)
    return found


def _list_all(ask: Ask, tokens: Sequence[str], first: int, last: int) -> list[tuple[str, float, dict[str, float]]]:
    found = []
    for at in range(first, last):
        context = (*ask.prompt, *(token.strip() for token in tokens[:at]))
        seed, logit_sd = ask.simulation.seed, ask.simulation.logit_sd
        likely = list_likely_tokens(context, ask.logprobs or 0, seed=seed, logit_sd=logit_sd)
        found.append((tokens[at], find_logprob(tokens[at], context, seed=seed, logit_sd=logit_sd), likely))
    return found


def _describe(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "surrogatepass"))}
