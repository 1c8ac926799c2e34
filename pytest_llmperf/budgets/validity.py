"""Whether a measurement may be judged at all. It fails closed: what is invalid neither passes nor fails a budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.budgets.client_lag import lagging_client
from pytest_llmperf.metrics.memory_energy import energy_fault, memory_traces, slowdown
from pytest_llmperf.metrics.table import FROM_SAMPLER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.metrics.table import Statistic

# A prompt that comes from a cache is not computed: the first token is early, and the prompt's tokens cost nothing.
_FROM_PREFILL = ("latency.ttft", "latency.ttft_answer", "throughput.total", "throughput.goodput")
_BEFORE_THE_TEST = ("latency.startup", "memory.weights", "memory.kv_reserved")


def fault(metric: str, measurement: Measurement, statistic: Statistic | None = None) -> str:
    """Why a metric of this measurement cannot be trusted, in one sentence; empty when it can."""
    if metric in _BEFORE_THE_TEST:
        return ""
    faults = [*measurement.faults, _failed_requests(measurement), _no_tokens(measurement.requests)]
    group, _, key = metric.partition(".")
    if metric in FROM_SAMPLER or metric == "memory.required":
        traces = memory_traces("peak" if key == "required" else key, measurement)
        faults += [] if isinstance(traces, str) else [trace.fault for _, trace in traces]
    elif group == "energy":
        faults.append(energy_fault(measurement))
    elif group in ("latency", "throughput"):
        faults += [slowdown(measurement), lagging_client(key, statistic, measurement)]
    if metric in _FROM_PREFILL:
        faults.append(_cached_prompts(measurement.requests))
    return "; ".join(text for text in faults if text)


def _failed_requests(measurement: Measurement) -> str:
    requests = measurement.requests
    failed = [r.error for r in requests if r.error is not None]
    tolerated = min((load.max_error_rate for load in measurement.loads), default=0.0)
    if len(failed) <= tolerated * len(requests):
        return ""
    return f"{len(failed)} of {len(requests)} requests failed, the first with: {failed[0]}"


def _cached_prompts(requests: Sequence[RequestTiming]) -> str:
    cached = [r.cached_tokens for r in requests if r.error is None and r.cached_tokens and not r.shared_prefix]
    if not cached:
        return ""
    return (
        f"{len(cached)} of {len(requests)} requests took {sum(cached)} prompt tokens from a cache, "
        "which the test did not ask for (share_prefix=True does)"
    )


def _no_tokens(requests: Sequence[RequestTiming]) -> str:
    # An engine that counts the end-of-sequence token says 1 of an empty answer: the stream shows that nothing came.
    empty = sum(1 for r in requests if r.error is None and (r.output_tokens == 0 or (r.streamed and not r.chunks)))
    return f"{empty} of {len(requests)} answers had no token" if empty else ""
