"""What a measurement says of quality, as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.quality.comparison import NoComparison
from pytest_llmperf.reports.wire.numbers import to_number

if TYPE_CHECKING:
    from pytest_llmperf.measurement.quality.comparison import QualityComparison, Score


def quality_to_wire(found: QualityComparison | NoComparison | None) -> dict[str, Any] | None:
    """With what the next tokens were compared, at how many positions of which text; or ``reason``, why they were not.

    None if no budget of the test asked for it.
    """
    if found is None:
        return None
    if isinstance(found, NoComparison):
        return {"reason": str(found.reason)}
    return {
        "reference": str(found.reference),
        "text": str(found.text_name),
        "positions": int(found.count),
        "passages": len(found.positions),
        "listed": int(sum(found.listed)),
        "identical": bool(found.is_identical),
        "matched_by": str(found.matched_by),
    }


def score_to_wire(score: Score) -> dict[str, Any]:
    """A value that the test recorded of its own quality."""
    return {
        "name": str(score.name),
        "value": to_number(score.value),
        "better": str(score.better),
        "samples": score.samples,
        "round": int(score.round),
    }
