"""The bridge to pytest-benchmark: adds what a test measured, and on which devices and engines, to its JSON.

It can be imported without pytest-benchmark, and its hooks are called only where that is installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.reporter import REPORTER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.plugin.reporter import Reporter
    from pytest_llmperf.plugin.session import Session
    from pytest_llmperf.plugin.settings import Settings
    from pytest_llmperf.reports.result import TestResult

KEY = "llmperf"


def is_installed(config: pytest.Config) -> bool:
    """Whether pytest-benchmark takes part in this run."""
    return hasattr(config.hook, "pytest_benchmark_update_json")


def repeats(item: pytest.Item) -> bool:
    """Whether the test uses the ``benchmark`` fixture, which repeats the code itself and may be called only once."""
    return "benchmark" in getattr(item, "funcargs", {})


def add_extra_info(item: pytest.Item, result: TestResult) -> None:
    """Adds verdicts and readings to ``benchmark.extra_info`` of a test that has it, whether it passed or not."""
    extra_info = getattr(getattr(item, "funcargs", {}).get("benchmark"), "extra_info", None)
    if isinstance(extra_info, dict):
        extra_info[KEY] = _extra_info(result)


def _extra_info(result: TestResult) -> dict[str, Any]:
    """The result without the lists of samples and requests, which only the JSON report has."""
    from pytest_llmperf.reports.result import to_wire

    wire = to_wire(result)
    return {"schema": wire["schema"], "verdicts": wire["verdicts"], **_figures(wire["measurement"])}


def _figures(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the test as a whole; ``parts`` has those of each engine of a test with several."""
    from pytest_llmperf.reports.wire.readings import find_metric

    return {
        "readings": {
            name: {"value": reading["value"], "unit": find_metric(measurement, name)["unit"]}
            for name, reading in measurement["readings"].items()
        },
        "requests": {key: measurement["requests"][key] for key in ("total", "failed", "tokens")},
        **{key: measurement[key] for key in ("engine", "label", "records", "faults", "attempt")},
        "parts": [_figures(part) for part in measurement["parts"]],
    }


class Bridge:
    """Implements the hooks of pytest-benchmark. Registered only if that is installed."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._machine: dict[str, Any] | None = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_machine_info(self, machine_info: dict[str, Any]) -> None:
        """Adds engines and devices, so that pytest-benchmark warns when runs on different ones are compared.

        pytest-benchmark calls it before the first test when it compares and after the last when it saves. Both must
        give the same answer, so nothing is added that only a running engine knows.
        """
        settings = self._session.settings
        if not settings.engines or settings.disable:
            return
        if self._machine is None:
            self._machine = {"engines": [spec.label for spec in settings.engines], "devices": _devices(settings)}
        machine_info[KEY] = self._machine

    @pytest.hookimpl(optionalhook=True)
    def pytest_benchmark_update_json(self, config: pytest.Config, output_json: dict[str, Any]) -> None:
        """Adds the overview of the whole run; the numbers of each test are in its ``extra_info``."""
        reporter: Reporter | None = config.pluginmanager.get_plugin(REPORTER)
        if reporter is not None and reporter.results:
            from pytest_llmperf.reports.json_report import describe_run

            output_json[KEY] = describe_run(reporter.results, session=reporter.describe_session())


def _devices(settings: Settings) -> list[dict[str, Any]]:
    """The devices engines may use, by name and memory size. No UUIDs, so that runs on two equal cards compare."""
    from pytest_llmperf.system.cuda_environ import VISIBLE_DEVICES
    from pytest_llmperf.telemetry.cpu import engine_devices
    from pytest_llmperf.telemetry.devices import list_visible

    chosen = settings.launch["visible_devices"]
    facts = list_visible(os.environ.get(VISIBLE_DEVICES) if chosen is None else chosen)
    if facts:
        return [{"name": f.name, "memory_bytes": f.total_bytes} for f in facts]
    return [{"name": device.name} for device in engine_devices()] or [{"name": "unknown: the driver lists no device"}]
