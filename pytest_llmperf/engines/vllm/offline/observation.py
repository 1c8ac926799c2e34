"""Observes vLLM inside pytest during one test: the rise of its counts, and its KV cache after each step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.observation import Observation, Observed, explain_token_difference
from pytest_llmperf.engines.kv_cache import looks as kv
from pytest_llmperf.engines.vllm.metrics import UNKNOWN_SIZE, read_counts
from pytest_llmperf.engines.vllm.observation import select_counts
from pytest_llmperf.measurement.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
    from pytest_llmperf.engines.vllm.offline.steps import Steps
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window


_RESTARTED = "the engine was started afresh during the test: its counts are not those of before"


class OfflineObservation(Observation):
    """Observes an engine with this KV pool, after each of its steps."""

    def __init__(self, readings: Callable[[], Mapping[str, Reading]], steps: Steps, pool: KVPool) -> None:
        super().__init__(readings)
        self._steps = steps
        self._pool = pool
        self._before = steps.counts.copy()
        self._looks: list[KVPoll] = []
        steps.looks = self._looks

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        looks = [look for look in self._looks if window.start_ns <= look.at_ns <= window.end_ns]
        rises = {key: float(value - self._before[key]) for key, value in self._steps.counts.items()}
        readings = {
            **self._readings(),
            **read_counts(rises),
            "memory.kv_cache": self._peak(looks),
            "memory.kv_waste": kv.compute_waste(looks, requests, self._pool.block_tokens),
        }
        stats = {**select_counts(rises), **self._stats(looks)}
        cached = round(rises.get("prefix_cache_hits", 0.0))
        return Observed(readings, stats=stats, cached_tokens=cached, kv_levels=kv.list_levels(self._pool, looks))

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        seen = self.read(requests, window)
        self.close()
        rises = {"generation_tokens": seen.stats.get("generation_tokens", 0.0)}
        fault = _RESTARTED if self._steps.ended else explain_token_difference(rises["generation_tokens"], requests)
        return replace(seen, faults=(fault,) if fault else ())

    def close(self) -> None:
        if self._steps.looks is self._looks:
            self._steps.looks = None

    def _peak(self, looks: Sequence[KVPoll]) -> Reading:
        if self._pool.block_bytes is None:
            return Reading.missing(UNKNOWN_SIZE)
        if not looks:
            return Reading.missing("the engine took no step during the test")
        used = max(look.used_blocks for look in looks)
        how = f"{used:.0f} of {self._pool.blocks} blocks of {self._pool.block_tokens} tokens, after each of its steps"
        return Reading(used * self._pool.block_bytes, how, samples=len(looks))

    def _stats(self, looks: Sequence[KVPoll]) -> dict[str, float]:
        stats: dict[str, float] = {"kv_blocks": self._pool.blocks, "kv_block_tokens": self._pool.block_tokens}
        if looks:
            used = max(look.used_blocks for look in looks)
            stats["kv_usage_peak_share"] = used / max(1, self._pool.blocks - 1)
            stats["running_peak"] = max(look.running for look in looks)
            stats["waiting_peak"] = max(look.waiting for look in looks)
            if self._pool.block_bytes is not None:
                stats["kv_headroom_bytes"] = max(0.0, self._pool.blocks - 1 - used) * self._pool.block_bytes
        return stats
