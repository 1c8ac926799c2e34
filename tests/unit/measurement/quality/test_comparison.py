"""What a test records of its quality is checked when it records it."""

from __future__ import annotations

from numbers import Integral

import pytest

from pytest_llmperf.measurement.quality.comparison import Score, make_score


def test_a_score_is_a_number_from_0_to_1() -> None:
    assert make_score("accuracy", 0.83, "higher", None, 1) == Score("accuracy", 0.83)
    assert make_score("wer", 1, "lower", 200, 2) == Score("wer", 1.0, "lower", 200, 2)


@Integral.register
class Whole:
    """A whole number of another library, as numpy has them."""

    def __int__(self) -> int:
        return 200


def test_the_count_of_answers_may_be_a_whole_number_of_another_library() -> None:
    assert make_score("wer", 0.5, "lower", Whole(), 1).samples == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("accuracy", 83, "higher", None), "a score is a number from 0 to 1, such as 0.83 for 83 %"),
        (("accuracy", -0.1, "higher", None), "from 0 to 1"),
        (("accuracy", float("nan"), "higher", None), "from 0 to 1"),
        (("accuracy", float("inf"), "higher", None), "from 0 to 1"),
        (("accuracy", "0.8", "higher", None), "from 0 to 1"),
        (("accuracy", None, "higher", None), "from 0 to 1"),
        (("accuracy", True, "higher", None), "from 0 to 1"),
        (("Accuracy!", 0.8, "higher", None), "a name is of lower-case letters"),
        ((7, 0.8, "higher", None), "a name is of lower-case letters"),
        (("kl", 0.8, "higher", None), "means something else by that name"),
        (("engine", 0.8, "higher", None), "means something else by that name"),
        (("accuracy", 0.8, "up", None), "better is 'higher' or 'lower'"),
        (("accuracy", 0.8, "higher", 0), "samples is a whole number of at least 1"),
        (("accuracy", 0.8, "higher", 1.5), "samples is a whole number of at least 1"),
    ],
)
def test_anything_else_is_refused_in_one_line(arguments: tuple[object, object, object, object], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        make_score(*arguments, 1)
    assert "\n" not in str(caught.value)
