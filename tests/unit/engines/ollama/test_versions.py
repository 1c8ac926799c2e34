"""The versions of Ollama, and what each means."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.ollama.versions import check_version, counts_uncached_only, times_decoding


@pytest.mark.parametrize(
    ("version", "uncached_only", "times"),
    [
        ("0.24.0", False, False),
        ("0.29.9", False, False),
        ("0.30.0", True, True),
        ("0.30.0-rc1", True, True),
        ("0.30.1", False, True),
        ("0.32.15", False, True),
        ("1.0.0", False, True),
        ("0.0.0", False, True),
        ("custom", False, True),
    ],
)
def test_what_a_version_counts_and_times(version: str, uncached_only: bool, times: bool) -> None:
    assert check_version(version) == version
    assert counts_uncached_only(version) is uncached_only
    assert times_decoding(version) is times


@pytest.mark.parametrize("version", ["0.23.9", "0.15.4", "0.1.2"])
def test_one_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(EngineError, match=f"ollama {version} is too old to be measured: this needs 0.24.0 or newer"):
        check_version(version)
