"""Shared by all tests: an environment that does not leak into the pytest runs under test."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _neutral_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # CI turns strict mode on, and the step summary is written where GitHub says: both must be a test's own choice.
    for name in ("CI", "GITHUB_STEP_SUMMARY", "OPENAI_API_KEY", "CUDA_VISIBLE_DEVICES", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
