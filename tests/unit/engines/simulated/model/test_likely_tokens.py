"""What the simulated engine expects next depends on the prompt alone, but for an error that is set."""

from __future__ import annotations

import math

from pytest_llmperf.engines.simulated.model.likely_tokens import list_likely_tokens

PROMPT = ("the", "river")


def test_they_are_probabilities_that_fall() -> None:
    found = list_likely_tokens(PROMPT, 20)
    assert len(found) == 20
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert 0.9 < math.fsum(map(math.exp, found.values())) < 1


def test_the_same_prompt_has_the_same_and_another_prompt_others() -> None:
    assert list_likely_tokens(PROMPT, 20) == list_likely_tokens(PROMPT, 20, seed=3)
    assert list_likely_tokens(PROMPT, 20) != list_likely_tokens(("a",), 20)


def test_an_error_is_drawn_with_the_seed() -> None:
    one, other = (list_likely_tokens(PROMPT, 20, seed=seed, logit_sd=0.3) for seed in (1, 2))
    assert one != other
    assert one == list_likely_tokens(PROMPT, 20, seed=1, logit_sd=0.3)
