from __future__ import annotations

import pytest

from pytest_llmperf.engines import tested
from pytest_llmperf.engines.tested import why_untested


@pytest.fixture(autouse=True)
def _versions(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"llamacpp": "2026.10.11549", "ollama": "0.32.15", "vllm": "0.32.0"}
    monkeypatch.setattr(tested, "newest_tested", lambda: versions)


@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("vllm", "0.32.1"),
        ("vllm", "0.33.0.dev7+gabc"),
        ("ollama", "0.33.0-rc1"),
        ("llamacpp", "2026.11.1"),
        ("llamacpp", "b11550-1a2b3c4"),
    ],
)
def test_says_that_a_version_is_newer(engine: str, version: str) -> None:
    assert why_untested(engine, version).startswith(f"{engine}: version {version} is newer than ")


@pytest.mark.parametrize(
    ("engine", "version"),
    [
        ("vllm", "0.32.0"),
        ("vllm", "0.32.0+cpu"),
        ("vllm", "0.9.2"),
        ("vllm", "unknown"),
        ("ollama", "0.0.0"),
        ("llamacpp", "2026.10.11549"),
        ("llamacpp", "b11549-1a2b3c4"),
        ("llamacpp", "b0-unknown"),
        ("simulated", "1"),
        ("of-a-plugin", "99.0"),
    ],
)
def test_says_nothing_of_others(engine: str, version: str) -> None:
    assert why_untested(engine, version) == ""
