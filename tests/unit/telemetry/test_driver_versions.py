"""The versions of the driver, read by another process."""

from __future__ import annotations

import pytest

from pytest_llmperf.telemetry import driver_versions
from pytest_llmperf.telemetry.driver_versions import read_driver_versions
from pytest_llmperf.telemetry.sources.nvml.main import read_versions
from pytest_llmperf.testing import Fault, Scenario, ScriptedDevice, scripted_nvml


def test_the_driver_states_its_version_and_that_of_cuda() -> None:
    with scripted_nvml(Scenario([ScriptedDevice()], driver_version="580.95.05", cuda_version=12_080)):
        assert read_versions() == ("580.95.05", "12.8")


def test_without_a_driver_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_versions, "has_driver", lambda: False)
    monkeypatch.setattr("subprocess.Popen", None)
    assert read_driver_versions() == (None, None)


@pytest.mark.parametrize(
    ("module", "seconds", "expected"),
    [
        ("timeit", 0.01, (None, None)),  # does not answer in time
        ("this", 60.0, (None, None)),  # answers something else
        ("no.such.module", 60.0, (None, None)),
    ],
)
def test_a_process_that_does_not_answer_as_it_should_leaves_the_versions_unknown(
    monkeypatch: pytest.MonkeyPatch, module: str, seconds: float, expected: tuple[None, None]
) -> None:
    monkeypatch.setattr(driver_versions, "has_driver", lambda: True)
    monkeypatch.setattr(driver_versions, "_MODULE", module)
    monkeypatch.setattr(driver_versions, "_SECONDS", seconds)
    assert read_driver_versions() == expected


def test_where_nvml_cannot_be_used_the_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_nvml(Scenario(faults=[Fault("nvmlInit_v2", 9)])):
        assert read_versions() == (None, None)
