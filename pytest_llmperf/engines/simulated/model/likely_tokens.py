"""What the simulated engine expects next: the same for a prompt every time, but for an error that is set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pytest_llmperf.engines.simulated.model.words import VOCABULARY, draw_by

if TYPE_CHECKING:
    from collections.abc import Sequence

_STEEPNESS = 0.6
# A token that is no word of the vocabulary is certain, as good as.
_CERTAIN = -0.01


def list_likely_tokens(prompt: Sequence[str], count: int, *, seed: int = 0, logit_sd: float = 0.0) -> dict[str, float]:
    """The ``count`` most likely words after a prompt with their log-probabilities, the most likely first.

    ``logit_sd`` is the standard deviation of an error in each logit, drawn with the seed: what a coarser quantisation
    does to a model.
    """
    everything = _list_all(prompt, seed, logit_sd)
    return {word: everything[word] for word in sorted(everything, key=lambda word: -everything[word])[:count]}


def find_logprob(token: str, prompt: Sequence[str], *, seed: int = 0, logit_sd: float = 0.0) -> float:
    """The log-probability of a token after a prompt."""
    return _list_all(prompt, seed, logit_sd).get(token, _CERTAIN)


def _list_all(prompt: Sequence[str], seed: int, logit_sd: float) -> dict[str, float]:
    context = " ".join(prompt)
    drawn = draw_by(f"likely {context}")
    error = draw_by(f"{seed} error of {context}")
    ranked = drawn.sample(VOCABULARY, len(VOCABULARY))
    logits = {
        f" {word}": -_STEEPNESS * rank + drawn.gauss(0, 0.3) + error.gauss(0, 1) * logit_sd
        for rank, word in enumerate(ranked)
    }
    whole = math.log(math.fsum(math.exp(logit) for logit in logits.values()))
    return {word: logit - whole for word, logit in logits.items()}
