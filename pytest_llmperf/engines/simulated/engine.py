"""The ``simulated`` engine: a server that emits tokens on a schedule instead of running a model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.engine import EngineError, EngineSpec, Progress
from pytest_llmperf.engines.lifecycle.http import announced_url, check_port, http_post
from pytest_llmperf.engines.lifecycle.server_engine import ServerEngine
from pytest_llmperf.engines.simulated.schedule import Simulation, SimulationError
from pytest_llmperf.telemetry.cpu import cpu_device
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from pathlib import Path

_ANNOUNCE = "announce"


class SimulatedEngine(ServerEngine):
    """Every setting of :class:`Simulation` is an engine argument; most may be given per request: ``simulate={...}``."""

    name = "simulated"
    dialect = Dialect(count_tokens=lambda _, text: len(text.split()))

    @classmethod
    def check(cls, spec: EngineSpec) -> None:
        if spec.url or spec.binary:
            raise EngineError(
                "simulated is always started here: it takes neither --llmperf-url nor --llmperf-engine-bin"
            )
        try:
            Simulation.from_strings(spec.args)
        except SimulationError as error:
            raise EngineError(f"simulated: {error}") from None
        check_port(spec.args.get("port", "0"), "port")

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(spec)
        self.model = self.spec.args.get("model", self.model or "simulated")
        self.version = "1"
        self.computes_on_gpu = spec.args.get("device", "cpu") == "gpu"
        self.devices = () if self.computes_on_gpu else (cpu_device(),)
        self._asleep = False

    def _command(self, directory: Path) -> list[str]:
        command = [sys.executable, "-P", "-m", "pytest_llmperf.engines.simulated.server_main"]
        command += ["--announce", str(directory / _ANNOUNCE)]
        for key, value in {**self.spec.args, "model": self.model}.items():
            command += ["--set", f"{key}={value}"]
        return command

    def _find_url(self, directory: Path) -> str | None:
        return announced_url(directory / _ANNOUNCE)

    def _on_ready(self) -> None:
        """The command line has told it everything; there is nothing to ask."""

    def start(self, progress: Progress) -> None:
        self._asleep = False
        super().start(progress)

    def _unload(self) -> None:
        self._order("unload")

    def _sleep(self, level: int) -> None:
        self._order("unload")
        self._asleep = True

    def wake(self) -> None:
        self._order("load")
        self._asleep = False

    @property
    def asleep(self) -> bool:
        return self._asleep

    def _order(self, what: str) -> None:
        try:
            http_post(f"{self.base_url.removesuffix('/v1')}/{what}")
        except OSError as error:
            raise EngineError(f"simulated: it did not {what}: {error}", self.log_tail()) from None
