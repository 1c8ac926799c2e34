"""What Ollama says of itself: the size of a model by its metadata, and how it is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.ollama.observation import OllamaObservation
from pytest_llmperf.telemetry.cpu import cpu_device

if TYPE_CHECKING:
    from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
    from pytest_llmperf.measurement.reading import Reading


class OllamaInsight(Insight):
    """What Ollama states of the model of one engine."""

    def __init__(self, deployment: OllamaDeployment) -> None:
        self._deployment = deployment

    def refresh(self) -> None:
        footprint = self._deployment.footprint
        offload = footprint.offload.value if footprint is not None else 0.0
        self.computes_on_gpu = None if offload is None else offload > 0
        self.devices = (cpu_device(),) if self.computes_on_gpu is False else ()

    def readings(self) -> dict[str, Reading]:
        """Weights, KV cache and offload of the loaded model."""
        footprint = self._deployment.footprint
        return footprint.readings() if footprint else {}

    def observe(self) -> OllamaObservation:
        return OllamaObservation(self._deployment, self.readings)
