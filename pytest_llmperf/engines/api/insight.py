"""What an engine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.observation import Observation

if TYPE_CHECKING:
    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.reading import Reading


class Insight:
    """Reads what only the engine knows. This one reads nothing, which any OpenAI server satisfies.

    Attributes:
        computes_on_gpu: None if only its being on a device tells.
        devices: where it computes; empty to find out by its processes.
        peak_caveat: why the peak of its memory says nothing of a test; empty if it does.
    """

    computes_on_gpu: bool | None = None
    devices: tuple[Device, ...] = ()
    peak_caveat: str = ""

    def refresh(self) -> None:
        """Reads what the engine says after a start; called each time it has become ready.

        Raises:
            EngineError: the server is not the engine that was asked for.
        """

    def readings(self) -> dict[str, Reading]:
        """Metrics that only the engine knows, by name (``memory.weights``)."""
        return {}

    def observe(self) -> Observation:
        """Begins to observe the engine for the time of one test. Never raises: what it returns carries the faults."""
        return Observation(self.readings)
