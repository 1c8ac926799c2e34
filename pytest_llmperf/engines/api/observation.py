"""What an engine tells of itself over the time of one test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.measurement import Reading
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window


@dataclass(frozen=True)
class Observed:
    """What was seen: ``readings`` by the name of their metric, ``faults`` that make the measurement untrustworthy.

    ``stats`` are numbers for the reports that no budget limits; a name ends in ``_seconds``, ``_bytes``, ``_share`` or
    ``_rate`` (tokens per second) where that is its unit, else it is a count.
    """

    readings: Mapping[str, Reading] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    stats: Mapping[str, float] = field(default_factory=dict)


class Observation:
    """Begun just before a test's window opens. This one sees nothing but what the engine states anyway."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        """What has been seen up to now; ``requests`` are those of ``llm_client`` that have ended."""
        return Observed(self._engine.readings())

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        """The last look, once the window has closed."""
        return self.read(requests, window)

    def abandon(self) -> None:
        """Stops looking: nobody will ask."""


def counts_differ(generated: float, requests: Sequence[RequestTiming]) -> str:
    """What is wrong where the server has generated more or less than its answers to the test say; empty where not.

    Calls of the app under test go past llm_client. Where that sent nothing itself, all of it is theirs; where a request
    failed, the measurement is invalid for that and nobody knows its tokens.
    """
    if not requests or any(r.error is not None or r.output_tokens is None for r in requests):
        return ""
    seen = sum(r.output_tokens or 0 for r in requests)
    if seen == generated:
        return ""
    past = "; others use the server, or calls went past llm_client" if generated > seen else ""
    return f"the server generated {generated:.0f} tokens, the client saw {seen}{past}"
