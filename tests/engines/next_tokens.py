"""Asks a real engine for its next tokens twice, at few positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.quality.comparison import QualityComparison
from pytest_llmperf.quality.comparison import compare
from pytest_llmperf.quality.probe import probe
from pytest_llmperf.quality.text import ProbeText, read_default_text

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine


def compare_with_itself(engine: Engine) -> QualityComparison:
    """How the engine differs from itself at 24 positions; fails the test if it cannot be told."""
    text = ProbeText("8 passages", read_default_text().passages[:8])
    one, other = (probe(engine.endpoint, engine.dialect, text, engine.title) for _ in range(2))
    found = compare(one, other)
    assert isinstance(found, QualityComparison), found.reason
    assert all(len(position.likely) in (0, 20) for passage in one.passages for position in passage)
    return found
