"""The markers as functions, for editors and type checkers: ``@memory_budget(peak="16 GiB")``.

Each returns the pytest mark of the same name. The keys are those of the metrics of this package, for latencies at the
usual percentiles. Any other key, such as another percentile or a metric that a project registers, is written with
pytest's own form of the marker: ``@pytest.mark.latency_budget(ttft_p97="1 s")``.
"""

from __future__ import annotations

from typing import Literal, TypedDict, Unpack

import pytest

LimitText = str | tuple[str, str]
"""A limit such as ``"300 ms"``, one against the baseline such as ``"+10 %"``, or both: ``("300 ms", "+10 %")``."""


class _Scope(TypedDict, total=False):
    """Where the limits of a marker apply: everywhere, without these globs."""

    device: str
    engine: str


class MemoryLimits(_Scope, total=False):
    """What ``memory_budget`` takes: sizes such as ``"16 GiB"``, shares such as ``"10 %"``."""

    peak: LimitText
    growth: LimitText
    retained: LimitText
    idle: LimitText
    unloaded: LimitText
    host_peak: LimitText
    weights: LimitText
    kv_cache: LimitText
    kv_reserved: LimitText
    required: LimitText
    kv_waste: LimitText
    offload: LimitText


class ThroughputLimits(_Scope, total=False):
    """What ``throughput_budget`` takes: rates such as ``"800 tok/s"`` or ``"9 inputs/s"``, or shares: ``"40 %"``."""

    output: LimitText
    total: LimitText
    requests: LimitText
    goodput: LimitText
    sustained: LimitText
    per_user: LimitText
    inputs: LimitText
    input_tokens: LimitText
    prefix_hit_rate: LimitText
    acceptance_rate: LimitText
    acceptance_length: LimitText


class LatencyLimits(_Scope, total=False):
    """What ``latency_budget`` takes: durations such as ``"300 ms"``, at a percentile or at the largest value."""

    ttft_p50: LimitText
    ttft_p75: LimitText
    ttft_p90: LimitText
    ttft_p95: LimitText
    ttft_p99: LimitText
    ttft_p99_9: LimitText
    ttft_max: LimitText
    ttft_answer_p50: LimitText
    ttft_answer_p75: LimitText
    ttft_answer_p90: LimitText
    ttft_answer_p95: LimitText
    ttft_answer_p99: LimitText
    ttft_answer_p99_9: LimitText
    ttft_answer_max: LimitText
    tpot_p50: LimitText
    tpot_p75: LimitText
    tpot_p90: LimitText
    tpot_p95: LimitText
    tpot_p99: LimitText
    tpot_p99_9: LimitText
    tpot_max: LimitText
    itl_p50: LimitText
    itl_p75: LimitText
    itl_p90: LimitText
    itl_p95: LimitText
    itl_p99: LimitText
    itl_p99_9: LimitText
    itl_max: LimitText
    chunk_gap_p50: LimitText
    chunk_gap_p75: LimitText
    chunk_gap_p90: LimitText
    chunk_gap_p95: LimitText
    chunk_gap_p99: LimitText
    chunk_gap_p99_9: LimitText
    chunk_gap_max: LimitText
    e2e_p50: LimitText
    e2e_p75: LimitText
    e2e_p90: LimitText
    e2e_p95: LimitText
    e2e_p99: LimitText
    e2e_p99_9: LimitText
    e2e_max: LimitText
    embed_p50: LimitText
    embed_p75: LimitText
    embed_p90: LimitText
    embed_p95: LimitText
    embed_p99: LimitText
    embed_p99_9: LimitText
    embed_max: LimitText
    rank_p50: LimitText
    rank_p75: LimitText
    rank_p90: LimitText
    rank_p95: LimitText
    rank_p99: LimitText
    rank_p99_9: LimitText
    rank_max: LimitText
    cancel: LimitText
    startup: LimitText


class EnergyLimits(_Scope, total=False):
    """What ``energy_budget`` takes: ``"500 J"``, ``"2 J/tok"``, ``"300 W"``."""

    total: LimitText
    per_output_token: LimitText
    mean_power: LimitText


class CostLimits(_Scope, total=False):
    """What ``cost_budget`` takes: amounts in the currency of the project's prices, ``"0.40 EUR"``."""

    per_million_output: LimitText
    total: LimitText
    idle_month: LimitText


def quality_budget(
    *,
    agreement: LimitText | None = None,
    kl: LimitText | None = None,
    against: str | None = None,
    text: str | None = None,
    device: str | None = None,
    engine: str | None = None,
    **scores: LimitText,
) -> pytest.MarkDecorator:
    """Limits on how much an engine's next tokens differ from a reference, and on scores that the test records itself.

    Args:
        agreement: lower limit on the share of positions with the same most likely next token, such as ``"95 %"``.
        kl: upper limit on the mean Kullback-Leibler divergence from the reference, such as ``"0.05 nat"``.
        against: the label of an engine of the run, or the path of a reference file; without it the newest baseline in
            the store.
        text: the path of a text of your own; without it the one of this package.
        device, engine: globs that say where the limits apply.
        scores: lower limits on what ``llm_perf.quality(name, value)`` records, such as ``accuracy="0.8"``; an upper one
            is written ``"<= 0.2"``.
    """
    named = {"agreement": agreement, "kl": kl, "against": against, "text": text, "device": device, "engine": engine}
    return pytest.mark.quality_budget(**{key: value for key, value in named.items() if value is not None}, **scores)


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


def cost_budget(**limits: Unpack[CostLimits]) -> pytest.MarkDecorator:
    """Upper limits on what the engine's devices cost, at the prices that ``llmperf.toml`` states."""
    return pytest.mark.cost_budget(**limits)


def llm_engines(*names: str) -> pytest.MarkDecorator:
    """Runs the test on the engines of these names or labels only, and skips it on others."""
    return pytest.mark.llm_engines(*names)


def llm_cache(state: Literal["cold", "warm"]) -> pytest.MarkDecorator:
    """Says what the engine's prompt cache holds before each round: nothing, or what was sent earlier (``"warm"``)."""
    return pytest.mark.llm_cache(state)
