from __future__ import annotations

from pathlib import Path

import pytest

from pytest_llmperf.telemetry.cpu import cpu_device, engine_devices


@pytest.fixture(params=["with an NVIDIA driver", "without one"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    has_driver: bool = request.param == "with an NVIDIA driver"
    exists = Path.exists

    def pretend(path: Path) -> bool:
        return bool(has_driver if str(path) == "/dev/nvidiactl" else exists(path))

    monkeypatch.setattr(Path, "exists", pretend)
    return has_driver


def test_an_engine_computes_on_the_cpu_unless_it_might_be_a_gpu(driver: bool) -> None:
    assert engine_devices() == (() if driver else (cpu_device(),))
