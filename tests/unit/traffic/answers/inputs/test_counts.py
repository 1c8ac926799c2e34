"""The tokens of texts that were embedded or ranked, as the server counts them."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers.inputs.counts import read_input_tokens


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, 5),
        ({"total_tokens": 7}, 7),
        ({"prompt_tokens": 5, "total_tokens": 0}, 5),
        ({"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}, 5),
        ({"rerank_units": 1}, None),
    ],
)
def test_the_total_is_that_of_the_texts(usage: dict[str, Any], tokens: int | None) -> None:
    counts = read_input_tokens({"usage": usage})
    assert (counts.prompt, counts.fault) == (tokens, "")


def test_a_total_below_its_part_cannot_be_right() -> None:
    counts = read_input_tokens({"usage": {"prompt_tokens": 500, "total_tokens": 5}})
    assert counts.fault == "the server counted 5 tokens in all, and 500 of the texts"
