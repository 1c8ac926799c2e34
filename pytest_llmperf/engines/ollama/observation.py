"""Observes Ollama during one test: the times in its answers, and what makes the measurement invalid."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.observation import Observation, Observed, explain_token_difference
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.attached.core_waits import CoreWatch
from pytest_llmperf.engines.attached.queue import explain_queue
from pytest_llmperf.engines.attached.slots import SlotsWatch, explain_busy_slots
from pytest_llmperf.engines.kv_cache.slots import Slots
from pytest_llmperf.engines.ollama.counters import Counts
from pytest_llmperf.engines.ollama.faults import (
    count_loads,
    explain_reload,
    explain_reuse,
    explain_shift,
    find_ignored,
)
from pytest_llmperf.engines.ollama.versions import times_decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.ollama.deployment import OllamaDeployment
    from pytest_llmperf.engines.ollama.runner import Loaded
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window


class OllamaObservation(Observation):
    """Observes one model."""

    def __init__(self, deployment: OllamaDeployment, readings: Callable[[], Mapping[str, Reading]]) -> None:
        super().__init__(readings)
        self._ollama = deployment
        self._unloads = deployment.unloads
        self._own_counts = deployment.own_counts
        self._log_start = deployment.log_size
        self._failure = ""
        self._before: Loaded | None = None
        self._counts: Counts | None = None
        self._beside: dict[str, None] = {}
        self._others = SlotsWatch([])
        self._cores = CoreWatch(deployment.branches if deployment.attached else ())
        try:
            self._before = deployment.look()
            if deployment.attached and self._before is not None and self._before.runner is not None:
                self._others = SlotsWatch([url] if (url := self._before.runner.slots_url) else [])
            self._beside = dict.fromkeys(deployment.list_beside())
            self._counts = Counts.of(self._before)
        except EngineError as error:
            self._failure = str(error)

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        readings = {**self._readings(), **self._slots().readings(requests)}
        stats = summarize_server_times(requests, decoding=times_decoding(self._ollama.version))
        if self._ollama.takes_turns and (loads := count_loads(requests)) is not None:
            stats["model_loads"] = loads
        with suppress(EngineError):  # an engine that has ended is reported by its status
            self._beside |= dict.fromkeys(self._ollama.list_beside())
        rises = self._read_rises()
        if rises is not None:
            readings["throughput.prefix_hit_rate"] = rises.read_hit_rate()
        cached = None if rises is None else round(rises.cached)
        return Observed(readings, (), stats, tuple(self._beside), cached_tokens=cached)

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        self.close()
        seen = self.read(requests, window)
        faults = tuple(fault for fault in self._faults(requests) if fault)
        return replace(seen, faults=faults, kv_levels=self._slots().levels(requests))

    def close(self) -> None:
        self._others.stop()
        self._cores.stop()

    def _faults(self, requests: Sequence[RequestTiming]) -> list[str]:
        if self._failure:
            return [self._failure]
        try:
            now = self._ollama.look()
        except EngineError as error:
            # An engine that has ended is reported by its status.
            return [] if self._ollama.read_status().state is EngineState.ENDED else [str(error)]
        faults = [explain_shift(requests, self._slots().context), *find_ignored(self._ollama.read_log(self._log_start))]
        if self._ollama.unloads > self._unloads:
            self._ollama.adopt(now)  # the test itself unloaded the model and loaded it again
            return faults
        waited = max((r.server.startup or 0 for r in requests if r.server is not None), default=0) / 1e9
        model, asked = self._ollama.shown_model, self._ollama.model
        anew = explain_reload(model, self._before, now, waited, derived=asked if asked != model else "")
        if not anew:
            return [*faults, *self._compare(requests)]
        return faults if self._ollama.takes_turns and self._ollama.is_as_expected(now) else [anew, *faults]

    def _compare(self, requests: Sequence[RequestTiming]) -> list[str]:
        """Compares what the server did with the requests; returns the contradictions."""
        faults = self._compare_counts(requests)
        if self._ollama.attached:
            footprint = self._ollama.footprint
            slots = footprint.slots if footprint is not None else None
            faults.append(explain_queue(requests, slots or 1, self._cores.waits))
            faults.append(explain_busy_slots(self._others.looks, requests, self._cores.waits))
        return faults

    def _slots(self) -> Slots:
        """The KV cache of one request, without a size if the model is not loaded."""
        footprint = self._ollama.footprint
        return footprint.describe_slot() if footprint else Slots(0, None, "the model was not loaded")

    def _compare_counts(self, requests: Sequence[RequestTiming]) -> list[str]:
        """Compares the runner's own counters with the answers; returns the contradictions."""
        rises = self._read_rises()
        if rises is None:
            return []
        # The tokens of one model that several engines ask are those of all of them.
        different = ""
        if not self._ollama.shares_model:
            different = explain_token_difference(rises.generated, requests, self._ollama.model)
        return [different, explain_reuse(rises.cached, requests, self._ollama.template_tokens)]

    def _read_rises(self) -> Counts | None:
        """What the runner has counted for the test so far; None if it does not tell, or has ended."""
        if self._counts is None:
            return None
        now = Counts.of(self._before)
        own = self._ollama.own_counts.since(self._own_counts)
        return None if now is None else now.since(self._counts).since(own)


def summarize_server_times(requests: Sequence[RequestTiming], *, decoding: bool) -> dict[str, float]:
    """Sums and largest values of the times that the server states, in seconds: waiting is not spread evenly.

    The rate is that of the median request: (tokens − 1) ÷ time to decode them, as the first one comes with the prompt.
    """
    times = [(r, r.server) for r in requests if r.error is None and r.server is not None]
    if not times:
        return {}
    queues = [t.queue for _, t in times if t.queue is not None]
    stats = {
        "startup_max_seconds": max((t.startup or 0) for _, t in times) / 1e9,
        "prompt_seconds": sum((t.prompt or 0) for _, t in times) / 1e9,
        "decode_seconds": sum((t.decode or 0) for _, t in times) / 1e9,
    }
    if queues:
        stats |= {"queue_mean_seconds": sum(queues) / len(queues) / 1e9, "queue_max_seconds": max(queues) / 1e9}
    rates = [(tokens - 1) * 1e9 / t.decode for r, t in times if t.decode and (tokens := r.output_tokens or 0) > 1]
    if decoding and rates:
        stats["decode_median_rate"] = median(rates)
    return stats
