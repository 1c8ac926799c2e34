"""How large a test is in the JSON report, and how long a test of very many requests takes to be written."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.limit import Limit, parse_limits
from pytest_llmperf.measurement.host.state import HostState, ThreadTimes
from pytest_llmperf.measurement.load import ClientHealth, Lag, Load, Spread
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import METRICS
from pytest_llmperf.reports import json_report
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.wire.measurement import measurement_to_wire
from pytest_llmperf.traffic.load.schedule import ScheduleOptions, parse_schedule
from pytest_llmperf.traffic.workloads.workload import workload
from tests.helpers.closed_loop import ENGINE, MIB, MS, START, USERS, stream_as_measured

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

pytestmark = pytest.mark.once

LIMITS = [
    *parse_limits("latency", {"ttft_p95": "400 ms", "itl_p99": "60 ms"}, "the test"),
    *parse_limits("memory", {"peak": "2 GiB"}, "the test"),
    *parse_limits("throughput", {"output": "150 tok/s"}, "the test"),
]


def run_closed_loop(requests: int, seed: int = 7) -> list[RequestTiming]:
    random = Random(seed)
    free = [START] * USERS
    found = []
    for number in range(requests):
        found.append(stream_as_measured(random, free[number % USERS], random.randint(64, 128)))
        free[number % USERS] = found[-1].end_ns + MS // 2
    return sorted(found, key=lambda request: request.sent_ns)


def measure(requests: list[RequestTiming]) -> Measurement:
    asked = workload(prompt_tokens="128-512", output_tokens="64-128", requests=len(requests))
    schedule = parse_schedule(asked, ScheduleOptions(concurrency=USERS))
    end = max(request.end_ns for request in requests)
    random = Random(3)
    level, samples = 1100 * MIB, []
    for at in range(START - 10 * MS, end + 10 * MS, 10 * MS):
        level += 4096 * random.choice((0, 0, 0, 0, 1, 5)) * (level < 1300 * MIB)
        samples.append((at, level))
    load = Load(
        f"{asked}; {schedule}",
        Window(START, end, "steady"),
        ClientHealth("uvloop", Lag(4.1e-5, 9.3e-5, 4.1e-4, 2.2e-3), 0.0617, None, USERS),
        prompt_asked=Spread(128, 318.25, 512, 200),
        prompt_came=Spread(128, 318.25, 512, 200),
        output_asked=Spread(64, 96.105, 128, 200),
        output_came=Spread(64, 96.105, 128, 200),
        full_answers=200,
        plan={**asked.describe(), **schedule.describe()},
    )
    host = HostState(
        (end - START) / 1e9,
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
    source = "resident memory of the engine's processes, every 10 ms"
    return Measurement(
        Window(START, end),
        ENGINE,
        tuple(requests),
        MemoryTrace(tuple(samples), source, samples[0][1], samples[-1][1], max_gap_ns=11 * MS),
        engine_readings={
            "memory.kv_reserved": Reading(96.0 * MIB, "8192 cells × 12288 bytes, from the log"),
            "memory.kv_cache": Reading(31.4 * MIB, "cells in use × 12288 bytes", samples=412),
        },
        engine_stats={"generation_tokens": 19221.0, "prompt_tokens": 60000.0},
        host=host,
        loads=(load,),
    )


def judge_test(measurement: Measurement, limits: list[Limit], nodeid: str = "test_chat_is_fast") -> TestResult:
    verdicts = judge(limits, measurement)
    wire = measurement_to_wire(measurement, [verdict.name for verdict in verdicts])
    return TestResult(f"tests/test_chat.py::{nodeid}", tuple(verdicts), wire, "passed", 91.27316)


def write(*results: TestResult) -> dict[str, Any]:
    """The report as its file holds it, without the records of single requests."""
    report: dict[str, Any] = json.loads(json_report.render(results, {}))
    for test in report["tests"]:
        del test["measurement"]["requests"]["records"]
    return report


def measure_size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def test_a_test_of_two_hundred_requests_and_four_budgets_takes_less_than_four_kilobytes() -> None:
    [test] = write(judge_test(measure(run_closed_loop(200)), LIMITS))["tests"]
    assert len(test["verdicts"]) == 4
    sizes = {key: measure_size(value) for key, value in test["measurement"].items()}
    assert measure_size(test) < 4096, sizes


def test_each_further_test_of_a_run_makes_the_whole_file_larger_by_less_than_four_kilobytes() -> None:
    results = [
        judge_test(measure(run_closed_loop(200, seed)), LIMITS, f"test_number_{seed}_of_a_long_suite")
        for seed in range(6)
    ]
    few, many = write(*results[:2]), write(*results)
    assert (measure_size(many) - measure_size(few)) / 4 < 4096


def test_the_size_does_not_grow_with_the_requests() -> None:
    few, many = (write(judge_test(measure(run_closed_loop(requests)), LIMITS)) for requests in (200, 2000))
    assert measure_size(many["tests"]) < 1.25 * measure_size(few["tests"])


def test_rounding_changes_no_verdict() -> None:
    """A limit that differs from the value in its last digit is judged by what is written as it was before."""
    measured = measure(run_closed_loop(20))
    value = METRICS["throughput.output"].read(measured).value
    assert value is not None
    for limit, status in ((value, "PASS"), (math.nextafter(value, math.inf), "FAIL")):
        exact = replace(LIMITS[-1], value=limit)
        [test] = write(judge_test(measured, [exact]))["tests"]
        assert (test["measurement"]["readings"]["throughput.output"] >= limit) == (status == "PASS")
