"""The section below a failed test: reports/terminal/failure_table.py, reports/evidence.py and the numbers they show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.engine_info import Device
from pytest_llmperf.measurement.memory_trace import MemoryTrace
from pytest_llmperf.measurement.units import BYTES, SECONDS, as_written, format_apart, format_change
from pytest_llmperf.reports.result import TestResult
from pytest_llmperf.reports.terminal.failure_table import render_failure
from pytest_llmperf.reports.text import measure_width
from pytest_llmperf.reports.verdicts import sort_worst_first
from tests.helpers.report_samples import (
    BROKEN,
    ENGINE,
    GIB,
    PASSING,
    RECORDS,
    SOURCE,
    START,
    UNMEASURED,
    measurement,
    request,
    result,
    trace,
)
from tests.helpers.verdicts import verdict as hand_made


def flat(text: str) -> str:
    """The text as if it had been printed on one endless line."""
    return " ".join(text.split())


def budget_rows(text: str) -> list[list[str]]:
    return [line.split("  ") for line in text.split("\n\n")[0].splitlines()[2:]]


def test_the_worst_budget_comes_first() -> None:
    names = [row[0] for row in budget_rows(render_failure(result()))]
    assert names == ["memory.peak", "latency.ttft_p95", "throughput.output"]


def test_each_row_has_limit_value_margin_and_verdict() -> None:
    row = flat(render_failure(result()).splitlines()[2])
    assert row == "memory.peak 17.3 GiB ≤ 16 GiB -8.1 % FAIL"


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        (Interval(14.0, 20.0, 8, 2.6, "round"), "; interval from 8 rounds, worth 3 independent"),
        (Interval(14.0, 20.0, 1, 1.0, "round"), "; interval from 1 round"),
        (Interval(16.0, 18.0), ""),
    ],
)
def test_an_interval_says_what_it_comes_from(interval: Interval, told: str) -> None:
    text = flat(render_failure(replace(result(), verdicts=(replace(BROKEN, interval=interval),))))
    assert (told in text) if told else ("interval from" not in text)


def test_the_columns_line_up() -> None:
    head, rule, *rows = render_failure(result()).split("\n\n")[0].splitlines()
    assert len({row.index(status) for row, status in zip(rows, ("FAIL", "NOT MEASURED", "PASS"), strict=True)}) == 1
    assert head.index("verdict") == rows[0].index("FAIL")
    assert set(rule) == {"─"}


def test_what_did_not_pass_says_why() -> None:
    text = flat(render_failure(result()))
    assert "why memory.peak 17.3 GiB > 16 GiB (margin -8.1 %)" in text
    assert "p95 needs 130 requests, the test gave 12" in text


def test_every_number_says_how_it_came_about_and_from_how_many_samples() -> None:
    text = flat(render_failure(result()))
    assert f"memory.peak: largest sample of the engine's memory during the test; {SOURCE}; 400 samples" in text
    assert "throughput.output: ΣN / (first send → last response); 12 samples" in text


def test_a_formula_that_names_its_samples_is_not_repeated() -> None:
    tpot = replace(
        PASSING,
        name="latency.tpot_p50",
        metric="latency.tpot",
        how="(tn − t1) / (tokens after the first chunk), 12 requests",
    )
    text = flat(render_failure(result(verdicts=(tpot,))))
    assert text.count("(tn − t1)") == 1
    assert "latency.tpot_p50: (tn − t1) / (tokens after the first chunk), 12 requests" in text


def test_memory_is_drawn_with_its_extremes_and_its_duration() -> None:
    line = flat(render_failure(result(), width=200))
    assert "█▁" in line
    assert "from 14.2 GiB to 17.3 GiB over 3.99 s; 14.2 GiB before; 1.00 MiB more after it settled; 400 samples" in line


def test_level_memory_is_not_drawn_as_a_rise() -> None:
    level = replace(measurement(), memory=MemoryTrace(((START, GIB), (START + 10**9, GIB)), SOURCE))
    assert "▁▁ level at 1.00 GiB over 1.00 s" in render_failure(result(measured=level))


def test_a_rise_too_small_for_three_digits_is_still_told_apart() -> None:
    rise = replace(measurement(), memory=MemoryTrace(((START, 16 * GIB), (START + 10**9, 16 * GIB + 2**22)), SOURCE))
    assert "from 16.000 GiB to 16.004 GiB" in flat(render_failure(result(measured=rise)))


def test_engine_requests_faults_and_records_are_named() -> None:
    failing = (request(0), request(5, error="HTTP 500: out of\nmemory \x1b[31m"))
    failed = replace(measurement(), requests=failing, faults=("sampler died",), records=RECORDS)
    text = flat(render_failure(result(measured=failed)))
    assert "engine vllm 0.11.0, Qwen/Qwen3-0.6B, on AMD EPYC 7B13, started in 42.1 s" in text
    assert "requests 2 sent, 1 failed, all streamed; tokens: 20 output, 7 prompt, 0 cached" in text
    assert "1 failed: HTTP 500: out of memory" in text
    assert "fault sampler died" in text
    assert "recorded accuracy 0.93" in text
    assert "window prefill, 1.00 s" in text


def test_what_the_engine_counted_stands_in_one_line_with_its_units() -> None:
    stats = {"preemptions": 7.0, "queue_mean_seconds": 0.0125, "kv_headroom_bytes": 2.0**20, "kv_usage_peak_share": 0.5}
    text = flat(render_failure(result(measured=replace(measurement(), engine_stats=stats))))
    assert "inside preemptions 7, queue mean 12.5 ms, kv headroom 1.00 MiB, kv usage peak 50.0 %" in text
    assert "inside" not in render_failure(result())


def test_many_errors_are_summed_up() -> None:
    failing = tuple(request(i, error=f"error {i % 5}") for i in range(7))
    text = flat(render_failure(result(measured=replace(measurement(), requests=failing))))
    assert "2 failed: error 0 2 failed: error 1 1 failed: error 2 and 2 other errors" in text


def test_memory_that_cannot_be_trusted_says_so() -> None:
    text = flat(render_failure(result(measured=replace(measurement(), memory=replace(trace(), fault="gap of 2 s")))))
    assert "not to be trusted: gap of 2 s" in text
    missing = replace(measurement(), memory=None, memory_missing="no access to /proc")
    assert "memory not measured: no access to /proc" in flat(render_failure(result(measured=missing)))


def test_several_devices_are_counted_and_reruns_named() -> None:
    many = replace(ENGINE, devices=(Device("cuda", "NVIDIA L4"),) * 2, startup_seconds=None)
    text = flat(render_failure(result(measured=replace(measurement(), engine=many, rounds=3, attempt=2))))
    assert "on 2 × NVIDIA L4, already running" in text
    assert "measured over 4.00 s, 3 rounds, attempt 2" in text


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("unicode", [True, False])
def test_it_fits_the_width_and_has_no_escape_sequences(width: int, unicode: bool) -> None:
    engine = replace(ENGINE, model="/models/" + "模型" * 60 + ".gguf")
    text = render_failure(result(measured=replace(measurement(), engine=engine)), width=width, unicode=unicode)
    assert max(map(measure_width, text.splitlines())) <= width
    assert "\x1b" not in text
    assert text.isascii() is not unicode


def test_without_a_measurement_the_budgets_still_stand() -> None:
    nothing = Verdict(Status.NO_BUDGET, "", "", reason="no budget for NVIDIA L4")
    text = render_failure(TestResult("t.py::t", (nothing,), {}))
    assert "NO BUDGET: no budget for NVIDIA L4" in text
    assert render_failure(TestResult("t.py::t", (), {})) == ""


def test_severity_goes_before_the_margin() -> None:
    loose_fail = replace(BROKEN, measured=16.1 * GIB)
    tight_pass = replace(BROKEN, status=Status.PASS, measured=16.0 * GIB)
    invalid = replace(BROKEN, status=Status.INVALID, measured=30.0 * GIB)
    owner = result()
    order = [
        v for _, v in sort_worst_first([(owner, v) for v in (tight_pass, UNMEASURED, loose_fail, invalid, BROKEN)])
    ]
    assert order == [BROKEN, loose_fail, invalid, UNMEASURED, tight_pass]


def test_a_value_never_reads_like_the_limit_it_breaks() -> None:
    assert format_apart(17.3 * GIB, 16 * GIB, BYTES) == "17.3 GiB"
    assert format_apart(16 * GIB + 2**20, 16 * GIB, BYTES) == "16.001 GiB"
    assert format_apart(16 * GIB, 16 * GIB, BYTES) == "16.0 GiB"
    assert format_apart(2**30 - 2**10, 2**30, BYTES) == "1023.999 MiB"
    assert format_apart(0.30001, 0.3, SECONDS) == "300.01 ms"
    assert format_apart(0, 0.3, SECONDS) == "0.00 ms"
    assert format_apart(1024, 1023, BYTES) != format_apart(1023, 1024, BYTES)


def test_a_limit_in_decimal_units_is_met_with_decimal_values() -> None:
    verdict = replace(BROKEN, limit=16e9, limit_text="16 GB", measured=16.4e9)
    assert verdict.sentence() == "memory.peak 16.4 GB > 16 GB (margin -2.5 %)"
    assert as_written(SECONDS, "3 s") is SECONDS


def test_a_tiny_excess_is_visible_in_the_sentence() -> None:
    verdict = replace(BROKEN, measured=16.0 * GIB + 1)
    assert verdict.sentence() == "memory.peak 16.000000001 GiB > 16 GiB (margin -6e-09 %)"


def test_the_margin_of_a_limit_of_zero_is_the_room_itself() -> None:
    verdict = hand_made(Status.FAIL, "memory.retained", "memory.retained", 0.0, "0 B", 3.0 * 2**20)
    assert verdict.margin_text == "-3.00 MiB"
    assert replace(verdict, measured=-3.0 * 2**20).margin_text == "+3.00 MiB"
    assert replace(verdict, measured=None).margin_text == "–"


def test_a_change_that_is_not_zero_never_reads_as_zero() -> None:
    assert format_change(0.081) == "+8.1 %"
    assert format_change(-0.00001) == "-0.001 %"
    assert format_change(0.0) == "+0.0 %"
    assert format_change(-2.5) == "-250 %"
