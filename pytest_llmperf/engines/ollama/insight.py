"""What Ollama says of itself: the size of a model by its metadata, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.attached.slots import count_busy_slots
from pytest_llmperf.engines.ollama.observation import OllamaObservation
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
    from pytest_llmperf.measurement.reading import Reading


class OllamaInsight(Insight):
    """What Ollama states of the model of one engine."""

    def __init__(self, deployment: OllamaDeployment) -> None:
        self._deployment = deployment
        self._slots_url = ""

    def refresh(self) -> None:
        footprint = self._deployment.footprint
        offload = footprint.offload.value if footprint is not None else 0.0
        self.computes_on_gpu = None if offload is None else offload > 0
        self.devices = (cpu_device(),) if self.computes_on_gpu is False else ()

    def readings(self) -> dict[str, Reading]:
        """Weights, KV cache and offload of the loaded model."""
        footprint = self._deployment.footprint
        return footprint.readings() if footprint else {}

    def count_running(self) -> int | Missing:
        """By the slots of its runner, where that has a page of them. To find a runner takes longer than to ask it."""
        busy = count_busy_slots(self._slots_url) if self._slots_url else None
        if busy is None:
            self._slots_url = self._find_slots()
            busy = count_busy_slots(self._slots_url) if self._slots_url else None
        return Missing("the runner of the model does not tell its slots") if busy is None else busy

    def _find_slots(self) -> str:
        try:
            loaded = self._deployment.look()
        except EngineError:
            return ""
        return loaded.runner.slots_url if loaded is not None and loaded.runner is not None else ""

    def observe(self) -> OllamaObservation:
        return OllamaObservation(self._deployment, self.readings)
