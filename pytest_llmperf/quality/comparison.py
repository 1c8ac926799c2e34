"""Compares the next tokens of an engine with those of a reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.quality.comparison import NoComparison, QualityComparison

if TYPE_CHECKING:
    from pytest_llmperf.measurement.quality.next_tokens import NextTokens, TextNextTokens

LEAST_REST = 1e-6
"""The least probability of all tokens that are not listed: log-probabilities are known to six decimals."""

LEAST_LISTED = 0.9
"""The least share of positions at which both engines must state probabilities."""


def compare(reference: TextNextTokens, tested: TextNextTokens, name: str = "") -> QualityComparison | NoComparison:
    """What the tested engine expects otherwise than the reference, or why the two cannot be compared.

    Tokenizers are compared first: probabilities of other tokens are no probabilities of the same thing.

    Args:
        reference, tested: at the positions of one text.
        name: what messages call the reference; by default its engine.
    """
    name = name or reference.engine
    if reference.text != tested.text:
        return NoComparison(f"{name} was asked at positions of another text: {reference.text_name}")
    if [len(passage) for passage in reference.passages] != [len(passage) for passage in tested.passages]:
        return NoComparison(f"{name} has other positions of {reference.text_name}: write it anew")
    matched = _match_tokenizers(reference, tested, name)
    if isinstance(matched, NoComparison):
        return matched
    pairs = [list(zip(ours, theirs, strict=True)) for ours, theirs in _zip(reference, tested)]
    listed = [[(a, b) for a, b in passage if a.likely and b.likely] for passage in pairs]
    if (count := sum(map(len, listed))) < LEAST_LISTED * tested.positions:
        return NoComparison(f"only at {count} of {tested.positions} positions do both state probabilities")
    return QualityComparison(
        name,
        tested.text_name,
        tuple(sum(a.first == b.first for a, b in passage) for passage in pairs),
        tuple(math.fsum(measure_divergence(a, b) for a, b in passage) for passage in listed),
        tuple(len(passage) for passage in pairs),
        tuple(len(passage) for passage in listed),
        all(dict(a.likely) == dict(b.likely) for passage in pairs for a, b in passage),
        matched,
    )


def _zip(
    reference: TextNextTokens, tested: TextNextTokens
) -> zip[tuple[tuple[NextTokens, ...], tuple[NextTokens, ...]]]:
    return zip(reference.passages, tested.passages, strict=True)


def measure_divergence(reference: NextTokens, tested: NextTokens) -> float:
    """The Kullback-Leibler divergence of the tested engine from the reference at one position, in nats.

    D(P‖Q) = Σ p ln(p / q), with P of the reference (Kullback and Leibler, On Information and Sufficiency, Annals of
    Mathematical Statistics 22, 1951). The outcomes are the tokens that the reference lists, and one for all others. A
    token that the tested engine does not list counts with the least probability that it lists, which it cannot exceed.
    The outcome of all others has what is left, at least :data:`LEAST_REST`, and both are scaled to a sum of 1: so the
    result is at least 0, and 0 if both list the same.
    """
    floor = min(tested.likely.values())
    p = [math.exp(value) for value in reference.likely.values()]
    q = [math.exp(tested.likely.get(token, floor)) for token in reference.likely]
    p, q = _complete(p), _complete(q)
    return max(0.0, math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0 and b > 0))


def _complete(listed: list[float]) -> list[float]:
    """The probabilities with that of all other tokens, scaled to a sum of 1."""
    found = [*(max(one, 1e-300) for one in listed), max(LEAST_REST, 1 - math.fsum(listed))]
    whole = math.fsum(found)
    return [one / whole for one in found]


def _match_tokenizers(
    reference: TextNextTokens, tested: TextNextTokens, name: str
) -> Literal["ids", "counts"] | NoComparison:
    """How it is known that both split the text alike, or why nothing may be compared."""
    if reference.tokens is not None and tested.tokens is not None:
        if reference.tokens == tested.tokens:
            return "ids"
        return NoComparison(f"{_describe_ids(reference.tokens, tested.tokens, name)}: {_DIFFERENT}")
    for ours, theirs in _zip(tested, reference):
        for one, other in zip(ours, theirs, strict=True):
            if one.context_tokens is None or other.context_tokens is None:
                which = "the engine" if one.context_tokens is None else name
                return NoComparison(f"{which} does not state how it splits the text into tokens")
            if one.context_tokens != other.context_tokens:
                counts = f"a context has {one.context_tokens} tokens here and {other.context_tokens} with {name}"
                return NoComparison(f"{counts}: {_DIFFERENT}")
    return "counts"


_DIFFERENT = "the tokenizers differ, so that their next tokens cannot be compared"


def _describe_ids(reference: tuple[int, ...], tested: tuple[int, ...], name: str) -> str:
    if len(reference) != len(tested):
        return f"the text has {len(tested)} tokens here and {len(reference)} with {name}"
    at = next(at for at, (one, other) in enumerate(zip(reference, tested, strict=True)) if one != other)
    return f"token {at + 1} of the text is {tested[at]} here and {reference[at]} with {name}"
