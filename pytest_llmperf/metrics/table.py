"""Every metric, defined once: name, unit, direction, formula, and the function that computes it.

``t0`` is the moment before a request is sent (its scheduled moment in an open loop), ``t1`` the arrival of the first
chunk that carries a token, ``tn`` of the last one, ``N`` the output tokens by the server's own count.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from pytest_llmperf.measurement.distribution import Distribution
from pytest_llmperf.measurement.measurement import Measurement, Reading
from pytest_llmperf.measurement.units import (
    BYTES,
    JOULES,
    JOULES_PER_TOKEN,
    REQUESTS_PER_SECOND,
    SECONDS,
    SHARE,
    TOKENS_PER_SECOND,
    WATTS,
    Quantity,
)
from pytest_llmperf.metrics.latency import values, why_no_samples
from pytest_llmperf.metrics.memory_energy import read_energy, read_memory
from pytest_llmperf.metrics.throughput import read_throughput


@dataclass(frozen=True)
class Metric:
    """One thing that may be limited. ``distribution`` metrics are limited at a percentile (``ttft_p95``)."""

    group: Literal["memory", "throughput", "latency", "energy"]
    key: str
    quantity: Quantity
    better: Literal["lower", "higher"]
    formula: str
    distribution: bool = False

    @property
    def name(self) -> str:
        return f"{self.group}.{self.key}"


def _memory(key: str, formula: str, quantity: Quantity = BYTES, better: Literal["lower", "higher"] = "lower") -> Metric:
    return Metric("memory", key, quantity, better, formula)


def _latency(key: str, formula: str) -> Metric:
    return Metric("latency", key, SECONDS, "lower", formula, distribution=True)


_TABLE = (
    _memory("peak", "largest sample of the engine's memory during the test"),
    _memory("growth", "peak − the level just before the test"),
    _memory("retained", "level after the test has settled − the level just before it"),
    _memory("idle", "level after llm_engine.unload() or sleep()"),
    _memory("host_peak", "largest sample of the engine's host memory during the test"),
    _memory("weights", "bytes of model weights, as the engine states them"),
    _memory("kv_cache", "largest number of KV cache bytes in use, as the engine states them"),
    _memory("kv_reserved", "bytes of KV cache set aside by the engine"),
    _memory("required", "peak − KV cache set aside + largest number of KV cache bytes in use"),
    _memory("kv_waste", "1 − KV bytes that hold tokens ÷ KV bytes set aside for running requests", SHARE),
    _memory("offload", "share of the model that lies on the GPU", SHARE, "higher"),
    Metric("throughput", "output", TOKENS_PER_SECOND, "higher", "ΣN / (first send → last response)"),
    Metric("throughput", "total", TOKENS_PER_SECOND, "higher", "Σ(N + prompt tokens) / (first send → last response)"),
    Metric("throughput", "requests", REQUESTS_PER_SECOND, "higher", "requests / (first send → last response)"),
    Metric(
        "throughput",
        "goodput",
        REQUESTS_PER_SECOND,
        "higher",
        "requests that met every latency limit of the test / (first send → last response)",
    ),
    Metric("throughput", "per_user", TOKENS_PER_SECOND, "higher", "1 / mean TPOT"),
    _latency("ttft", "t1 − t0"),
    _latency("ttft_answer", "arrival of the first token that is not reasoning − t0"),
    _latency("tpot", "(tn − t1) / (tokens after the first chunk)"),
    _latency("itl", "the gap before each token; a chunk of k tokens gives one gap and k − 1 zeros"),
    _latency("chunk_gap", "the gap before each chunk after the first"),
    _latency("e2e", "tn − t0"),
    Metric("latency", "startup", SECONDS, "lower", "start of the engine → ready to answer"),
    Metric("energy", "total", JOULES, "lower", "the energy counters of the engine's devices over the test"),
    Metric("energy", "per_output_token", JOULES_PER_TOKEN, "lower", "energy / ΣN"),
    Metric("energy", "mean_power", WATTS, "lower", "energy / duration"),
)
METRICS = {metric.name: metric for metric in _TABLE}
FROM_SAMPLER = ("memory.peak", "memory.growth", "memory.retained", "memory.host_peak")
GROUPS = ("memory", "throughput", "latency", "energy")


def keys(group: str) -> list[str]:
    """What may be limited in a group, as it is written in a marker; distributions once, with ``_pNN``."""
    return [m.key + ("_pNN" if m.distribution else "") for m in METRICS.values() if m.group == group]


# ---------------------------------------------------------------------------------------------- statistics of a limit


@dataclass(frozen=True)
class Statistic:
    """What of a distribution is limited: a percentile (``p95``), or ``max``, the largest value seen."""

    percentile: float | None

    @property
    def suffix(self) -> str:
        return "max" if self.percentile is None else f"p{self.percentile:.15g}".replace(".", "_")

    @property
    def minimum(self) -> int:
        """How many samples it takes before this statistic means anything."""
        return 1 if self.percentile is None else minimum_samples(self.percentile)

    def of(self, samples: Distribution) -> float:
        """Nearest rank: the smallest sample that at least this share of the samples does not exceed."""
        share = 1.0 if self.percentile is None else self.percentile / 100
        return samples.ranked(max(1, math.ceil(round(share * samples.count, 9))))


_SUFFIX = re.compile(r"(?P<key>[a-z][a-z0-9_]*?)_(?:p(?P<percent>\d+(?:_\d{1,6})?)|(?P<max>max))")


def split_key(key: str) -> tuple[str, Statistic | None]:
    """``"ttft_p95"`` → ``("ttft", p95)``, ``"startup"`` → ``("startup", None)``.

    Raises:
        ValueError: the percentile does not lie between 0 and 100, both excluded.
    """
    match = _SUFFIX.fullmatch(key)
    if match is None:
        return key, None
    if match["max"]:
        return match["key"], Statistic(None)
    percent = float(match["percent"].replace("_", "."))
    if not 0 < percent < 100:
        raise ValueError(
            f"{key!r} asks for percentile {percent:.15g}: it must lie between 0 and 100, both excluded "
            f"({match['key']}_max limits the largest value)"
        )
    return match["key"], Statistic(percent)


@cache
def minimum_samples(percent: float) -> int:
    """Samples needed before a percentile is stated: p50 11, p90 64, p95 130, p99 662.

    The smallest n for which at least two of n samples lie beyond the true percentile with 99 % probability: with fewer
    one cannot tell a tail from an outlier (the early-stopping rule of MLPerf inference).
    """
    share = max(percent, 100 - percent) / 100

    def enough(n: int) -> bool:
        return share**n + n * (1 - share) * share ** (n - 1) <= 0.01

    few, many = 1, 2
    while not enough(many):
        few, many = many, 2 * many
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


# ------------------------------------------------------------------------------------------------ the whole measurement


def read(name: str, statistic: Statistic | None, measurement: Measurement) -> Reading:
    """The value of a metric in a measurement, or the reason why there is none. Goodput is the judge's."""
    metric = METRICS[name]
    if name in measurement.engine_readings:
        return measurement.engine_readings[name]
    if metric.distribution and statistic is not None:
        return _read_distribution(metric, statistic, measurement)
    if metric.group == "throughput":
        return read_throughput(metric.key, metric.formula, measurement)
    if name == "latency.startup":
        return _read_startup(measurement)
    if name in FROM_SAMPLER:
        return read_memory(metric.key, measurement)
    if name == "memory.required":
        return _read_required(measurement)
    if metric.group == "energy":
        return read_energy(metric.key, measurement)
    return Reading.missing(_unmeasured(metric, measurement))


def distribution(key: str, measurement: Measurement) -> Distribution:
    """All values of a latency metric, in seconds."""
    if key not in measurement.distributions:
        measurement.distributions[key] = Distribution(values(request, key) for request in measurement.judged)
    return measurement.distributions[key]


def _read_distribution(metric: Metric, statistic: Statistic, measurement: Measurement) -> Reading:
    found = distribution(metric.key, measurement)
    noun = "token" if metric.key == "itl" else "chunk" if metric.key == "chunk_gap" else "request"
    if not found.count:
        return Reading.missing(why_no_samples(metric.key, measurement.judged))
    answered = [r for r in measurement.judged if r.error is None]
    if metric.key == "ttft_answer":
        unanswered = sum(1 for r in answered if r.chunks) - found.gave
        if unanswered:
            # Leaving out those that took longest would make the others look fast.
            return Reading.missing(f"{unanswered} of {len(answered)} answers never got past their reasoning")
    if found.count < statistic.minimum:
        return Reading.missing(
            f"{statistic.suffix} needs {statistic.minimum} {noun} samples, the test gave {found.count}"
        )
    part = "" if found.gave == len(answered) else f" of {found.gave} of {len(answered)} requests"
    counted = f"{found.count} {noun}{'' if found.count == 1 else 's'}"
    return Reading(statistic.of(found), f"{metric.formula}, {counted}{part}", samples=found.count)


def _read_startup(measurement: Measurement) -> Reading:
    if measurement.engine is None:
        return Reading.missing("the test used no engine")
    if measurement.engine.startup_seconds is None:
        return Reading.missing("the engine was already running: nobody saw it start")
    return Reading(measurement.engine.startup_seconds, METRICS["latency.startup"].formula, samples=1)


def _read_required(measurement: Measurement) -> Reading:
    """Weights + KV in use + the rest: all that the engine holds, less the KV cache that it took and nobody used."""
    names = ("memory.peak", "memory.kv_reserved", "memory.kv_cache")
    parts = [read(name, None, measurement) for name in names]
    for name, part in zip(names, parts, strict=True):
        if part.value is None:
            return Reading.missing(f"{name} is not known: {part.reason}")
    peak, reserved, used = (part.value or 0.0 for part in parts)
    # The peak is that of the fullest device, and each has an equal part of the KV cache.
    unused = (reserved - used) / max(1, len(measurement.devices))
    if unused > peak:
        return Reading.missing("the engine set aside more for its KV cache than it holds: not all of it is resident")
    return Reading(peak - unused, parts[0].how, samples=parts[0].samples)


def _unmeasured(metric: Metric, measurement: Measurement) -> str:
    if measurement.engine is None:
        return "the test used no engine"
    if metric.key == "idle":
        return "the test did not call llm_engine.unload() or sleep()"
    return f"the engine {measurement.engine.name} does not state it"
