from __future__ import annotations

import random

import pytest

from pytest_llmperf.telemetry.analysis.cadence import find_collection_interval_ns, why_too_seldom
from pytest_llmperf.telemetry.records.ring import (
    DEVICE_MEMORY,
    ENERGY,
    POWER,
    SM_CLOCK,
    TEMPERATURE,
    THROTTLE,
    UTILIZATION,
    RingRecord,
)
from pytest_llmperf.telemetry.records.source import SLOTS_PER_EXPORTER
from pytest_llmperf.telemetry.sources.dcgm import DcgmBackend
from tests.helpers.dcgm_exporter import Exporter, Gpu, full_fields
from tests.helpers.metrics_server import serving

SECOND = 1_000_000_000
URL = "http://node-a:9400/metrics"


def curve(lane: int, *points: tuple[float, int], key: int = SLOTS_PER_EXPORTER) -> list[RingRecord]:
    return [RingRecord(round(t * SECOND), value, key, 0, lane) for t, value in points]


@pytest.mark.parametrize("lane", [POWER, ENERGY, TEMPERATURE, SM_CLOCK])
def test_the_interval_is_the_distance_of_changes(lane: int) -> None:
    points = [(t / 10, t // 20) for t in range(200)]
    assert find_collection_interval_ns(curve(lane, *points)) == 2 * SECOND


@pytest.mark.parametrize("lane", [DEVICE_MEMORY, UTILIZATION, THROTTLE])
def test_what_may_stand_still_for_long_says_nothing_of_the_interval(lane: int) -> None:
    points = [(t / 10, t // 20) for t in range(200)]
    assert find_collection_interval_ns(curve(lane, *points)) is None


def test_a_collection_without_a_change_does_not_spoil_the_interval() -> None:
    points = [(0, 1), (1, 2), (2, 3), (3, 3), (4, 5), (5, 6)]
    assert find_collection_interval_ns(curve(POWER, *points)) == SECOND


def test_one_change_is_not_enough_to_tell() -> None:
    assert find_collection_interval_ns([]) is None
    assert find_collection_interval_ns(curve(POWER, (0, 1), (1, 1), (2, 1))) is None
    assert find_collection_interval_ns(curve(POWER, (0, 1), (1, 1), (2, 2))) is None


def test_two_changes_are_enough() -> None:
    assert find_collection_interval_ns(curve(POWER, (0, 1), (1, 2), (4, 3))) == 3 * SECOND


def test_changes_of_all_devices_of_an_exporter_count_together() -> None:
    first = curve(TEMPERATURE, (0, 30), (1, 31), (2, 31), (3, 31))
    second = curve(POWER, (0, 100), (1, 101), (2, 102), (3, 103), key=SLOTS_PER_EXPORTER + 1)
    together = sorted(first + second)
    assert find_collection_interval_ns(together) == SECOND


def test_of_two_exporters_the_slower_one_counts() -> None:
    fast = curve(POWER, *((t, t) for t in range(9)))
    slow = curve(POWER, *((t + 0.5, t // 4) for t in range(9)), key=2 * SLOTS_PER_EXPORTER)
    assert find_collection_interval_ns(sorted(fast + slow)) == 4 * SECOND


def test_an_exporter_that_never_collected_leaves_the_interval_open() -> None:
    fast = curve(POWER, *((t, t) for t in range(9)))
    dead = curve(POWER, *((t, 7) for t in range(9)), key=2 * SLOTS_PER_EXPORTER)
    assert find_collection_interval_ns(sorted(fast + dead)) is None


@pytest.mark.parametrize("interval_ms", [100, 1000, 30_000])
def test_the_interval_of_an_exporter_shows_in_its_pages(interval_ms: int) -> None:
    noise = random.Random(5)
    exporter = Exporter(Gpu(0, full_fields()), interval_ms=interval_ms)
    records: list[RingRecord] = []
    with serving(exporter.page) as server:
        reader = DcgmBackend([server.url])
        reader.devices()
        for scrape in range(100):
            exporter.now_ms = scrape * interval_ms // 8
            exporter.gpus[0].fields["POWER_USAGE"] = f"{noise.uniform(300, 600):.3f}"
            records += reader.read(exporter.now_ms * 1_000_000)
        reader.close()
    assert find_collection_interval_ns(records) == pytest.approx(interval_ms * 1_000_000, rel=0.05)


def test_ten_collections_in_a_test_are_enough() -> None:
    assert why_too_seldom(100_000_000, 1.0, URL) == ""
    assert why_too_seldom(30 * SECOND, 300, URL) == ""


def test_too_few_collections_are_refused_with_the_setting_to_change() -> None:
    assert why_too_seldom(30 * SECOND, 12, URL) == (
        "the exporter at http://node-a:9400/metrics collects every 30 s, a test of 12 s has 0 collections; "
        "at least 10 are needed: "
        "start it with --collect-interval=100, or DCGM_EXPORTER_INTERVAL=100 (milliseconds)"
    )
    assert " a test of 2.99 s has 1 collection; at least 10 are needed: start" in why_too_seldom(2 * SECOND, 2.99, URL)
    assert " has 9 collections; " in why_too_seldom(SECOND, 9.9, URL)


def test_an_unknown_interval_is_refused() -> None:
    assert why_too_seldom(None, 12, URL) == (
        "the exporter at http://node-a:9400/metrics was not seen to collect twice, so a test of 12 s is too short; "
        "at least 10 are needed: "
        "start it with --collect-interval=100, or DCGM_EXPORTER_INTERVAL=100 (milliseconds)"
    )


def test_a_test_too_short_for_any_interval_is_told_to_be_longer() -> None:
    assert why_too_seldom(200_000_000, 1.5, URL).endswith("at least 10 are needed: make the test longer than 2 s")
    assert why_too_seldom(30 * SECOND, 1.5, URL).endswith("(milliseconds), and make the test longer than 2 s")
    assert why_too_seldom(None, 1.5, URL).endswith("(milliseconds), and make the test longer than 2 s")
