from __future__ import annotations

import re
from random import Random

import pytest

from pytest_llmperf.traffic.workloads.texts import Texts


def by_words(text: str) -> int:
    """A tokenizer with a token for each word and one that begins the text."""
    return 1 + len(text.split())


def by_letters(text: str) -> int:
    """One without any word as a single token."""
    return len(text)


def across_words(text: str) -> int:
    """One that merges beyond the end of a word: every third word costs nothing beside its neighbours."""
    words = text.split()
    return len(words) - max(0, len(words) - 2) // 3


@pytest.mark.parametrize("tokens", [1, 2, 17, 900])
@pytest.mark.parametrize("count", [by_words, across_words])
def test_a_text_has_exactly_so_many_tokens(count: object, tokens: int) -> None:
    assert callable(count)
    texts = Texts(count)
    assert count(texts.generate(Random(1), tokens)) - texts.specials == tokens


def test_where_no_word_is_a_single_token_a_text_comes_as_near_as_words_can() -> None:
    texts = Texts(by_letters)
    assert {len(texts.generate(Random(seed), 100)) for seed in range(20)} <= {98, 99, 100}


def test_special_tokens_are_found_out() -> None:
    assert Texts(by_words).specials == 1
    assert Texts(across_words).specials == 0


def test_the_same_seed_gives_the_same_text_and_another_one_another() -> None:
    texts = Texts(by_words)
    assert texts.generate(Random(1), 50) == texts.generate(Random(1), 50)
    assert texts.generate(Random(1), 50).split()[:16] != texts.generate(Random(2), 50).split()[:16]


def test_a_tokenizer_that_splits_at_spaces_is_not_asked_for_each_text() -> None:
    asked: list[str] = []

    def count(text: str) -> int:
        asked.append(text)
        return by_words(text)

    texts = Texts(count)
    before = len(asked)
    assert before < 6
    assert re.fullmatch(r"( [a-z]+){500}", texts.generate(Random(1), 500))
    assert len(asked) == before
