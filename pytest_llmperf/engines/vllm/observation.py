"""Observes a vLLM server during one test: the rise of its counters, and how full its KV cache was."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.observation import Observation, Observed, explain_token_difference
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.kv_cache import looks
from pytest_llmperf.engines.kv_cache.peak import POLLS_PER_SECOND, Fullest, Seen, find_fullest, prove
from pytest_llmperf.engines.vllm.clock import compare_clocks
from pytest_llmperf.engines.vllm.metrics import (
    COUNTERS,
    POLLED,
    UNKNOWN_SIZE,
    Counters,
    build_metrics_url,
    build_polled_url,
    is_by_position,
    list_position_shares,
    make_poll,
    read_counts,
)
from pytest_llmperf.measurement.reading import Missing, Reading
from pytest_llmperf.system.prometheus import MetricsPage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.api.deployment import Deployment
    from pytest_llmperf.engines.api.insight import PageWatch, WatchPage
    from pytest_llmperf.engines.kv_cache.looks import KVPoll, KVPool
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.window import Window

# The server counts the last tokens of an answer just after it has sent them.
_SETTLE_SECONDS = 1.0
_TIMES = frozenset(key for key in COUNTERS if key.startswith(("queue_", "ttft_", "decode_"))) | {"requests_queued"}


class VLLMObservation(Observation):
    """Observes a server with this KV pool; None if it does not state one.

    ``watch_page`` has its pool looked at while the test runs; None if that cannot be had.
    """

    def __init__(
        self,
        deployment: Deployment,
        readings: Callable[[], Mapping[str, Reading]],
        pool: KVPool | None,
        watch_page: WatchPage | None = None,
    ) -> None:
        super().__init__(readings)
        self._deployment = deployment
        self._pool = pool
        self._page = MetricsPage(build_metrics_url(deployment.base_url))
        self._watch: PageWatch | None = None
        self._failure = ""
        try:
            self._before: Counters | None = Counters.of(self._page.read())
        except (OSError, ValueError) as error:
            self._before, self._failure = None, str(error)
        if pool is not None and self._before is not None and watch_page is not None:
            self._watch = watch_page(build_polled_url(deployment.base_url), POLLED, POLLS_PER_SECOND)

    def read(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        return self._look(requests, window, final=False)

    def end(self, requests: Sequence[RequestTiming], window: Window) -> Observed:
        if self._watch is not None:
            self._watch.close()
        try:
            return self._look(requests, window, final=True)
        finally:
            self._page.close()

    def close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._page.close()

    def _look(self, requests: Sequence[RequestTiming], window: Window, *, final: bool) -> Observed:
        rises, fault = self._rises(requests, final=final)
        readings, stats, levels = self._kv(requests, window, rises)
        faults = (fault,) if fault else ()
        clock = compare_clocks(rises, requests) if final else None
        hits = rises.get("prefix_cache_hits")
        return Observed(
            {**self._readings(), **readings, **read_counts(rises)},
            faults,
            {**select_counts(rises), **stats},
            server_clock=clock,
            cached_tokens=None if hits is None else round(hits),
            kv_levels=levels if final else (),
        )

    def _rises(self, requests: Sequence[RequestTiming], *, final: bool) -> tuple[dict[str, float], str]:
        """What the counters rose by, and what is wrong with them."""
        if self._deployment.state is EngineState.UNLOADED:
            return {}, ""  # as the test wanted; its counters ended with it
        if self._before is None:
            return {}, f"the server's counters could not be read: {self._failure}"
        deadline = time.monotonic() + _SETTLE_SECONDS
        try:
            while True:
                rises = Counters.of(self._page.read()).since(self._before)
                fault = explain_token_difference(rises["generation_tokens"], requests) if final else ""
                if not fault or time.monotonic() >= deadline:
                    return rises, fault
                time.sleep(0.02)
        except (OSError, ValueError) as error:
            return {}, str(error)

    # ------------------------------------------------------------------------------------------- the KV cache

    def _kv(
        self, requests: Sequence[RequestTiming], window: Window, rises: Mapping[str, float]
    ) -> tuple[dict[str, Reading], dict[str, float], tuple[tuple[int, int], ...]]:
        pool = self._pool
        if pool is None:
            missing = Reading.missing("the server does not state the size of its KV cache")
            return {"memory.kv_cache": missing, "memory.kv_waste": missing}, {}, ()
        polls, failure = self._polls(pool, window)
        hits = rises.get("prefix_cache_hits")
        seen = Seen(polls, failure, requests, preemptions=round(rises.get("preemptions", 0)), prefix_hits=hits)
        proven = prove(pool, seen)
        fullest = find_fullest(pool, seen, proven)
        waste = looks.compute_waste(polls, requests, pool.block_tokens)
        # A request that was preempted waits between two of its tokens.
        running = 0 if seen.preemptions else proven.running
        readings = {"memory.kv_cache": _peak(fullest, pool), "memory.kv_waste": waste}
        return readings, _stats(fullest, pool, polls, running), looks.list_levels(pool, polls)

    def _polls(self, pool: KVPool, window: Window) -> tuple[list[KVPoll], str]:
        """The looks at the pool in a window, and why there are none, or no more."""
        if self._watch is None:
            return [], self._failure or "the engine was not looked at"
        try:
            polls = [make_poll(look, pool) for look in self._watch.looks(window.start_ns, window.end_ns)]
        except ValueError as error:
            return [], str(error)
        return polls, self._watch.why_unread(window.start_ns, window.end_ns)


def _peak(fullest: Fullest | Missing, pool: KVPool) -> Reading:
    if pool.block_bytes is None:
        return Reading.missing(UNKNOWN_SIZE)
    if isinstance(fullest, Missing):
        return Reading.missing(fullest.reason)
    return Reading(fullest.blocks * pool.block_bytes, fullest.how, samples=fullest.samples)


def _stats(fullest: Fullest | Missing, pool: KVPool, polls: Sequence[KVPoll], running: int) -> dict[str, float]:
    """Returns the numbers for the reports; at least ``running`` requests ran at a time."""
    stats: dict[str, float] = {"kv_blocks": pool.blocks, "kv_block_tokens": pool.block_tokens}
    if polls or running:
        stats["running_peak"] = max([running, *(p.running for p in polls)])
    if polls:
        stats["waiting_peak"] = max(p.waiting for p in polls)
    if not isinstance(fullest, Missing):
        stats["kv_usage_peak_share"] = fullest.blocks / max(1, pool.usable)
        if pool.block_bytes is not None:
            stats["kv_headroom_bytes"] = max(0, pool.usable - fullest.blocks) * pool.block_bytes
    return stats


def select_counts(rises: dict[str, float]) -> dict[str, float]:
    """The counters for the report: of the queue time, its mean. The other times are held against the client's."""
    stats = {key: rise for key, rise in rises.items() if key not in _TIMES and not is_by_position(key)}
    stats |= list_position_shares(rises)
    if rises.get("requests_queued"):
        stats["queue_mean_seconds"] = rises["queue_seconds"] / rises["requests_queued"]
    return stats
