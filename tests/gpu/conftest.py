"""The fake NVML library, built once for a run of the tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.gpu.fake_library import build_library
from tests.gpu.gpu_runs import GpuRuns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_llmperf.testing import Scenario


@pytest.fixture(scope="session")
def library_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where libraries are built; xdist's workers share it."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "fakenvml"


@pytest.fixture(scope="session")
def fake_library(library_folder: Path) -> Path:
    """A library with all functions; the test is skipped where there is no C compiler."""
    return build_library(library_folder)


@pytest.fixture
def gpu_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, fake_library: Path
) -> Callable[[Scenario], GpuRuns]:
    """``gpu_runs(scenario)`` gives a way to run pytest on such a host."""
    return lambda scenario: GpuRuns(pytester, monkeypatch, fake_library, scenario)
