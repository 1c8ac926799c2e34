"""vLLM seen from the inside over one test: what its counters rose by, and how full its KV cache was meanwhile."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines import kv
from pytest_llmperf.engines.observation import Observation, Observed, counts_differ
from pytest_llmperf.engines.poller import POLLS_PER_SECOND, Poller
from pytest_llmperf.engines.vllm_metrics import UNKNOWN_SIZE, Counters, metrics_url, poll, polled_url
from pytest_llmperf.measurement import Reading
from pytest_llmperf.telemetry.prometheus import MetricsPage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.base import Engine
    from pytest_llmperf.engines.kv import KVPoll, KVPool
    from pytest_llmperf.measurement import Window
    from pytest_llmperf.request_timing import RequestTiming

# The server counts the last tokens of an answer just after it has sent them.
_SETTLE_SECONDS = 1.0


class VLLMObservation(Observation):
    """Of a server with this KV pool, None where it does not state one."""

    def __init__(self, engine: Engine, pool: KVPool | None) -> None:
        super().__init__(engine)
        self._pool = pool
        self._page = MetricsPage(metrics_url(engine.base_url))
        self._poller: Poller[KVPoll] | None = None
        self._failure = ""
        try:
            self._before: Counters | None = Counters.of(self._page.read())
        except (OSError, ValueError) as error:
            self._before, self._failure = None, str(error)
        if pool is not None and self._before is not None:
            page = MetricsPage(polled_url(engine.base_url))
            self._poller = Poller(page, lambda samples, at_ns: poll(samples, at_ns, pool))

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        return self._look(requests, window, final=False)

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        if self._poller is not None:
            self._poller.stop()
        try:
            return self._look(requests, window, final=True)
        finally:
            self._page.close()

    def abandon(self) -> None:
        if self._poller is not None:
            self._poller.stop()
        self._page.close()

    def _look(self, requests: Sequence[RequestTiming], window: Window, *, final: bool) -> Observed:
        polls = [p for p in self._poller.polls if window.start_ns <= p.at_ns <= window.end_ns] if self._poller else []
        readings = {**self._engine.readings(), **self._kv_readings(polls, requests)}
        stats = self._kv_stats(polls)
        if self._engine.unloaded:
            return Observed(readings, (), stats)  # as the test wanted; its counters have gone with it
        if self._before is None:
            return Observed(readings, (f"the server's counters could not be read: {self._failure}",), stats)
        try:
            rises = Counters.of(self._page.read()).since(self._before)
            fault = counts_differ(rises["generation_tokens"], requests) if final else ""
            deadline = time.monotonic() + _SETTLE_SECONDS
            while fault and time.monotonic() < deadline:
                time.sleep(0.02)
                rises = Counters.of(self._page.read()).since(self._before)
                fault = counts_differ(rises["generation_tokens"], requests)
        except (OSError, ValueError) as error:
            return Observed(readings, (str(error),), stats)
        return Observed(readings, (fault,) if fault else (), {**counted(rises), **stats})

    # ------------------------------------------------------------------------------------------- the KV cache

    def _kv_readings(self, polls: Sequence[KVPoll], requests: Sequence[RequestTiming]) -> dict[str, Reading]:
        if self._pool is None:
            missing = Reading.missing("the server does not state the size of its KV cache")
            return {"memory.kv_cache": missing, "memory.kv_waste": missing}
        return {
            "memory.kv_cache": self._peak(self._pool, polls, requests),
            "memory.kv_waste": kv.waste(polls, requests, self._pool.block_tokens),
        }

    def _peak(self, pool: KVPool, polls: Sequence[KVPoll], requests: Sequence[RequestTiming]) -> Reading:
        if pool.block_bytes is None:
            return Reading.missing(UNKNOWN_SIZE)
        if not polls:
            failure = self._poller.failure if self._poller else self._failure
            return Reading.missing(failure or "the test was over before the engine could be looked at")
        if requests and not any(p.used_blocks for p in polls):
            return Reading.missing(f"its requests were too short to be seen by {POLLS_PER_SECOND:g} looks a second")
        used = max(p.used_blocks for p in polls)
        how = f"{used:.0f} of {pool.blocks} blocks of {pool.block_tokens} tokens; {_looks(polls)}"
        return Reading(used * pool.block_bytes, how, samples=len(polls))

    def _kv_stats(self, polls: Sequence[KVPoll]) -> dict[str, float]:
        if self._pool is None:
            return {}
        stats: dict[str, float] = {"kv_blocks": self._pool.blocks, "kv_block_tokens": self._pool.block_tokens}
        if polls:
            used = max(p.used_blocks for p in polls)
            stats["kv_usage_peak_share"] = used / max(1, self._pool.blocks - 1)
            stats["running_peak"] = max(p.running for p in polls)
            stats["waiting_peak"] = max(p.waiting for p in polls)
            if self._pool.block_bytes is not None:
                stats["kv_headroom_bytes"] = max(0.0, self._pool.blocks - 1 - used) * self._pool.block_bytes
        return stats


def _looks(polls: Sequence[KVPoll]) -> str:
    gap = max((b.at_ns - a.at_ns for a, b in itertools.pairwise(polls)), default=0)
    return f"{len(polls)} looks, at most {gap / 1e6:.0f} ms apart"


def counted(rises: dict[str, float]) -> dict[str, float]:
    """The counters for the report: of the queue time, its mean."""
    stats = {key: rise for key, rise in rises.items() if key not in ("queue_seconds", "requests_queued")}
    if rises.get("requests_queued"):
        stats["queue_mean_seconds"] = rises["queue_seconds"] / rises["requests_queued"]
    return stats
