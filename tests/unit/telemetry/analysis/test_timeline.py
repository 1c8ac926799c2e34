from __future__ import annotations

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.telemetry.analysis.timeline import Sampling, build_host_trace, largest_gap_ns, sum_levels
from pytest_llmperf.telemetry.records.ring import GONE, RSS_ONLY, RingRecord

MS = 1_000_000
PERIOD = 5 * MS
WINDOW = Window(1000 * MS, 2000 * MS)


def ticks(
    start_ms: int, end_ms: int, value: int = 100, key: int = 1, step: int = 5, processes: int = 1
) -> list[RingRecord]:
    return [RingRecord(t * MS, value, key, processes) for t in range(start_ms, end_ms, step)]


def in_order(*runs: list[RingRecord]) -> list[RingRecord]:
    return sorted((record for run in runs for record in run), key=lambda record: record.t_ns)


def test_the_trace_has_one_sample_on_either_side_of_the_window() -> None:
    trace = build_host_trace(ticks(902, 2102), WINDOW, [1], Sampling(PERIOD))
    assert (trace.samples[0][0], trace.samples[-1][0]) == (997 * MS, 2002 * MS)
    assert len(trace.samples) == 202
    assert (trace.max_gap_ns, trace.fault) == (PERIOD, "")


def test_the_level_before_is_that_of_the_last_sample_at_or_before_the_start() -> None:
    records = in_order(ticks(900, 1000, value=40), ticks(1000, 1005, value=50), ticks(1005, 2100, value=90))
    assert build_host_trace(records, WINDOW, [1], Sampling(PERIOD)).before_bytes == 50


def test_without_a_sample_before_the_start_there_is_no_level_before() -> None:
    trace = build_host_trace(ticks(1003, 2100), WINDOW, [1], Sampling(PERIOD))
    assert (trace.before_bytes, trace.fault, trace.samples[0][0]) == (None, "", 1003 * MS)


def test_the_trees_of_several_roots_are_added_up_tick_by_tick() -> None:
    records = in_order(ticks(0, 10, value=100, key=1), ticks(0, 10, value=7, key=2), ticks(0, 10, value=1000, key=3))
    assert sum_levels(records, [1, 2]) == [(0, 107), (5 * MS, 107)]


def test_a_root_without_a_record_in_a_tick_keeps_its_last_value() -> None:
    records = [RingRecord(0, 100, 1, 1), RingRecord(0, 7, 2, 1), RingRecord(5, 200, 1, 1), RingRecord(9, 8, 2, 1)]
    assert sum_levels(records, [1, 2]) == [(0, 107), (5, 207), (9, 208)]


def test_a_root_that_ended_no_longer_counts() -> None:
    records = [
        RingRecord(0, 100, 1, 1),
        RingRecord(0, 7, 2, 1),
        RingRecord(5, 0, 1, 0, flags=GONE),
        RingRecord(5, 7, 2, 1),
    ]
    assert sum_levels(records, [1, 2]) == [(0, 107), (5, 7)]


def test_records_of_other_lanes_are_not_host_memory() -> None:
    assert sum_levels([RingRecord(0, 100, 1, 1), RingRecord(0, 10**9, 1, 1, lane=1)], [1]) == [(0, 100)]


def test_an_engine_that_ends_in_the_window_is_a_fault_and_its_samples_are_kept() -> None:
    records = [*ticks(900, 1500), RingRecord(1500 * MS, 0, 1, 0, flags=GONE)]
    trace = build_host_trace(records, WINDOW, [1], Sampling(PERIOD, fault="the sampler died"))
    assert trace.fault == "the engine's process 1 ended during the test"
    assert trace.samples[-1] == (1495 * MS, 100)


def test_an_engine_that_had_ended_before_the_window_is_a_fault() -> None:
    records = [*ticks(900, 950), RingRecord(950 * MS, 0, 1, 0, flags=GONE)]
    trace = build_host_trace(records, WINDOW, [1], Sampling(PERIOD))
    assert trace.fault == "the engine's process 1 ended before the test"


def test_an_engine_that_was_ended_on_purpose_holds_nothing_from_then_on() -> None:
    records = [*ticks(900, 1500), RingRecord(1500 * MS, 0, 1, 0, flags=GONE)]
    trace = build_host_trace(records, WINDOW, [1], Sampling(PERIOD), ended=[1])
    assert (trace.fault, trace.peak_bytes) == ("", 100)
    assert trace.samples[-1][0] >= WINDOW.end_ns
    assert {value for at_ns, value in trace.samples if at_ns >= 1500 * MS} == {0}
    assert build_host_trace([], WINDOW, [1], Sampling(PERIOD), ended=[1]).peak_bytes == 0
    beside = in_order(records, ticks(900, 2100, value=7, key=2))
    trace = build_host_trace(beside, WINDOW, [1, 2], Sampling(PERIOD), ended=[1])
    assert (trace.fault, trace.peak_bytes, trace.samples[-1][1]) == ("", 107, 7)


def test_an_engine_that_ends_after_the_window_is_no_fault() -> None:
    records = [*ticks(900, 2050), RingRecord(2050 * MS, 0, 1, 0, flags=GONE)]
    assert build_host_trace(records, WINDOW, [1], Sampling(PERIOD)).fault == ""


def test_a_hole_in_the_samples_is_a_fault_that_says_how_long() -> None:
    records = in_order(ticks(900, 1200), ticks(1500, 2100))
    trace = build_host_trace(records, WINDOW, [1], Sampling(PERIOD))
    assert trace.fault == "the sampler missed 0.30 s of the test"
    assert trace.max_gap_ns == 305 * MS


def test_a_short_hole_is_shown_and_forgiven() -> None:
    trace = build_host_trace(in_order(ticks(900, 1200), ticks(1400, 2100)), WINDOW, [1], Sampling(PERIOD))
    assert (trace.fault, trace.max_gap_ns) == ("", 205 * MS)


@pytest.mark.parametrize(
    ("seconds", "holes_ms", "fault"),
    [
        (237, (590,), ""),
        (20, (590,), "the sampler missed 0.59 s of the test"),
        (237, (590, 590, 590), "the sampler missed 1.77 s of the test"),
        (237, (240, 240, 240, 240, 240, 240), ""),
        (2000, (9000, 2000), "the sampler missed 11.00 s of the test"),
    ],
)
def test_holes_may_add_up_to_half_a_percent_of_a_long_window(
    seconds: int, holes_ms: tuple[int, ...], fault: str
) -> None:
    times, end_ms = [0], seconds * 1000
    for hole in holes_ms:
        times += [times[-1] + hole, times[-1] + hole + 100]
    times += range(times[-1] + 100, end_ms + 100, 100)
    records = [RingRecord(t * MS, 100, 1, 1) for t in times]
    window = Window(0, end_ms * MS)
    assert build_host_trace(records, window, [1], Sampling(PERIOD)).fault == fault


def test_samples_missing_at_either_end_are_a_hole_too() -> None:
    for records in (ticks(1300, 2100), ticks(900, 1700)):
        assert "missed 0.30 s" in build_host_trace(records, WINDOW, [1], Sampling(PERIOD)).fault


def test_the_hole_that_is_forgiven_grows_with_the_period() -> None:
    assert (largest_gap_ns(PERIOD), largest_gap_ns(100 * MS)) == (250 * MS, 1000 * MS)
    slow = ticks(400, 2600, step=100)
    del slow[10:14]
    assert build_host_trace(slow, WINDOW, [1], Sampling(100 * MS)).fault == ""
    assert "missed 0.50 s" in build_host_trace(slow, WINDOW, [1], Sampling(20 * MS)).fault


def test_a_window_whose_start_was_overwritten_is_a_fault() -> None:
    trace = build_host_trace(ticks(1600, 2100), WINDOW, [1], Sampling(PERIOD, oldest_ns=1600 * MS))
    assert trace.fault.startswith("the first 0.6 s of the test were overwritten")


def test_the_fault_of_the_sampler_comes_before_the_hole_it_left() -> None:
    trace = build_host_trace(ticks(900, 1200), WINDOW, [1], Sampling(PERIOD, fault="the sampler died (killed)"))
    assert trace.fault == "the sampler died (killed)"
    assert len(trace.samples) == 40


def test_a_process_that_nobody_watched_is_a_fault() -> None:
    assert build_host_trace(ticks(900, 2100), WINDOW, [1, 2], Sampling(PERIOD)).fault == (
        "the sampler did not watch process 2 during the test"
    )
    assert (
        build_host_trace(ticks(900, 2100), WINDOW, [], Sampling(PERIOD)).fault == "the engine has no process to watch"
    )


def test_the_source_says_what_was_read_of_how_many_processes_and_how_often() -> None:
    records = in_order(ticks(900, 2100, processes=2), ticks(900, 2100, key=2))
    source = build_host_trace(records, WINDOW, [1, 2], Sampling(PERIOD)).source
    assert source == "RSS less shared pages of the engine's process tree (3 processes), 200 samples/s"


def test_the_source_says_rss_once_one_process_could_not_be_read_exactly() -> None:
    records = ticks(900, 2100, processes=2)
    records[150] = records[150]._replace(flags=RSS_ONLY)
    source = build_host_trace(records, WINDOW, [1], Sampling(PERIOD)).source
    assert source == "RSS of the engine's process tree (2 processes, shared pages counted in full), 200 samples/s"


def test_one_process_shares_nothing_within_its_tree() -> None:
    source = build_host_trace(ticks(900, 2100), WINDOW, [1], Sampling(PERIOD)).source
    assert source == "RSS of the engine's process, 200 samples/s"


def test_a_window_between_two_samples_has_both() -> None:
    window = Window(1001 * MS, 1002 * MS)
    trace = build_host_trace(ticks(900, 2100), window, [1], Sampling(PERIOD))
    assert trace.samples == ((1000 * MS, 100), (1005 * MS, 100))


def test_a_driver_that_hangs_is_why_there_are_no_samples_and_no_fault_of_the_sampler() -> None:
    for records in (ticks(900, 1200), []):
        trace = build_host_trace(records, WINDOW, [1], Sampling(PERIOD, missing="the driver hangs"))
        assert (trace.missing, trace.fault) == ("the driver hangs", "")
