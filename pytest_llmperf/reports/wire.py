"""A measurement in its wire form: plain data for the way between processes and for the JSON report.

It is of exact builtin types only, because pytest-xdist refuses subclasses as well. A number that is not finite is None.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.host_pressure import why_starved
from pytest_llmperf.measurement.load import group_lags
from pytest_llmperf.metrics.metric import DistributionMetric, ObjectiveMetric
from pytest_llmperf.metrics.missing import why_raised
from pytest_llmperf.metrics.statistics import Statistic
from pytest_llmperf.metrics.table import METRICS, find
from pytest_llmperf.reports.host.wire import host_to_wire
from pytest_llmperf.reports.load_wire import lag_to_wire, load_to_wire
from pytest_llmperf.reports.result import TIMELINE_POINTS
from pytest_llmperf.reports.sparkline import downsample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.measurement.device_trace import DeviceTrace
    from pytest_llmperf.measurement.engine_info import Device, EngineInfo
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.memory_trace import MemoryTrace
    from pytest_llmperf.measurement.reading import Reading
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes
    from pytest_llmperf.measurement.unread import UnreadCall
    from pytest_llmperf.metrics.metric import Metric

REQUEST_RECORDS = 1000
REQUEST_ERRORS = 20
REQUEST_MODELS = 20
_PERCENTILES = tuple(Statistic(p) for p in (50.0, 90.0, 95.0, 99.0))


def measurement_to_wire(measurement: Measurement, limit_names: Iterable[str] = ()) -> dict[str, Any]:
    """Everything that a report may say of a measurement; ``limit_names`` (``latency.ttft_p75``) are read as well.

    ``readings`` holds, by name, each metric with its value in base units or the reason why it has none. A
    latency has one reading for each statistic (``latency.ttft_p50``, ``_min``, ``_mean``, …), or, without a
    single sample, one under its own name with the reason.
    """
    start_ns = measurement.window.start_ns
    return {
        "window": {"name": str(measurement.window.name), "seconds": _number(measurement.window.seconds)},
        "engine": None if measurement.engine is None else _engine(measurement.engine),
        "readings": _readings(METRICS.values(), measurement, limit_names),
        "requests": {**_requests(measurement, start_ns), "unread": _unread(measurement.unread)},
        "client_lag_s": {str(way): lag_to_wire(lag) for way, lag in group_lags(measurement.judged).items()},
        "loads": [load_to_wire(load, start_ns) for load in measurement.loads],
        "memory": None if measurement.memory is None else _memory(measurement.memory, start_ns),
        "memory_missing": str(measurement.memory_missing),
        "devices": [_device(trace, start_ns) for trace in measurement.devices],
        "devices_missing": str(measurement.devices_missing),
        "engine_stats": {str(name): _number(value) for name, value in measurement.engine_stats.items()},
        "server_clock": None if measurement.server_clock is None else _server_clock(measurement.server_clock),
        "records": [{"name": str(r.name), "value": _number(r.value), "unit": str(r.unit)} for r in measurement.records],
        "windows": _windows(measurement),
        "faults": [str(fault) for fault in measurement.faults],
        "disturbances": [str(text) for text in measurement.disturbances],
        "host": None if measurement.host is None else host_to_wire(measurement.host, why_starved(measurement)),
        "rounds": int(measurement.rounds),
        "looks": _count(measurement.looks),
        "engine_seconds": _number(measurement.engine_seconds),
        "attempt": int(measurement.attempt),
        "label": str(measurement.label),
        "parts": [measurement_to_wire(part, limit_names) for part in measurement.parts],
    }


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _count(value: int | None) -> int | None:
    return None if value is None else int(value)


def _milliseconds(at_ns: int | None, start_ns: int) -> float | None:
    return None if at_ns is None else round((int(at_ns) - int(start_ns)) / 1e6, 3)


def _engine(engine: EngineInfo) -> dict[str, Any]:
    return {
        "name": str(engine.name),
        "version": str(engine.version),
        "model": str(engine.model),
        "label": str(engine.label),
        "devices": [_identity(device) for device in engine.devices],
        "startup_seconds": _number(engine.startup_seconds),
        "warmup_seconds": _number(engine.warmup_seconds),
    }


def _server_clock(clock: ServerClock) -> dict[str, Any]:
    return {"server": _times(clock.server), "client": _times(clock.client), "reason": str(clock.reason)}


def _times(times: StreamTimes | None) -> dict[str, Any] | None:
    if times is None:
        return None
    return {
        "requests": int(times.requests),
        "ttft_mean_s": _number(times.ttft_mean),
        "decode_s": _number(times.decode),
        "gaps": int(times.gaps),
        "gap_mean_s": _number(times.gap_mean),
    }


# -------------------------------------------------------------------------------------------------- readings


def _readings(metrics: Iterable[Metric], measurement: Measurement, limit_names: Iterable[str] = ()) -> dict[str, Any]:
    found: dict[str, Any] = {}
    limited = [find(name) for name in limit_names]
    for metric in metrics:
        extra = [statistic for base, statistic in limited if base is metric and statistic is not None]
        try:
            found.update(_readings_of(metric, extra, measurement))
        except Exception as error:  # a metric may be another package's, and the others are still to be read
            found[metric.name] = _fields(metric, None, "", why_raised(error), None)
    return found


def _readings_of(metric: Metric, extra: Sequence[Statistic], measurement: Measurement) -> dict[str, dict[str, Any]]:
    match metric:
        case DistributionMetric():
            return _distribution(metric, extra, measurement)
        case ObjectiveMetric():
            return {}  # It depends on the limits of the test: the judge reads it, and the verdict carries it.
        case _:
            return {metric.name: _reading(metric, metric.read(measurement))}


def _distribution(
    metric: DistributionMetric, extra: Sequence[Statistic], measurement: Measurement
) -> dict[str, dict[str, Any]]:
    values = metric.distribution(measurement)
    statistics = dict.fromkeys((*_PERCENTILES, *extra))
    if not values.count:
        return {metric.name: _fields(metric, None, "", metric.read(measurement, _PERCENTILES[0]).reason, 0)}
    found = {f"{metric.name}_{s.suffix}": _reading(metric, metric.read(measurement, s)) for s in statistics}
    plain = {"min": values.value_at(1), "mean": values.mean, "max": values.value_at(values.count)}
    for suffix, value in plain.items():
        found[f"{metric.name}_{suffix}"] = _fields(metric, value, metric.formula, "", values.count)
    return found


def _reading(metric: Metric, reading: Reading) -> dict[str, Any]:
    return _fields(metric, reading.value, reading.how, reading.reason, reading.samples)


def _fields(metric: Metric, value: float | None, how: str, reason: str, samples: int | None) -> dict[str, Any]:
    number = _number(value)
    if value is not None and number is None:
        reason = "the value is not a finite number"
    return {
        "value": number,
        "unit": metric.quantity.base,
        "how": str(how),
        "reason": str(reason),
        "samples": _count(samples),
        "formula": metric.formula,
    }


def _windows(measurement: Measurement) -> list[dict[str, Any]]:
    """The windows inside a test; what is known of the whole test only is left out of their readings."""
    metrics = [metric for metric in METRICS.values() if not metric.source.covers_whole_test]
    return [
        {
            "name": str(window.name),
            "start_ms": _milliseconds(window.start_ns, measurement.window.start_ns),
            "seconds": _number(window.seconds),
            "readings": _readings(metrics, measurement.cut(window)),
        }
        for window in measurement.windows
    ]


# --------------------------------------------------------------------------------------- requests and memory


def _requests(measurement: Measurement, start_ns: int) -> dict[str, Any]:
    requests = measurement.requests
    answered = [r for r in requests if r.error is None]
    return {
        "total": len(requests),
        "failed": len(requests) - len(answered),
        "streamed": sum(1 for r in requests if r.streamed),
        "errors": _errors(requests),
        "tokens": {
            "output": _total([r.output_tokens for r in answered]),
            "prompt": _total([r.prompt_tokens for r in answered]),
            "cached": _count_cached(measurement, answered),
        },
        "models": _count_models(answered, measurement.engine),
        "short": _short(answered),
        "records": [_request(r, start_ns) for r in _sample(requests)],
        "requests_left_out": max(0, len(requests) - REQUEST_RECORDS),
    }


def _count_models(answered: Sequence[RequestTiming], engine: EngineInfo | None) -> dict[str, int]:
    """How many answers each model gave, by the name that the server states; a derived one counts as the engine's."""
    known = {engine.asked_as: engine.model} if engine is not None else {}
    return dict(Counter(known.get(r.model, str(r.model)) for r in answered if r.model).most_common(REQUEST_MODELS))


def _short(answered: Sequence[RequestTiming]) -> dict[str, int | None]:
    """How many answers have fewer tokens than were asked for, how many of those were cut off, and the shortest one."""
    short = sorted(
        ((r.output_tokens or 0, r.asked_tokens or 0, r) for r in answered if r.is_short), key=lambda s: s[:2]
    )
    tokens, asked = (short[0][0], short[0][1]) if short else (None, None)
    return {
        "answers": len(short),
        "cut_off": sum(1 for _, _, r in short if r.finish_reason == "length"),
        "tokens": _count(tokens),
        "asked_tokens": _count(asked),
    }


def _unread(calls: Sequence[UnreadCall]) -> list[dict[str, Any]]:
    """The calls that were not read, counted by method and path."""
    counted = Counter((call.what, call.harmless) for call in calls)
    return [
        {"call": str(what), "count": int(count), "harmless": bool(harmless)}
        for (what, harmless), count in sorted(counted.items())
    ]


def _sample(requests: Sequence[RequestTiming]) -> Sequence[RequestTiming]:
    """All of them, or so many that lie evenly apart, the first and the last included."""
    if len(requests) <= REQUEST_RECORDS:
        return requests
    return [requests[place * (len(requests) - 1) // (REQUEST_RECORDS - 1)] for place in range(REQUEST_RECORDS)]


def _errors(requests: Sequence[RequestTiming]) -> dict[str, int]:
    """How often each of the most frequent errors came."""
    counted = Counter(str(r.error) for r in requests if r.error is not None)
    return dict(counted.most_common(REQUEST_ERRORS))


def _count_cached(measurement: Measurement, answered: Sequence[RequestTiming]) -> int | None:
    """As the answers say; where not all of them do, as the engine counts it."""
    found = _total([r.cached_tokens for r in answered])
    return _count(measurement.prompt_cache.cached_tokens) if found is None and answered else found


def _total(counts: Sequence[int | None]) -> int | None:
    """None as soon as one answer is without a count: a sum of the others would read as the whole."""
    known = [int(count) for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _request(request: RequestTiming, start_ns: int) -> dict[str, Any]:
    return {
        "phase": str(request.phase),
        "scheduled_ms": _milliseconds(request.scheduled_ns, start_ns),
        "sent_ms": _milliseconds(request.sent_ns, start_ns),
        "ttft_s": _number(request.ttft),
        "tpot_s": _number(request.tpot),
        "e2e_s": _number(request.e2e),
        "output_tokens": _count(request.output_tokens),
        "asked_tokens": _count(request.asked_tokens),
        "prompt_tokens": _count(request.prompt_tokens),
        "cached_tokens": _count(request.cached_tokens),
        "hidden_tokens": int(request.hidden_tokens),
        "count_fault": str(request.count_fault),
        "chunks": len(request.chunks),
        "finish_reason": None if request.finish_reason is None else str(request.finish_reason),
        "status": _count(request.status),
        "error": None if request.error is None else str(request.error),
        "model": str(request.model) or None,
    }


def _memory(trace: MemoryTrace, start_ns: int) -> dict[str, Any]:
    return {
        "source": str(trace.source),
        "attribution": str(trace.attribution),
        "before_bytes": _count(trace.before_bytes),
        "settled_bytes": _count(trace.settled_bytes),
        "settled_reason": str(trace.settled_reason),
        "peak_bytes": _count(trace.peak_bytes),
        "samples": len(trace.samples),
        "max_gap_s": _number(trace.max_gap_ns / 1e9),
        "fault": str(trace.fault),
        "missing": str(trace.missing),
        "timeline": [
            [_milliseconds(at_ns, start_ns), int(value)] for at_ns, value in downsample(trace.samples, TIMELINE_POINTS)
        ],
    }


def _identity(device: Device) -> dict[str, str]:
    return {"kind": str(device.kind), "name": str(device.name), "uuid": str(device.uuid)}


def _device(trace: DeviceTrace, start_ns: int) -> dict[str, Any]:
    energy, state = trace.energy, trace.conditions
    return {
        "device": _identity(trace.device),
        "memory": _memory(trace.memory, start_ns),
        "energy": {
            "joules": _number(energy.joules),
            "above_idle_joules": _number(energy.above_idle_joules),
            "idle_watts": _number(energy.idle_watts),
            "instant_watts": _number(energy.instant_watts),
            "tick_s": _number(energy.tick_seconds),
            "how": str(energy.how),
            "reason": str(energy.reason),
            "fault": str(energy.fault),
        },
        "conditions": {
            "throttled_s": {str(reason): _number(seconds) for reason, seconds in state.throttled_seconds.items()},
            "temperature_c": _pair(state.temperature_c),
            "memory_temperature_c": _pair(state.memory_temperature_c),
            "sm_clock_mhz": _number(state.sm_clock_mhz),
            "utilization": _number(state.utilization),
            "newcomers": [{"pid": int(p.pid), "name": str(p.name)} for p in state.newcomers],
            "slowdown": str(state.slowdown),
            "unknown": [str(text) for text in state.unknown],
        },
    }


def _pair(pair: tuple[float, float] | None) -> list[float | None] | None:
    return None if pair is None else [_number(value) for value in pair]
