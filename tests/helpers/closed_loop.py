"""A test that loaded a server with four users, as it is measured: for the size and the time of reports."""

from __future__ import annotations

import math
from random import Random

from pytest_llmperf.budgets.limit import parse_limits
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.host.state import HostState, ThreadTimes
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window

MIB = 2**20
MS = 1_000_000
START = 5_000_000_000_000
USERS = 4
ENGINE = EngineInfo(
    "llamacpp",
    "b11549",
    "Qwen2.5-0.5B-Instruct-Q4_K_M.gguf",
    (Device("cpu", "AMD EPYC 7B13 64-Core Processor"),),
    2.31847,
    0.413862,
    digest="5f2c8b1d" * 8,
    quantisation="Q4_K_M",
    arguments=(("ctx_size", "8192"), ("parallel", "4"), ("threads", "8")),
)
LIMITS = [
    *parse_limits("latency", {"ttft_p95": "400 ms", "itl_p99": "60 ms"}, "the test"),
    *parse_limits("memory", {"peak": "2 GiB"}, "the test"),
    *parse_limits("throughput", {"output": "20 tok/s"}, "the test"),
]
TIGHT_LIMITS = [*LIMITS[:2], *parse_limits("memory", {"peak": "1 GiB"}, "the test"), *LIMITS[3:]]
"""The same, of which the memory breaks one."""

_WORDY = 2000
"""Up to so many requests, answers are as long as real ones; of more they have three tokens, for want of memory."""


def measure_closed_loop(requests: int) -> Measurement:
    """What a test measures that sends so many requests, the next one of a user when the last has been answered."""
    random = Random(7)
    free = [START] * USERS
    found = []
    for number in range(requests):
        tokens = random.randint(64, 128) if requests <= _WORDY else 3
        found.append(stream_as_measured(random, free[number % USERS], tokens))
        free[number % USERS] = found[-1].end_ns + MS // 2
    end = max(free)
    trace = _trace_memory(end)
    source = "resident memory of the engine's processes, every 10 ms"
    return Measurement(
        Window(START, end),
        ENGINE,
        tuple(sorted(found, key=lambda request: request.sent_ns)),
        MemoryTrace(trace, source, trace[0][1], trace[-1][1], max_gap_ns=11 * MS),
        engine_readings={
            "memory.kv_reserved": Reading(96.0 * MIB, "8192 cells × 12288 bytes, from the log"),
            "memory.kv_cache": Reading(31.4 * MIB, "cells in use × 12288 bytes", samples=412),
        },
        engine_stats={"generation_tokens": 19221.0, "prompt_tokens": 60000.0},
        host=_describe_host((end - START) / 1e9),
    )


def stream_as_measured(random: Random, sent_ns: int, tokens: int) -> RequestTiming:
    """A streamed answer whose times scatter as those of a server on a busy host do."""
    at = sent_ns + round(120 * MS * math.exp(random.gauss(0, 0.25)))
    chunks = [Chunk(at)]
    for _ in range(tokens - 1):
        stall = 30 * MS if random.random() < 0.005 else 0
        at += round(18 * MS * math.exp(random.gauss(0, 0.06))) + stall
        chunks.append(Chunk(at))
    return RequestTiming(
        sent_ns,
        at + MS // 3,
        tuple(chunks),
        tokens,
        300,
        0,
        status=200,
        finish_reason="length",
        asked_tokens=tokens,
        model="model",
    )


def _trace_memory(end_ns: int) -> tuple[tuple[int, int], ...]:
    """A level that grows by fits and starts; at most 20,000 samples."""
    random = Random(3)
    step = max(10 * MS, (end_ns - START) // 20_000)
    level, samples = 1100 * MIB, []
    for at in range(START - 10 * MS, end_ns + 10 * MS, step):
        level += 4096 * random.choice((0, 0, 0, 0, 1, 5)) * (level < 1300 * MIB)
        samples.append((at, level))
    return tuple(samples)


def _describe_host(seconds: float) -> HostState:
    return HostState(
        seconds,
        ThreadTimes(351.2271, 1.82),
        16,
        8.7123,
        0.0013,
        {"cpu": 0.0412, "memory": 0.0, "io": 0.0007},
        {"cpu": 0.0391, "memory": 0.0, "io": 0.0},
        0.0,
        0.0,
        0,
        1.0,
        0,
        unknown={"on_battery": "the host names no battery"},
    )
