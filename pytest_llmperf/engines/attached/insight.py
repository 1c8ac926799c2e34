"""What a running server of an unknown kind says of itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.observation import Observation, Observed
from pytest_llmperf.engines.attached.adapters import list_model_adapters, list_numbered_adapters
from pytest_llmperf.engines.attached.core_waits import CoreWatch
from pytest_llmperf.engines.attached.counters import count_answered_tokens, count_generated_tokens, count_requests
from pytest_llmperf.engines.attached.slots import SlotsWatch, count_busy_slots, explain_busy_slots
from pytest_llmperf.measurement.reading import Missing, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.api.deployment import Deployment
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window

# A server may count the last tokens of an answer just after it has sent them.
_SETTLE_SECONDS = 1.0


class AttachedInsight(Insight):
    """Finds out, when the server is attached, by which of its pages the load of others shows."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._metrics_url = self._slots_url = self._requests_url = ""

    def refresh(self) -> None:
        root, key = self._deployment.base_url.removesuffix("/v1"), self._deployment.api_key
        metrics, slots = f"{root}/metrics", f"{root}/slots"
        self._metrics_url = metrics if count_generated_tokens(metrics) is not None else ""
        self._slots_url = slots if count_busy_slots(slots, key) is not None else ""
        self._requests_url = metrics if count_requests(metrics) is not None else ""

    def readings(self) -> dict[str, Reading]:
        """The weights, if its list of models states them."""
        weights = self._deployment.stated_weights
        if weights is None:
            return {}
        return {"memory.weights": Reading(weights, "stated by the server's list of models", samples=1)}

    def count_running(self) -> int | Missing:
        if not (self._slots_url or self._requests_url):
            return Missing("the server tells neither by /metrics nor by /slots which requests it works on")
        key = self._deployment.api_key
        found = count_busy_slots(self._slots_url, key) if self._slots_url else count_requests(self._requests_url)
        return Missing("the server no longer tells which requests it works on") if found is None else found

    def list_adapters(self) -> dict[str, str]:
        """Those that it lists in either way."""
        asked = self._deployment
        root = asked.base_url.removesuffix("/v1")
        named = list_model_adapters(asked.base_url, asked.api_key, asked.query)
        return {**named, **list_numbered_adapters(root, asked.api_key)}

    def observe(self) -> AttachedObservation:
        cores = CoreWatch(self._deployment.branches if self._slots_url else ())
        slots = SlotsWatch([self._slots_url] if self._slots_url else [], self._deployment.api_key)
        return AttachedObservation(self.readings, self._metrics_url, slots, cores)


class AttachedObservation(Observation):
    """Compares what the server did with the test's requests. A page without a URL is not read."""

    def __init__(
        self, readings: Callable[[], Mapping[str, Reading]], metrics_url: str, slots: SlotsWatch, cores: CoreWatch
    ) -> None:
        super().__init__(readings)
        self._metrics_url = metrics_url
        self._before = count_generated_tokens(metrics_url) if metrics_url else None
        self._slots = slots
        self._cores = cores

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        self.close()
        busy = explain_busy_slots(self._slots.looks, requests, self._cores.waits, self.inputs)
        faults = (self._explain_tokens(requests), busy)
        return Observed(self._readings(), tuple(fault for fault in faults if fault))

    def close(self) -> None:
        self._slots.stop()
        self._cores.stop()

    def _explain_tokens(self, requests: Sequence[RequestTiming]) -> str:
        """Why the server's count of generated tokens is more than the test's; "" if it is not."""
        ours = count_answered_tokens(requests)
        if self._before is None or ours is None:
            return ""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while (now := count_generated_tokens(self._metrics_url)) is not None:
            generated = now - self._before
            if generated >= ours or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        else:
            return ""
        if generated <= ours:
            return ""
        return (
            f"others used the server: it generated {generated:.0f} tokens, {ours} of them for the test "
            "(or calls went past llm_client)"
        )
