"""pytest runs on a host with scripted GPUs: the real plugin, sampler and pynvml over the fake library."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.report_file import read_report
from pytest_llmperf.testing import GIB, Scenario, ScriptedDevice
from tests.conftest import SIMULATED, Runs
from tests.gpu.fake_library import LiveScenario

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
UUID = "GPU-00000000-0000-0000-0000-000000000000"
MIB = 2**20

# What every inner test module begins with: the GPUs, and an engine that is on the first of them with 2 GiB.
PRELUDE = f"""
import os
import time
from pathlib import Path

import pytest

from pytest_llmperf.testing import GIB, Fault, ScriptedProcess, Spike, Throttle
from tests.gpu.fake_library import LiveScenario

UUID = {UUID!r}
MIB = {MIB}


@pytest.fixture(scope="session")
def gpu():
    return LiveScenario(Path(os.environ["FAKENVML_SCENARIO"]))


@pytest.fixture
def on_gpu(gpu, llm_engine):
    gpu.set_process(UUID, ScriptedProcess(llm_engine.pids[0], used=2 * GIB))
    gpu.set(UUID, used=2 * GIB)
    return gpu
"""


class GpuRuns:
    """Runs a test file on a scripted host; ``live`` changes the host meanwhile."""

    def __init__(
        self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, library: Path, scenario: Scenario
    ) -> None:
        self._pytester = pytester
        self._runs = Runs(pytester)
        self.live = LiveScenario.create(pytester.path / "scenario", scenario)
        for name, value in self.live.environment(library).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        monkeypatch.setenv("COLUMNS", "160")

    def __call__(self, source: str, *options: str, **engine_arguments: str) -> pytest.RunResult:
        arguments = self._runs.arguments(**{"device": "gpu", **engine_arguments})
        return self.plain(source, SIMULATED, *arguments, *options)

    @property
    def folder(self) -> Path:
        """Where the tests run."""
        return self._pytester.path

    def conftest(self, source: str) -> None:
        self._pytester.makeconftest(source)

    def plain(self, source: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(test_it=PRELUDE + dedent(source))
        return self._pytester.runpytest_subprocess("--llmperf-report=report.json", "-p", "no:cacheprovider", *options)

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """All verdicts of the last run, from its report."""
        report = read_report(self._pytester.path / "report.json")
        return [verdict for test in report["tests"] for verdict in test["verdicts"]]

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """The measurement of each test of the last run, from its report."""
        report = read_report(self._pytester.path / "report.json")
        return [test["measurement"] for test in report["tests"]]


def one_gpu(**changes: Any) -> Scenario:
    """A host with one L4 of which nothing is used."""
    return Scenario([ScriptedDevice(uuid=UUID, total=24 * GIB, **changes)])
