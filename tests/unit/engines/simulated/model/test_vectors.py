from __future__ import annotations

import itertools
import math

import pytest

from pytest_llmperf.engines.simulated.model.vectors import compare, embed

# Pairs of a question and the only page that answers it.
PAGES = {
    "Who pays for the parcel when a customer returns an article?": "Returns: customers may send an article back within "
    "thirty days, and the shop pays for the parcel.",
    "How long does delivery to an island take?": "Delivery: parcels leave the shop on the day of the order and take "
    "two days, to islands four.",
    "When is my invoice due?": "Payment: the shop takes cards and invoices; an invoice is due after fourteen days.",
    "Is the warehouse open on Sundays?": "The warehouse is open from Monday to Saturday and closed on Sunday.",
    "Which warranty do lamps have?": "Warranty: lamps and other electrical goods have two years of it.",
}


@pytest.mark.parametrize("dimensions", [64, 256, 768])
def test_each_question_is_nearest_to_the_page_that_answers_it(dimensions: int) -> None:
    for question, page in PAGES.items():
        near = {other: compare(embed(question, dimensions), embed(other, dimensions)) for other in PAGES.values()}
        assert max(near, key=lambda other: near[other]) == page


@pytest.mark.parametrize("text", ["", " ", "a", "the of and", "naïve 東京", "\ud800", *PAGES])
@pytest.mark.parametrize("dimensions", [1, 2, 256])
def test_a_vector_has_length_one_and_is_the_same_each_time(text: str, dimensions: int) -> None:
    vector = embed(text, dimensions)
    assert len(vector) == dimensions
    assert math.fsum(value * value for value in vector) == pytest.approx(1)
    assert vector == embed(text, dimensions)


def test_words_of_one_stem_are_nearer_than_others() -> None:
    one, alike, other = (embed(text, 256) for text in ("returns", "returned", "payment"))
    assert compare(one, alike) > 0.3 > compare(one, other)


def test_likeness_lies_between_nothing_and_all() -> None:
    vectors = [embed(text, 256) for text in PAGES.values()]
    assert all(0 <= compare(one, other) < 0.5 for one, other in itertools.combinations(vectors, 2))
    assert compare(vectors[0], vectors[0]) == pytest.approx(1)
