"""What an engine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.engines.api.observation import Observation
from pytest_llmperf.measurement.reading import Missing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.engine_info import Device
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.system.prometheus import PageLook


class PageWatch(Protocol):
    """A metrics page that is being read."""

    def looks(self, start_ns: int, end_ns: int) -> Sequence[PageLook]:
        """The readings that were answered in this time, in order."""

    def why_unread(self, start_ns: int, end_ns: int) -> str:
        """Why the last reading in this time failed; empty if it did not."""

    def close(self) -> None:
        """Ends the readings; those that were taken stay. May be called twice."""


class WatchPage(Protocol):
    """Has a metrics page read from now on, in another process."""

    def __call__(self, url: str, series: Sequence[str], hz: float, /) -> PageWatch:
        """Reads the ``series`` of the page ``hz`` times a second."""


class Insight:
    """Reads what only the engine knows. This one reads nothing, which any OpenAI server satisfies.

    Attributes:
        computes_on_gpu: None if only its being on a device tells.
        devices: where it computes; empty to find out by its processes.
        peak_caveat: why the peak of its memory says nothing of a test; empty if it does.
        watch_page: has a metrics page of the engine read many times a second; None where nothing is sampled.
    """

    computes_on_gpu: bool | None = None
    devices: tuple[Device, ...] = ()
    peak_caveat: str = ""
    watch_page: WatchPage | None = None

    def refresh(self) -> None:
        """Reads what the engine says after a start; called each time it has become ready.

        Raises:
            EngineError: the server is not the engine that was asked for.
        """

    def readings(self) -> dict[str, Reading]:
        """Metrics that only the engine knows, by name (``memory.weights``)."""
        return {}

    def count_running(self) -> int | Missing:
        """How many requests it works on or has waiting now, or why it does not tell. Never raises.

        Asked many times a second for a moment after a test has cancelled a request.
        """
        return Missing("the engine does not tell which requests it works on")

    def list_adapters(self) -> Mapping[str, str]:
        """The names of its adapters, by how requests ask for them: the name of a model, or ``#0`` for a number."""
        return {}

    def observe(self) -> Observation:
        """Begins to observe the engine for the time of one test. Never raises: what it returns carries the faults."""
        return Observation(self.readings)
