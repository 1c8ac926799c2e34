"""What an engine reports about itself during one test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.engine_info import is_same_model

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.server_clock import ServerClock
    from pytest_llmperf.measurement.window import Window


@dataclass(frozen=True)
class Observed:
    """What was seen: ``readings`` by the name of their metric, ``faults`` that make the measurement untrustworthy.

    ``beside`` is what its server held during the test beside its model, such as ``qwen3:0.6b (1.2 GiB)``.
    ``cached_tokens`` are the tokens of prompts that came from the engine's caches; None if it does not count them.
    ``stats`` are numbers for the reports that no budget limits; a name ends in ``_seconds``, ``_bytes``, ``_share`` or
    ``_rate`` (tokens per second) where that is its unit, else it is a count. ``server_clock`` holds the times of the
    requests by the server's own clock; None if it states none. ``kv_levels`` are pairs of time in ns and the bytes of
    its KV cache in use from then on; empty if they are not known.
    """

    readings: Mapping[str, Reading] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    stats: Mapping[str, float] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    server_clock: ServerClock | None = None
    cached_tokens: int | None = None
    kv_levels: tuple[tuple[int, int], ...] = ()


class Observation:
    """Observes an engine during one test; created just before the test's window opens.

    This one observes nothing but ``readings``, what the engine states anyway.

    Attributes:
        inputs: the test's requests for embeddings, ranks and scores so far, which give no tokens.
    """

    inputs: Sequence[RequestTiming] = ()

    def __init__(self, readings: Callable[[], Mapping[str, Reading]]) -> None:
        self._readings = readings

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        """What has been seen up to now; ``requests`` are those for text that have ended."""
        return Observed(self._readings())

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        """What has been seen in all, once the window has closed. Nothing is observed after it."""
        return self.read(requests, window)

    def close(self) -> None:
        """Ends it without a result. May be called twice."""


def explain_token_difference(generated: float, requests: Sequence[RequestTiming], model: str = "") -> str:
    """Why a server's count of generated tokens differs from that of its answers to the test; "" if it does not.

    Calls of the app under test do not go through llm_client. If that sent nothing itself, all tokens are the app's; if
    a request failed, the measurement is invalid for that, and the tokens it generated are unknown. ``model`` is that
    of which the tokens were counted; "" if all models of the server were.
    """
    if not requests or any(r.error is not None or r.output_tokens is None for r in requests):
        return ""
    seen = sum(r.output_tokens or 0 for r in requests)
    if seen == generated:
        return ""
    others = [r.model for r in requests if model and r.model and not is_same_model(r.model, model)]
    if others:
        names = ", ".join(sorted(set(others)))
        return f"{len(others)} of {len(requests)} requests were answered by {names}, not by {model}, which is measured"
    past = "; others use the server, or calls went past llm_client" if generated > seen else ""
    return f"the server generated {generated:.0f} tokens, the client saw {seen}{past}"
