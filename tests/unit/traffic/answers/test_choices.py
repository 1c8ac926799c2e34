"""The choices of an answer are told apart by their numbers in any form, and several are refused."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.traffic.answers import openai
from tests.helpers.arrivals import as_body, as_stream


def test_the_chunks_of_several_choices_are_never_mixed() -> None:
    events = [{"choices": [{"index": n % 2, "text": "a", "finish_reason": None}]} for n in range(4)]
    timing = openai.read(as_stream(*events, {"choices": [{"index": 1, "text": "", "finish_reason": "stop"}]})).timing
    assert timing.error == openai.SEVERAL_CHOICES
    assert len(timing.chunks) == 1


@pytest.mark.parametrize("choices", [[{"index": 0}, {"index": 1}], [{}, {}]])
def test_several_choices_at_once_are_refused(choices: list[dict[str, Any]]) -> None:
    whole = [{**choice, "text": "a", "finish_reason": "stop"} for choice in choices]
    for arrival in (as_body({"choices": whole}), as_stream({"choices": whole})):
        assert "several choices" in (openai.read(arrival).timing.error or "")


def test_one_choice_of_any_index_is_one_answer() -> None:
    assert openai.read(as_body({"choices": [{"index": 1, "text": "a", "finish_reason": "stop"}]})).timing.error is None


def stream(*indices: object, **arrival: Any) -> str | None:
    """Reads chunks of choices of these numbers, ``...`` for none; returns the error."""
    numbered: list[dict[str, object]] = [{} if index is ... else {"index": index} for index in indices]
    events = [{"choices": [{**number, "text": "a", "finish_reason": None}]} for number in numbered]
    last = {"choices": [{**numbered[-1], "text": "", "finish_reason": "stop"}]}
    return openai.read(as_stream(*events, last, **arrival)).timing.error


@pytest.mark.parametrize(
    "indices", [(0, 1), ("0", "1"), (0.0, 1.0), (..., 1), (None, 1), (0, "1"), ("a", "b"), (True, 0), (0, 0.5), (0, [])]
)
def test_numbers_of_any_form_tell_choices_apart(indices: tuple[object, object]) -> None:
    assert stream(*indices * 2) == openai.SEVERAL_CHOICES


@pytest.mark.parametrize("indices", [(0, "0"), (0, 0.0), (0, ...), (None, ...), ("1", 1), ("9" * 400, "9" * 400)])
def test_one_number_in_several_forms_is_one_choice(indices: tuple[object, object]) -> None:
    assert stream(*indices * 2) is None


def test_choices_without_numbers_are_refused_where_several_were_asked_for() -> None:
    assert stream(..., ..., several=True) == openai.SEVERAL_CHOICES
    assert stream(..., ...) is None
    assert stream(0, 0, several=True) is None


def test_choices_without_numbers_that_end_together_are_refused() -> None:
    texts = [{"choices": [{"text": "a", "finish_reason": None}]}] * 4
    ends = [{"choices": [{"text": "", "finish_reason": "stop"}]}] * 2
    assert openai.read(as_stream(*texts, ends[0])).timing.error is None
    assert openai.read(as_stream(*texts, *ends)).timing.error == openai.SEVERAL_CHOICES


def test_choices_without_numbers_that_end_one_after_the_other_are_refused() -> None:
    ends = [{"choices": [{"text": text, "finish_reason": finish}]} for text, finish in (("a", "stop"), ("b", "stop"))]
    assert "came after it had ended" in (openai.read(as_stream(*ends)).timing.error or "")
