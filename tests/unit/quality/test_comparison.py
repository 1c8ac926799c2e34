"""Two engines are compared by hand-computed figures, and not at all if their tokenizers differ."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from pytest_llmperf.measurement.quality.comparison import NoComparison, QualityComparison
from pytest_llmperf.measurement.quality.next_tokens import NextTokens, TextNextTokens
from pytest_llmperf.quality.comparison import compare, measure_divergence


def expect(context_tokens: int | None = 3, **shares: float) -> NextTokens:
    return NextTokens(context_tokens, {token: math.log(share) for token, share in shares.items()})


def of(
    *passages: tuple[NextTokens, ...], tokens: tuple[int, ...] | None = (1, 2), engine: str = "q8"
) -> TextNextTokens:
    return TextNextTokens("digest", "the text", engine, tokens, passages)


A = expect(a=0.5, b=0.3)
B = expect(a=0.3, b=0.5)


def test_the_divergence_has_the_listed_tokens_and_one_outcome_for_all_others() -> None:
    by_hand = 0.5 * math.log(0.5 / 0.3) + 0.3 * math.log(0.3 / 0.5) + 0.2 * math.log(0.2 / 0.2)
    assert measure_divergence(A, B) == pytest.approx(by_hand)


def test_a_token_that_the_tested_engine_does_not_list_has_the_least_that_it_lists() -> None:
    tested = expect(a=0.6, c=0.1)
    p, q = (0.5, 0.3, 0.2), (0.6, 0.1, 0.3)
    assert measure_divergence(A, tested) == pytest.approx(sum(x * math.log(x / y) for x, y in zip(p, q, strict=True)))


def test_the_divergence_is_zero_for_the_same_and_never_negative() -> None:
    draw = random.Random(1)
    for _ in range(200):
        ours, theirs = (
            NextTokens(1, {str(n): -draw.uniform(0.5, 9) for n in draw.sample(range(30), 20)}) for _ in range(2)
        )
        assert measure_divergence(ours, ours) == 0
        assert measure_divergence(ours, theirs) >= 0


def test_no_listed_token_in_common_is_a_large_divergence() -> None:
    assert measure_divergence(expect(a=0.7, b=0.29), expect(c=0.98, d=0.01)) > 2


def test_agreement_and_divergence_are_counted_by_passage() -> None:
    found = compare(of((A, A), (A, B)), of((A, B), (A, B), engine="q4"))
    assert isinstance(found, QualityComparison)
    assert found.agreeing == (1, 2)
    assert found.agreement == 0.75
    assert found.mean_divergence == pytest.approx(measure_divergence(A, B) / 4)
    assert (found.reference, found.matched_by, found.is_identical) == ("q8", "ids", False)


def test_an_engine_agrees_with_itself_exactly() -> None:
    found = compare(of((A, B), (B, A)), of((A, B), (B, A)))
    assert isinstance(found, QualityComparison)
    assert (found.agreement, found.mean_divergence, found.is_identical) == (1.0, 0.0, True)


def why_not(reference: TextNextTokens, tested: TextNextTokens) -> str:
    found = compare(reference, tested)
    assert isinstance(found, NoComparison)
    assert not found.is_baseline
    return found.reason


@pytest.mark.parametrize(
    ("reference", "tested", "said"),
    [
        (
            of((A,), tokens=(1, 2)),
            of((A,), tokens=(1, 3)),
            "token 2 of the text is 3 here and 2 with q8: the",
        ),
        (of((A,), tokens=(1, 2)), of((A,), tokens=(1,)), "the text has 1 tokens here and 2 with q8: the tokenizers"),
        (of((A,), tokens=None), of((replace(A, context_tokens=4),)), "has 4 tokens here and 3 with q8: the tokenizers"),
        (of((A,), tokens=None), of((replace(A, context_tokens=None),)), "the engine does not state how it splits"),
        (of((replace(A, context_tokens=None),), tokens=None), of((A,)), "q8 does not state how it splits"),
        (replace(of((A,)), text="other"), of((A,)), "q8 was asked at positions of another text"),
    ],
)
def test_there_is_no_figure_where_the_tokens_are_not_known_to_be_the_same(
    reference: TextNextTokens, tested: TextNextTokens, said: str
) -> None:
    assert said in why_not(reference, tested)


def test_counts_of_tokens_match_tokenizers_where_an_engine_states_no_ids() -> None:
    found = compare(of((A,), tokens=None), of((B,)))
    assert isinstance(found, QualityComparison)
    assert found.matched_by == "counts"


ENDED = NextTokens(3, {})


def test_a_position_at_which_one_engine_ends_its_answer_is_no_agreement_and_has_no_divergence() -> None:
    ours, theirs = (A,) * 10, (*((B,) * 9), ENDED)
    found = compare(of(ours), of(theirs))
    assert isinstance(found, QualityComparison)
    assert found.listed == (9,)
    assert found.agreement == 0
    assert found.mean_divergence == pytest.approx(measure_divergence(A, B))
    both = compare(of(theirs), of(theirs))
    assert isinstance(both, QualityComparison)
    assert both.agreement == 1


def test_too_many_such_positions_are_no_comparison() -> None:
    ended = (A,) * 8 + (ENDED,) * 2
    assert why_not(of(ended), of((A,) * 10)) == "only at 8 of 10 positions do both state probabilities"


def test_other_positions_of_the_same_text_are_not_compared() -> None:
    for reference in (of((A, A)), of((A,), (A, A)), of()):
        found = compare(reference, of((A, A), (A, A)))
        assert found == NoComparison("q8 has other positions of the text: write it anew")
