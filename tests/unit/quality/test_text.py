"""A text is divided into passages, each with contexts of 8, 16 and 24 words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.quality.text import MOST_PASSAGES, TextError, divide_text, read_default_text, read_text_file

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [f"w{number}" for number in range(24 * 200)]


def test_the_text_of_this_package_has_32_passages_and_96_positions() -> None:
    text = read_default_text()
    assert len(text.passages) == 32
    assert sum(len(contexts) for contexts in text.contexts) == 96
    assert text.digest == read_default_text().digest


def test_contexts_of_a_passage_end_after_8_16_and_24_words() -> None:
    text = divide_text(" ".join(WORDS[: 24 * 8]), "t")
    assert text.contexts[1] == (" ".join(WORDS[24:32]), " ".join(WORDS[24:40]), " ".join(WORDS[24:48]))


def test_line_breaks_inside_of_a_passage_stay_and_no_context_ends_in_a_blank() -> None:
    text = divide_text("\n    ".join(WORDS[: 24 * 8]), "t")
    assert text.contexts[0][0] == "\n    ".join(WORDS[:8])
    assert all(context == context.strip() for contexts in text.contexts for context in contexts)


def test_of_a_long_text_passages_are_taken_evenly_to_its_end() -> None:
    text = divide_text(" ".join(WORDS), "t")
    assert len(text.passages) == MOST_PASSAGES
    assert text.passages[0].startswith("w0 ")
    assert int(text.passages[-1].split()[0][1:]) > 24 * 190


def test_another_text_has_another_digest() -> None:
    assert divide_text(" ".join(WORDS), "t").digest != divide_text(" ".join(WORDS[24:]), "t").digest
    assert divide_text(" ".join(WORDS), "t").digest == divide_text(" ".join(WORDS), "other name").digest


def test_a_text_that_is_too_short_or_has_no_blanks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TextError, match="t has 191 words between blanks, and a comparison needs 192"):
        divide_text(" ".join(WORDS[:191]), "t")
    (tmp_path / "latin").write_bytes(b"\xe9" * 9)
    for name, said in (("missing", "missing cannot be read: No such file"), ("latin", "latin is not text in UTF-8")):
        with pytest.raises(TextError, match=said):
            read_text_file(tmp_path / name, name)


def test_a_passage_that_comes_again_counts_once() -> None:
    repeated = [*WORDS[: 24 * 8], *WORDS[:24]]
    assert len(divide_text(" ".join(repeated), "t").passages) == 8
    with pytest.raises(TextError, match="t repeats itself: it has 1 different passages of 24 words"):
        divide_text("word " * 1000, "t")
