"""What an engine held over a window, from levels and lists of processes: telemetry/attribution.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.analysis.attribution import Baseline, Ownership, build_device_trace, select_surrounding
from pytest_llmperf.telemetry.analysis.timeline import Sampling
from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, HOST, KNOWN, MATCHED, RingRecord
from pytest_llmperf.telemetry.records.source import DeviceFacts
from tests.helpers.process_lists import ENGINE, GIB, L4, MS, NOBODY, OTHER_ENGINE, WINDOW, listed, matched, read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.memory_trace import Attribution, MemoryTrace

GB10 = DeviceFacts(2, "GPU-1", "NVIDIA GB10", 0, "nvml", "cuda", unified=True, no_memory="it has none of its own")


def levels(*points: tuple[int, float]) -> list[RingRecord]:
    return [RingRecord(t * MS, round(level * GIB), L4.slot, 0, DEVICE_MEMORY) for t, level in points]


def flat(level: float) -> list[RingRecord]:
    """The same level throughout, read often enough."""
    return levels(*((t, level) for t in range(900, 2101, 100)))


def trace(
    records: Sequence[RingRecord],
    *lists: Sequence[RingRecord],
    facts: DeviceFacts = L4,
    baseline: Baseline | None = NOBODY,
    fault: str = "",
    missing: str = "",
    oldest_ns: int = 0,
    settling: bool = False,
) -> MemoryTrace:
    return build_device_trace(
        records,
        WINDOW,
        facts,
        Ownership(select_surrounding(read(*lists), WINDOW), baseline),
        Sampling(5 * MS, oldest_ns, fault, missing),
        settling=settling,
    )


def gib(found: MemoryTrace) -> list[float]:
    return [value / GIB for _, value in found.samples]


# ----------------------------------------------------------------------------------------------------------- the traces


def test_what_is_not_the_engines_is_taken_off_the_level() -> None:
    found = trace(levels((900, 5), (1500, 6), (2100, 5)), matched(990, 5, 3), matched(2010, 5, 3))
    assert gib(found) == [3, 4, 3]
    assert (found.attribution, found.before_bytes, found.fault, found.missing) == (
        "pids",
        3 * GIB,
        "the sampler missed 1.20 s of the test",
        "",
    )
    assert found.source == (
        "NVML memory v2, less what is not of the engine's processes, which the driver lists by their pids, "
        "1.7 samples/s"
    )


def test_another_engine_of_this_run_is_not_the_engine() -> None:
    both = listed(
        990,
        9,
        (ENGINE, 3, MATCHED),
        (OTHER_ENGINE, 5, MATCHED),
        shares=[(ENGINE, 3, MATCHED | KNOWN), (OTHER_ENGINE, 5, MATCHED | KNOWN)],
    )
    assert set(gib(trace(flat(9), both))) == {3}


def test_a_peak_that_may_be_of_others_is_not_told_but_its_bounds_are() -> None:
    points = levels((950, 5), (1200, 5), (1400, 7), (1600, 7), (2100, 7))
    lists = (matched(990, 5, 3), matched(1500, 7, 3), matched(2010, 7, 3))
    found = trace(points, *lists)
    assert gib(found) == [3, 1, 3, 3, 3]
    assert found.missing == (
        "other processes allocated or freed memory during the test, so the engine's peak lies anywhere between "
        "3.00 GiB and 5.00 GiB"
    )
    assert found.source.endswith("; what is not the engine's changed by 2.00 GiB meanwhile")
    assert trace(points, *lists, settling=True).missing == ""


def test_a_peak_of_another_time_than_that_at_which_others_moved_is_told() -> None:
    found = trace(
        levels((950, 5), (1200, 5), (1400, 7), (1600, 9), (1700, 7), (2100, 7)),
        matched(990, 5, 3),
        matched(1500, 7, 3),
        matched(2010, 7, 3),
    )
    assert (found.peak_bytes, found.missing) == (5 * GIB, "")


def test_an_engine_that_grew_while_others_stood_still_is_certain() -> None:
    found = trace(levels((950, 5), (1400, 8), (2100, 8)), matched(990, 5, 3), matched(2010, 8, 6))
    assert (gib(found), found.missing) == ([3, 6, 6], "")


def test_a_little_that_others_take_is_not_worth_a_word() -> None:
    found = trace(flat(5), matched(990, 5, 3), matched(2010, 5 + 16 / 1024, 3))
    assert "meanwhile" not in found.source


def test_before_the_first_list_its_rest_is_the_best_that_is_known() -> None:
    assert gib(trace(levels((900, 5), (2100, 5)), matched(1500, 5, 3))) == [3, 3]


def test_lists_at_which_the_level_moved_are_not_trusted_where_there_are_others() -> None:
    found = trace(flat(5), matched(990, 9, 3, steady=False), matched(1500, 5, 3), matched(2010, 9, 3, steady=False))
    assert set(gib(found)) == {3}
    assert "moved" not in found.source


def test_where_no_list_was_steady_they_are_taken_and_the_doubt_is_told() -> None:
    found = trace(flat(5), matched(990, 5, 3, steady=False))
    assert set(gib(found)) == {3}
    assert found.source.endswith("; the level moved whenever the processes were listed")


def test_an_engine_that_holds_more_than_the_level_says_leaves_nothing_to_others() -> None:
    assert set(gib(trace(flat(2), matched(990, 2, 3)))) == {2}


def test_an_engine_that_left_the_device_holds_nothing_there() -> None:
    found = trace(flat(2), matched(500, 5, 3), listed(990, 2), listed(2010, 2), baseline=None)
    assert (found.attribution, set(gib(found))) == ("pids", {0})


@pytest.mark.parametrize(
    ("lists", "baseline", "attribution", "words"),
    [
        ([listed(990, 5)], Baseline(GIB), "exclusive", "when no other process was on the device"),
        ([], Baseline(GIB), "rise", "what others allocated or freed since then is counted too"),
    ],
)
def test_without_pids_the_engine_has_what_rose_since_before_it_started(
    lists: list[list[RingRecord]], baseline: Baseline, attribution: Attribution, words: str
) -> None:
    found = trace(levels((900, 5), (1500, 0.5), (2100, 5)), *lists, baseline=baseline)
    assert gib(found) == [4, 0, 4]
    assert found.attribution == attribution
    assert words in found.source


def test_without_pids_and_baseline_the_device_is_told_of_as_a_whole() -> None:
    found = trace(flat(5), baseline=None)
    assert (found.attribution, set(gib(found))) == ("device", {5})
    assert "of the whole device, whichever process holds it" in found.source


def test_a_device_in_the_hosts_memory_has_what_rose_there() -> None:
    found = trace(flat(5), facts=GB10)
    assert (found.attribution, set(gib(found)), found.missing) == ("unified", {4}, "")
    assert found.source.startswith("the host's memory in use (MemTotal less MemAvailable), less the level before")


def test_a_device_whose_memory_is_not_read_says_why_and_the_gap_is_no_fault() -> None:
    facts = DeviceFacts(2, "GPU-1", "NVIDIA L4", 0, "nvml", "cuda", no_memory="the driver gives no memory level")
    found = trace([], facts=facts)
    assert (found.samples, found.missing, found.fault) == ((), "the driver gives no memory level", "")


def test_what_is_known_to_be_missing_comes_before_what_the_facts_say() -> None:
    facts = DeviceFacts(2, "GPU-1", "NVIDIA L4", 0, "nvml", "cuda", no_memory="the driver gives no memory level")
    assert trace([], facts=facts, missing="the driver hangs").missing == "the driver hangs"


def test_samples_that_are_missing_are_a_fault() -> None:
    found = trace(levels((900, 5), (1100, 5), (2100, 5)))
    assert (found.max_gap_ns, found.fault) == (1000 * MS, "the sampler missed 1.00 s of the test")
    assert trace([]).fault == "the sampler missed 1.00 s of the test"


def test_a_fault_that_is_known_comes_first_and_overwritten_samples_before_gaps() -> None:
    assert trace([], fault="the GPU is lost").fault == "the GPU is lost"
    assert trace([], oldest_ns=1500 * MS).fault.startswith("the first 0.5 s of the test were overwritten")


def test_records_of_host_memory_and_of_other_devices_are_not_levels() -> None:
    others = [RingRecord(1500 * MS, 9 * GIB, L4.slot, 1, HOST), RingRecord(1500 * MS, 9 * GIB, 3, 0, DEVICE_MEMORY)]
    assert set(gib(trace(sorted([*flat(5), *others])))) == {4}
