"""What the simulated engine expects next: the same for a prompt every time, but for an error that is set."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from pytest_llmperf.engines.simulated.schedule import VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.simulated.schedule import Simulation

_STEEPNESS = 0.6


def list_likely_tokens(simulation: Simulation, prompt: Sequence[str], count: int) -> dict[str, float]:
    """The ``count`` most likely words after a prompt with their log-probabilities, the most likely first.

    ``logit_sd`` adds an error to each logit, drawn with the seed: what a coarser quantisation does to a model.
    """
    context = " ".join(prompt)
    drawn = random.Random(f"likely {context}")
    error = random.Random(f"{simulation.seed} error of {context}")
    ranked = drawn.sample(VOCABULARY, len(VOCABULARY))
    logits = {
        f" {word}": -_STEEPNESS * rank + drawn.gauss(0, 0.3) + error.gauss(0, 1) * simulation.logit_sd
        for rank, word in enumerate(ranked)
    }
    whole = math.log(math.fsum(math.exp(logit) for logit in logits.values()))
    best = sorted(logits, key=lambda word: -logits[word])[:count]
    return {word: logits[word] - whole for word in best}
