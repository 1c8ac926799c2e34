from __future__ import annotations

import pytest

from pytest_llmperf.engines.simulated.model.words import list_words, split_text


def test_the_words_are_a_function_of_the_seed() -> None:
    assert list_words(3, 8) == list_words(3, 20)[:8]
    assert list_words(3, 20) != list_words(0, 20)
    assert all(word.startswith(" ") and word.strip().isalpha() for word in list_words(3, 50))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("Within thirty days.", ["Within", " thirty", " days", "."]),
        ('{"city": "Oslo", "days": [1, 2]}', 14),
        ("  two spaces \n", ["  two", " spaces", " \n"]),
        ("naïve – 東京!?", ["naïve", " –", " 東京", "!?"]),
    ],
)
def test_tokens_joined_are_the_text(text: str, tokens: list[str] | int) -> None:
    found = split_text(text)
    assert "".join(found) == text
    assert tokens in (found, len(found))
