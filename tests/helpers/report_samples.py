"""One realistic measurement and its verdicts, for the tests of the reports."""

from __future__ import annotations

from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.measurement.measurement import Measurement, RecordedValue
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from tests.helpers.verdicts import verdict

GIB = 2**30
MS = 1_000_000
RECORDS = (RecordedValue("accuracy", 0.93, "1"),)
START = 5_000_000_000_000
SOURCE = "resident memory of the engine's processes, every 10 ms"
ENGINE = EngineInfo("vllm", "0.11.0", "Qwen/Qwen3-0.6B", (Device("cpu", "AMD EPYC 7B13"),), 42.1)


def request(at_ms: int, tokens: int = 20, error: str | None = None) -> RequestTiming:
    """Sent at ``at_ms`` after the start; the first token comes 100 ms later, then one every 10 ms."""
    sent = START + at_ms * MS
    chunks = tuple(Chunk(sent + (100 + 10 * i) * MS) for i in range(tokens))
    if error is not None:
        return RequestTiming(sent, sent + 5 * MS, status=500, error=error)
    return RequestTiming(sent, chunks[-1].at_ns + MS, chunks, tokens, 7, 0, status=200, finish_reason="length")


def trace(count: int = 400, peak: int = int(17.3 * GIB)) -> MemoryTrace:
    """14.2 GiB throughout, but for one sample at the peak."""
    low = int(14.2 * GIB)
    samples = [(START + (i - 1) * 10 * MS, low) for i in range(count)]
    samples[count // 2] = (samples[count // 2][0], peak)
    return MemoryTrace(tuple(samples), SOURCE, low, low + 2**20, max_gap_ns=10 * MS)


def measurement() -> Measurement:
    return Measurement(
        window=Window(START, START + 4000 * MS),
        engine=ENGINE,
        requests=tuple(request(300 * i) for i in range(12)),
        memory=trace(),
        engine_readings={"memory.kv_cache": Reading(float(GIB), "blocks in use × block size", samples=40)},
        windows=(Window(START, START + 1000 * MS, "prefill"),),
    )


PASSING = verdict(
    Status.PASS,
    "throughput.output",
    "throughput.output",
    50.0,
    "50 tok/s",
    66.7,
    "ΣN / (first send → last response)",
)
BROKEN = verdict(Status.FAIL, "memory.peak", "memory.peak", 16.0 * GIB, "16 GiB", 17.3 * GIB, SOURCE)
UNMEASURED = verdict(
    Status.NOT_MEASURED,
    "latency.ttft_p95",
    "latency.ttft",
    0.3,
    "300 ms",
    reason="p95 needs 130 requests, the test gave 12",
)
VERDICTS = (PASSING, BROKEN, UNMEASURED)


def result(
    nodeid: str = "tests/test_chat.py::test_answer",
    verdicts: tuple[Verdict, ...] = VERDICTS,
    measured: Measurement | None = None,
    outcome: str = "failed",
) -> TestResult:
    names = [verdict.name for verdict in verdicts if verdict.name]
    return TestResult(nodeid, verdicts, measurement_to_wire(measured or measurement(), names), outcome, 4.1)
