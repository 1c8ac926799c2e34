"""The evidence beside the verdicts of a test, as labelled sentences: faults, devices, memory, requests, engine."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import (
    BYTES,
    JOULES,
    SECONDS,
    SHARE,
    TOKENS_PER_SECOND,
    WATTS,
    format_apart,
    format_value,
)
from pytest_llmperf.measurement.unread import format_unread
from pytest_llmperf.reports.curve_evidence import collect_curve_evidence
from pytest_llmperf.reports.host.sentences import describe_host
from pytest_llmperf.reports.load_evidence import collect_load_evidence, describe_client_lag
from pytest_llmperf.reports.notes import describe_cancelled, describe_other_models, describe_short
from pytest_llmperf.reports.result import find_variant
from pytest_llmperf.reports.sparkline import ASCII_BLOCKS, BLOCKS, draw_timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SPARKLINE_WIDTH = 32
_ERRORS_SHOWN = 3
_INPUT_KINDS = (("embed", "embeddings"), ("rank", "ranks or scores"))
_STAT_UNITS = {"seconds": SECONDS, "bytes": BYTES, "share": SHARE, "rate": TOKENS_PER_SECOND}


def collect_evidence(measurement: Mapping[str, Any], *, unicode: bool = True) -> list[tuple[str, str]]:
    """Pairs of a label and a sentence about a measurement in its wire form; empty for an empty one."""
    if not measurement:
        return []
    found = [("fault", fault) for fault in measurement["faults"]]
    found += [("meanwhile", text) for text in measurement["disturbances"]]
    blocks = BLOCKS if unicode else ASCII_BLOCKS
    found += [pair for device in measurement["devices"] for pair in _device(device, blocks)]
    if measurement["devices_missing"]:
        found.append(("device", f"not measured: {measurement['devices_missing']}"))
    memory, whose = measurement["memory"], "host" if measurement["devices"] else "memory"
    if memory is not None:
        found += [(whose, text) for text in _memory_lines(memory, blocks)]
    elif measurement["memory_missing"]:
        found.append((whose, f"not measured: {measurement['memory_missing']}"))
    found += [("requests", text) for text in _requests(measurement["requests"])]
    found += [("cancelled", text) for text in describe_cancelled(measurement)]
    found += [("adapter", _adapter(one)) for part in measurement["parts"] or [measurement] for one in part["adapters"]]
    found += [("model", text) for text in describe_other_models(measurement)]
    found += [("client", text) for text in describe_client_lag(measurement["client_lag_s"])]
    found += [pair for load in measurement["loads"] for pair in collect_load_evidence(load)]
    found += collect_curve_evidence(measurement)
    if measurement["engine_stats"]:
        found.append(("inside", ", ".join(_stat(*stat) for stat in measurement["engine_stats"].items())))
    found += [("clocks", text) for text in _clocks(measurement)]
    if measurement["host"] is not None:
        found += [("system", text) for text in describe_host(measurement["host"])]
    found += [("recorded", _record(record)) for record in measurement["records"]]
    found += [("window", f"{w['name']}, {_seconds(w['seconds'])}") for w in measurement["windows"]]
    found += [("engine", text) for text in _engines(measurement)]
    found.append(("measured", _describe_time(measurement)))
    return found


def _engines(measurement: Mapping[str, Any]) -> Iterator[str]:
    """The engine, or each of several with its own requests and memory."""
    engine = measurement["engine"]
    if not measurement["parts"]:
        yield format_engine(engine) if engine else "none: the test used no engine"
    for part in measurement["parts"]:
        own = [next(_requests(part["requests"]))]
        peak = part["readings"].get("memory.peak", {}).get("value")
        own += [f"peak {format_value(peak, BYTES)}"] if peak is not None else []
        own += [_stat(*stat) for stat in part["engine_stats"].items()]
        yield "; ".join([format_engine(part["engine"]), *own])


def format_engine(engine: Mapping[str, Any]) -> str:
    """``vllm 0.11.0, Qwen/Qwen3-0.6B, on NVIDIA L4, started in 42.1 s, warmed up in 1.30 s``; a label comes first."""
    devices = " + ".join(
        f"{count} × {name}" if count > 1 else name
        for name, count in sorted(Counter(d["name"] for d in engine["devices"]).items())
    )
    startup, warmup = engine["startup_seconds"], engine["warmup_seconds"]
    variant = find_variant(engine)
    parts = [
        f"{f'{variant}: ' if variant else ''}{engine['name']} {engine['version']}".strip(),
        engine["model"],
        f"on {devices or 'unknown device'}",
        "already running" if startup is None else f"started in {_seconds(startup)}",
        "" if warmup is None else f"warmed up in {_seconds(warmup)}",
    ]
    return ", ".join(part for part in parts if part)


def _device(device: Mapping[str, Any], blocks: str) -> Iterator[tuple[str, str]]:
    name = device["device"]["name"]
    yield "device", f"{name} {device['device']['uuid']}; {_conditions(device['conditions'])}"
    yield from (("memory", text) for text in _memory_lines(device["memory"], blocks))
    yield "energy", _energy(device["energy"])


def _conditions(state: Mapping[str, Any]) -> str:
    parts = []
    if state["temperature_c"] is not None:
        before, after = state["temperature_c"]
        parts.append(f"{before:.0f} °C before, {after:.0f} °C after")
    if state["sm_clock_mhz"] is not None:
        parts.append(f"SM clock {state['sm_clock_mhz']:.0f} MHz")
    if state["utilization"] is not None:
        parts.append(f"kernels ran {state['utilization']:.0%} of the time".replace("%", " %"))
    throttled = {reason: seconds for reason, seconds in state["throttled_s"].items() if seconds}
    slowed = ", ".join(f"{reason} {_seconds(seconds)}" for reason, seconds in throttled.items())
    if state["throttled_s"]:
        parts.append(f"slowed down: {slowed}" if slowed else "not slowed down")
    elif parts:
        parts.append("whether it was slowed down is not told")
    parts += [f"newcomer {p['pid']} ({p['name'] or 'not visible from here'})" for p in state["newcomers"]]
    return ", ".join(parts) or "its state was not read"


def _energy(energy: Mapping[str, Any]) -> str:
    if energy["joules"] is None:
        return f"not measured: {energy['reason']}"
    above = energy["above_idle_joules"]
    parts = [format_value(energy["joules"], JOULES)]
    if above is not None:
        parts.append(
            f"{format_value(above, JOULES)} above the {format_value(energy['idle_watts'], WATTS)} of the idle device"
        )
    if energy["instant_watts"] is not None:
        parts.append(f"mean instant power {format_value(energy['instant_watts'], WATTS)}")
    parts += [energy["how"]]
    parts += [f"not to be trusted: {energy['fault']}"] if energy["fault"] else []
    return "; ".join(parts)


def _memory_lines(memory: Mapping[str, Any], blocks: str) -> Iterator[str]:
    yield _memory(memory, blocks)
    if memory["missing"]:
        yield f"not measured: {memory['missing']}"
    if memory["fault"]:
        yield f"not to be trusted: {memory['fault']}"


def _memory(memory: Mapping[str, Any], blocks: str) -> str:
    timeline = memory["timeline"]
    if not timeline:
        return f"no samples ({memory['source']})"
    values = [value for _, value in timeline]
    low, high = min(values), max(values)
    span = f"over {_seconds((timeline[-1][0] - timeline[0][0]) / 1e3)}"
    level = (
        f"level at {format_value(low, BYTES)}"
        if low == high
        else f"from {format_apart(low, high, BYTES)} to {format_apart(high, low, BYTES)}"
    )
    parts = [f"{draw_timeline(timeline, _SPARKLINE_WIDTH, blocks)} {level} {span}"]
    before, settled = memory["before_bytes"], memory["settled_bytes"]
    if before is not None:
        parts.append(f"{format_value(before, BYTES)} before")
    if settled is not None:
        parts.append(f"{_describe_settled(before, settled)} after it settled")
    elif memory["settled_reason"]:
        parts.append(f"not settled: {memory['settled_reason']}")
    parts.append(f"{memory['samples']} samples, at most {_seconds(memory['max_gap_s'])} apart")
    return "; ".join(parts)


def _describe_settled(before: int | None, settled: int) -> str:
    if before is None:
        return format_value(settled, BYTES)
    if settled == before:
        return "the same"
    return f"{format_value(abs(settled - before), BYTES)} {'more' if settled > before else 'less'}"


def _requests(requests: Mapping[str, Any]) -> Iterator[str]:
    unread = {call["call"]: call["count"] for call in requests["unread"]}
    inputs = _inputs(requests.get("inputs", {}))
    if not requests["total"]:
        yield from inputs or [format_unread(unread) or "none through llm_client"]
        yield from [f"beside them, {format_unread(unread)}"] if inputs and unread else []
        return
    known = [f"{count} {kind}" for kind, count in requests["tokens"].items() if count is not None]
    tokens = f"tokens: {', '.join(known)}" if known else "tokens not counted by the server"
    streamed = "all" if requests["streamed"] == requests["total"] else requests["streamed"]
    yield f"{requests['total']} sent, {requests['failed']} failed, {streamed} streamed; {tokens}"
    errors = requests["errors"]
    for error, count in list(errors.items())[:_ERRORS_SHOWN]:
        yield f"{count} failed: {error}"
    if len(errors) > _ERRORS_SHOWN:
        yield f"and {len(errors) - _ERRORS_SHOWN} other errors"
    if short := describe_short(requests["short"]):
        yield short
    yield from (f"beside them, {text}" for text in inputs)
    if unread:
        yield f"beside them, {format_unread(unread)}"


def _inputs(inputs: Mapping[str, Any]) -> list[str]:
    """The requests for embeddings and ranks, if there were any; {} of a report without them."""
    kinds = [f"{inputs[key]} for {name}" for key, name in _INPUT_KINDS if inputs.get(key)]
    if not kinds:
        return []
    tokens = "not counted by the server" if inputs.get("tokens") is None else inputs["tokens"]
    counted = f"{' and '.join(kinds)}, {inputs['failed']} failed; texts: {inputs['texts']}, tokens: {tokens}"
    return [
        counted,
        *(f"{count} failed: {error}" for error, count in list(inputs.get("errors", {}).items())[:_ERRORS_SHOWN]),
    ]


def _adapter(result: Mapping[str, Any]) -> str:
    """``lora-a: 30 requests, 0 failed, 240 tokens; ttft 20.1 ms (p50), 31.0 ms (p95); output 80.1 tok/s``."""
    tokens = result["output_tokens"]
    counted = "tokens not counted" if tokens is None else f"{tokens} tokens"
    parts = [f"{result['requests']} requests, {result['failed']} failed, {counted}"]
    readings = result["readings"]
    for key in ("ttft", "tpot", "e2e"):
        values = {at: readings.get(f"latency.{key}_{at}") for at in ("p50", "p95", "max")}
        known = [f"{format_value(value, SECONDS)} ({at})" for at, value in values.items() if value is not None]
        parts += [f"{key} {', '.join(known)}"] if known else []
    output = readings.get("throughput.output")
    parts += [] if output is None else [f"output {format_value(output, TOKENS_PER_SECOND)}"]
    return f"{result.get('adapter') or 'the model itself'}: {'; '.join(parts)}"


def _clocks(measurement: Mapping[str, Any]) -> Iterator[str]:
    """The mean times of the requests by the server's own clock and by the client's, for each engine that has one."""
    for part in measurement["parts"] or [measurement]:
        clock = part["server_clock"]
        if clock is None:
            continue
        whose = f"{part['label']}: " if part["label"] else ""
        if clock["reason"]:
            yield f"{whose}not compared with the server's own: {clock['reason']}"
        else:
            server, client = _mean_times(clock["server"]), _mean_times(clock["client"])
            yield f"{whose}the server's own: {server}; the client's: {client}"


def _mean_times(times: Mapping[str, Any]) -> str:
    decode = None if times["decode_s"] is None or not times["requests"] else times["decode_s"] / times["requests"]
    return f"first token after {_seconds(times['ttft_mean_s'])}, then {_seconds(decode)} to the last"


def _stat(name: str, value: float | None) -> str:
    """``("queue_mean_seconds", 0.012)`` → ``queue mean 12.0 ms``; a name without a unit at its end is a count."""
    words, _, unit = name.rpartition("_")
    quantity = _STAT_UNITS.get(unit)
    if quantity is None or value is None:
        return f"{name.replace('_', ' ')} {'unknown' if value is None else f'{value:g}'}"
    return f"{words.replace('_', ' ')} {format_value(value, quantity)}"


def _describe_time(measurement: Mapping[str, Any]) -> str:
    rounds, attempt = measurement["rounds"], measurement["attempt"]
    parts = [f"over {_seconds(measurement['window']['seconds'])}"]
    parts += [f"{rounds} rounds"] if rounds > 1 else []
    parts += [f"attempt {attempt}"] if attempt > 1 else []
    return ", ".join(parts)


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else format_value(value, SECONDS)


def _record(record: Mapping[str, Any]) -> str:
    number = "not a finite number" if record["value"] is None else f"{record['value']:.6g}"
    unit = "" if record["unit"] == "1" else record["unit"]
    return f"{record['name']} {number} {unit}".rstrip()
