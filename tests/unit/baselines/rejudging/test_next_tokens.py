"""A limit on next tokens is judged by a report only if that compared them with what the limit names."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.baselines.rejudging.measurement import StoredMeasurement
from pytest_llmperf.budgets.limit import parse_limits

TEXT = "the text of pytest-llmperf"


def why_other(quality: dict[str, str] | None, **scope: Any) -> str:
    [limit] = parse_limits("quality", {"kl": "1 nat", **scope}, "x")
    return StoredMeasurement({"quality": quality}).why_other_comparison(limit)


@pytest.mark.parametrize(
    ("reference", "scope"),
    [
        ("q8", {}),
        ("q8", {"against": "q8"}),
        ("q8 itself, asked twice", {"against": "q8"}),
        ("vllm 0.32.0 in ref.json", {"against": "ref.json"}),
    ],
)
def test_the_same_reference_is_judged(reference: str, scope: dict[str, str]) -> None:
    assert why_other({"reference": reference, "text": TEXT}, **scope) == ""


def test_another_reference_or_text_is_not_judged() -> None:
    found = {"reference": "q8", "text": TEXT}
    assert why_other(found, against="bf16") == "the run compared next tokens with q8, and not with bf16"
    said = f"the run asked for next tokens at positions of {TEXT}, and not of mine.txt"
    assert why_other(found, against="q8", text="mine.txt") == said


def test_a_report_without_a_comparison_says_why_itself() -> None:
    assert why_other(None, against="q8") == ""
    assert why_other({"reason": "the tokenizers differ"}, against="q8") == ""
