"""What the package says it was tested with is what the locks pin and the captures hold."""

from __future__ import annotations

from pytest_llmperf.engines.tested import newest_tested
from scripts.tested_versions import find_pinned_versions
from tests.ollama_double.serving import VERSION


def test_is_what_the_locks_pin() -> None:
    assert newest_tested() == {**find_pinned_versions(), "ollama": VERSION}, "run scripts/lock"
