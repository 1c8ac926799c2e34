from __future__ import annotations

import pytest

from pytest_llmperf.measurement.prompts import Overlap, Prompt, PromptHistory

TEXT = "".join(chr(32 + place * 7 % 95) for place in range(5000))


def prompt(text: str, context: str = "") -> Prompt:
    return Prompt.of([(text, True)], context)


def overlap(later: Prompt, *earlier: Prompt) -> Overlap:
    history = PromptHistory()
    for each in earlier:
        history.add(each)
    return history.find_overlap(later)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 96, 1000, 5000])
def test_the_same_prompt_is_known_as_such(length: int) -> None:
    assert overlap(prompt(TEXT[:length]), prompt(TEXT[:length])) == Overlap(length, length, whole=True)


@pytest.mark.parametrize("pieces", [[10, 20], [63, 1], [64, 200, 1], [1] * 300])
def test_how_a_prompt_is_divided_into_pieces_does_not_matter(pieces: list[int]) -> None:
    ends = [sum(pieces[: place + 1]) for place in range(len(pieces))]
    parts = [(TEXT[end - size : end], True) for size, end in zip(pieces, ends, strict=True)]
    assert Prompt.of(parts) == prompt(TEXT[: ends[-1]])


@pytest.mark.parametrize("shared", [0, 1, 63, 64, 100, 500, 2000, 4990])
def test_a_common_beginning_is_bounded_from_below_and_above(shared: int) -> None:
    found = overlap(prompt(TEXT[:shared] + "~" * 400), prompt(TEXT))
    assert found.least <= shared <= found.most
    assert found.most <= max(63, found.least * 1.5)
    assert not found.whole


def test_a_chat_that_goes_on_begins_with_what_was_sent() -> None:
    found = overlap(prompt(TEXT), prompt(TEXT[:300]), prompt(TEXT[:1000]))
    assert 666 <= found.least <= 1000 <= found.most
    assert not found.whole


def test_a_shorter_prompt_is_not_the_longer_one() -> None:
    assert overlap(prompt(TEXT[:1000]), prompt(TEXT)) == Overlap(729, 1000)


def test_another_model_has_nothing_in_common() -> None:
    assert overlap(prompt(TEXT, "one"), prompt(TEXT, "other")) == Overlap(0, 63)


def test_data_tell_prompts_apart_and_have_no_length() -> None:
    image, other = (Prompt.of([(data * 1000, False), ("What is this?", True)]) for data in ("A", "B"))
    assert (image.length, overlap(image, image).whole, overlap(image, other).whole) == (13, True, False)


def test_nothing_was_sent_before() -> None:
    assert overlap(prompt(TEXT)) == Overlap()


def test_a_prompt_holds_no_text_and_little_of_anything() -> None:
    long = prompt("secret" * 100_000)
    assert b"secret" not in long.marks
    assert len(long.marks) < 250
