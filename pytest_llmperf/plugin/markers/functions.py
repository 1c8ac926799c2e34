"""The markers as functions, for editors and type checkers: ``@memory_budget(peak="16 GiB")``.

Each returns the pytest mark of the same name. The keys are those of the metrics of this package, for latencies at the
usual percentiles. Any other key, such as another percentile or a metric that a project registers, is written with
pytest's own form of the marker: ``@pytest.mark.latency_budget(ttft_p97="1 s")``.
"""

from __future__ import annotations

from typing import Literal, TypedDict, Unpack

import pytest


class _Scope(TypedDict, total=False):
    """Where the limits of a marker apply: everywhere, without these globs."""

    device: str
    engine: str


class MemoryLimits(_Scope, total=False):
    """What ``memory_budget`` takes: sizes such as ``"16 GiB"``, shares such as ``"10 %"``."""

    peak: str
    growth: str
    retained: str
    idle: str
    host_peak: str
    weights: str
    kv_cache: str
    kv_reserved: str
    required: str
    kv_waste: str
    offload: str


class ThroughputLimits(_Scope, total=False):
    """What ``throughput_budget`` takes: rates such as ``"800 tok/s"`` or ``"10 req/s"``."""

    output: str
    total: str
    requests: str
    goodput: str
    per_user: str


class LatencyLimits(_Scope, total=False):
    """What ``latency_budget`` takes: durations such as ``"300 ms"``, at a percentile or at the largest value."""

    ttft_p50: str
    ttft_p75: str
    ttft_p90: str
    ttft_p95: str
    ttft_p99: str
    ttft_p99_9: str
    ttft_max: str
    ttft_answer_p50: str
    ttft_answer_p75: str
    ttft_answer_p90: str
    ttft_answer_p95: str
    ttft_answer_p99: str
    ttft_answer_p99_9: str
    ttft_answer_max: str
    tpot_p50: str
    tpot_p75: str
    tpot_p90: str
    tpot_p95: str
    tpot_p99: str
    tpot_p99_9: str
    tpot_max: str
    itl_p50: str
    itl_p75: str
    itl_p90: str
    itl_p95: str
    itl_p99: str
    itl_p99_9: str
    itl_max: str
    chunk_gap_p50: str
    chunk_gap_p75: str
    chunk_gap_p90: str
    chunk_gap_p95: str
    chunk_gap_p99: str
    chunk_gap_p99_9: str
    chunk_gap_max: str
    e2e_p50: str
    e2e_p75: str
    e2e_p90: str
    e2e_p95: str
    e2e_p99: str
    e2e_p99_9: str
    e2e_max: str
    startup: str


class EnergyLimits(_Scope, total=False):
    """What ``energy_budget`` takes: ``"500 J"``, ``"2 J/tok"``, ``"300 W"``."""

    total: str
    per_output_token: str
    mean_power: str


def memory_budget(**limits: Unpack[MemoryLimits]) -> pytest.MarkDecorator:
    """Upper limits on the engine's memory during the test; ``offload`` is a lower limit."""
    return pytest.mark.memory_budget(**limits)


def throughput_budget(**limits: Unpack[ThroughputLimits]) -> pytest.MarkDecorator:
    """Lower limits on the rates of tokens and requests."""
    return pytest.mark.throughput_budget(**limits)


def latency_budget(**limits: Unpack[LatencyLimits]) -> pytest.MarkDecorator:
    """Upper limits on the times of requests, and on the start of the engine."""
    return pytest.mark.latency_budget(**limits)


def energy_budget(**limits: Unpack[EnergyLimits]) -> pytest.MarkDecorator:
    """Upper limits on what the engine's GPUs consume."""
    return pytest.mark.energy_budget(**limits)


def llm_engines(*names: str) -> pytest.MarkDecorator:
    """Runs the test on the engines of these names or labels only, and skips it on others."""
    return pytest.mark.llm_engines(*names)


def llm_cache(state: Literal["cold", "warm"]) -> pytest.MarkDecorator:
    """Says what the engine's prompt cache holds before each round: nothing, or what was sent earlier (``"warm"``)."""
    return pytest.mark.llm_cache(state)
