"""From what a page said before a test, during it and after it, to the values of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.measurement.pages.definition import parse_definition
from pytest_llmperf.system.prometheus import parse
from pytest_llmperf.telemetry.pages.compute import compute_reading
from pytest_llmperf.telemetry.pages.snapshot import PageLooks, Snapshot

if TYPE_CHECKING:
    from pytest_llmperf.measurement.reading import PageReading

COUNTER = {"series": "hits_total", "kind": "counter", "unit": "hits", "better": "higher"}
GAUGE = {"series": "queue", "kind": "gauge", "take": "max", "unit": "requests", "better": "lower"}
WAITS = {"series": "wait_seconds", "kind": "histogram", "take": "p50", "unit": "s", "better": "lower"}
STARTED = "process_start_time_seconds 100\n"


def buckets(*totals: float, last: float | None = None) -> str:
    """A histogram with the bounds 1, 2 and 4."""
    rows = [f'wait_seconds_bucket{{le="{bound}"}} {total}' for bound, total in zip((1, 2, 4), totals, strict=True)]
    whole = totals[-1] if last is None else last
    rows += [
        f'wait_seconds_bucket{{le="+Inf"}} {whole}',
        f"wait_seconds_count {whole}",
        f"wait_seconds_sum {whole * 3}",
    ]
    return "\n".join(rows) + "\n"


def compute(table: dict[str, Any], before: str, after: str, **looks: Any) -> PageReading:
    first, last = (Snapshot(parse(STARTED + text)) for text in (before, after))
    return compute_reading(parse_definition("throughput.x", table), first, last, PageLooks(**looks), 2.0)


@pytest.mark.parametrize(
    ("more", "before", "after", "value"),
    [
        ({}, "hits_total 3", "hits_total 10", 7),
        ({"take": "rate"}, "hits_total 3", "hits_total 10", 3.5),
        ({}, 'hits_total{a="0"} 1\nhits_total{a="1"} 2', 'hits_total{a="0"} 5\nhits_total{a="1"} 2', 4),
        ({"series": 'hits_total{a="1"}'}, 'hits_total{a="0"} 1\nhits_total{a="1"} 2', 'hits_total{a="1"} 9', 7),
        ({"unit": "%"}, "hits_total 3", "hits_total 10", 0.07),
        ({"per": "asked_total"}, "hits_total 3\nasked_total 10", "hits_total 10\nasked_total 24", 0.5),
        # It appears with its first use; the server is the same.
        ({}, "", "hits_total 10", 10),
    ],
)
def test_a_counter_is_what_it_rose_by(more: dict[str, str], before: str, after: str, value: float) -> None:
    found = compute({**COUNTER, **more}, before, after)
    assert found.reading.value == pytest.approx(value)
    assert (found.fault, found.is_bounded) == ("", False)


@pytest.mark.parametrize(("take", "value"), [("max", 9), ("min", 1), ("mean", 4), ("last", 2)])
def test_a_gauge_is_what_was_seen_at_both_ends_and_in_between(take: str, value: float) -> None:
    found = compute({**GAUGE, "take": take}, "queue 4", "queue 2", values={"queue": [9, 1, 4]})
    assert (found.reading.value, found.reading.samples, found.is_bounded) == (value, 5, False)


@pytest.mark.parametrize(("take", "low", "high"), [("max", 4, None), ("min", None, 2)])
def test_a_gauge_that_was_seen_at_both_ends_alone_is_bounded_on_one_side(
    take: str, low: float | None, high: float | None
) -> None:
    found = compute({**GAUGE, "take": take}, "queue 4", "queue 2")
    assert (found.is_bounded, found.low, found.high) == (True, low, high)
    assert found.reading.how.endswith("no look fell into the test, only its two ends")


def test_the_mean_of_two_ends_is_missing() -> None:
    found = compute({**GAUGE, "take": "mean"}, "queue 4", "queue 2")
    assert found.reading.reason == "no look at queue fell into the test, which was too short for one"


@pytest.mark.parametrize(
    ("take", "before", "after", "expected"),
    [
        # 10 values: 2 up to 1 s, 5 from there to 2 s, 3 from there to 4 s.
        ("p50", buckets(5, 5, 5), buckets(7, 12, 15), (1.6, 1, 2)),
        ("p90", buckets(0, 0, 0), buckets(2, 7, 10), (2 + 2 * 2 / 3, 2, 4)),
        ("p10", buckets(0, 0, 0), buckets(2, 7, 10), (0.5, 0, 1)),
        # Of what lies above the last bound only that is known.
        ("p99", buckets(0, 0, 0), buckets(2, 7, 9, last=10), (4, 4, None)),
    ],
)
def test_a_percentile_lies_somewhere_in_its_bucket(
    take: str, before: str, after: str, expected: tuple[float, float, float | None]
) -> None:
    found = compute({**WAITS, "take": take}, before, after)
    assert found.is_bounded
    assert (found.reading.value, found.low, found.high) == pytest.approx(expected)
    assert compute({**WAITS, "take": "mean"}, before, after).reading.value == pytest.approx(3)


@pytest.mark.parametrize(
    ("table", "before", "after", "reason"),
    [
        (COUNTER, "hits 1", "hits 2", "the page has no hits_total"),
        (COUNTER, "hits_total 1", "", "the page has no hits_total"),
        (COUNTER, "hits_total 1", "hits_total NaN", "the page states nan as hits_total"),
        (COUNTER, "hits_total +Inf", "hits_total 1", "before the test: the page states inf as hits_total"),
        (COUNTER, "hits_total 1", "hits_total 2\nhits_total 2", "the page has hits_total twice with the same labels"),
        ({**COUNTER, "per": "asked"}, "hits_total 1\nasked 5", "hits_total 2\nasked 5", "asked did not rise"),
        (GAUGE, "queue NaN", "queue 1", "the page states nan as queue"),
        (GAUGE, 'queue{a="0"} 1\nqueue{a="1"} 1', "queue 1", 'the page has several series of queue: add'),
        (WAITS, buckets(1, 1, 1), buckets(1, 1, 1), "wait_seconds had no value during the test"),
        (WAITS, buckets(0, 0, 0), buckets(3, 2, 4), "the buckets of wait_seconds do not add up"),
        (WAITS, "wait_seconds_count 0", "wait_seconds_count 4", "the page has no wait_seconds_bucket"),
        (WAITS, "wait_seconds_count 0\nwait_seconds_bucket 0", "wait_seconds_count 4\nwait_seconds_bucket 4",
         "a bucket of wait_seconds has no bound (le)"),
        (WAITS, buckets(0, 0, 0), 'wait_seconds_count 4\nwait_seconds_bucket{le="1"} 4', "the buckets of wait_seconds"),
    ],
)  # fmt: skip
def test_what_a_page_does_not_say_is_missing_with_its_reason(
    table: dict[str, Any], before: str, after: str, reason: str
) -> None:
    found = compute(table, before, after)
    assert found.reading.value is None
    assert found.reading.reason.startswith(reason)


def test_a_counter_that_appears_on_a_server_that_may_be_another_one_is_missing() -> None:
    metric = parse_definition("throughput.x", COUNTER)
    found = compute_reading(metric, Snapshot(parse("a 1")), Snapshot(parse("hits_total 4")), PageLooks(), 1.0)
    assert found.reading.reason == "before the test: the page has no hits_total"
    unread = compute_reading(
        metric, Snapshot(failure="no server listens"), Snapshot(parse("hits_total 4")), PageLooks(), 1.0
    )
    assert unread.reading.reason == "before the test: no server listens"


def test_a_gauge_whose_last_look_failed_is_missing_but_for_its_last_value() -> None:
    looks = {"values": {"queue": [1]}, "failure": "no server listens"}
    assert compute(GAUGE, "queue 1", "queue 1", **looks).reading.reason == "no server listens"
    assert compute({**GAUGE, "take": "last"}, "queue 1", "queue 1", **looks).reading.value == 1


SET_BACK = "was set back during the test"


@pytest.mark.parametrize(
    ("table", "before", "after", "looks"),
    [
        (COUNTER, "hits_total 9", "hits_total 3", {}),
        # It fell and rose above where it was before.
        (COUNTER, "hits_total 9", "hits_total 30", {"values": {"hits_total": [12, 2, 20]}}),
        (COUNTER, "hits_total 9\nhits_created 5", "hits_total 30\nhits_created 6", {}),
        # One of two fell, and their sum rose.
        (COUNTER, 'hits_total{a="0"} 9\nhits_total{a="1"} 1', 'hits_total{a="0"} 1\nhits_total{a="1"} 20', {}),
        (COUNTER, 'hits_total{a="0"} 9\nhits_total{a="1"} 1', 'hits_total{a="1"} 20', {}),
        ({**COUNTER, "per": "asked"}, "hits_total 1\nasked 5", "hits_total 2\nasked 4", {}),
        ({**WAITS, "take": "mean"}, buckets(2, 2, 2), buckets(1, 3, 4), {}),
    ],
)
def test_a_counter_that_fell_is_a_fault(table: dict[str, Any], before: str, after: str, looks: dict[str, Any]) -> None:
    found = compute(table, before, after, **looks)
    assert found.reading.value is not None
    assert found.fault.endswith(SET_BACK)


@pytest.mark.parametrize("table", [COUNTER, GAUGE, WAITS])
@pytest.mark.parametrize("seen", [[], [100.0, 777.0]])
def test_a_server_that_was_started_afresh_is_a_fault_of_all_its_metrics(
    table: dict[str, Any], seen: list[float]
) -> None:
    one, two = (f"hits_total {n}\nqueue 1\n{buckets(n, n, n)}" for n in (1, 50))
    later = "" if seen else "process_start_time_seconds 200"
    first, last = Snapshot(parse(STARTED + one)), Snapshot(parse((later or STARTED) + "\n" + two))
    found = compute_reading(parse_definition("throughput.x", table), first, last, PageLooks(started=seen), 1.0)
    assert found.fault == "the server of the page was started afresh during the test: its process start time changed"


def test_a_server_that_does_not_say_when_it_started_is_taken_for_the_same() -> None:
    metric = parse_definition("throughput.x", COUNTER)
    found = compute_reading(metric, Snapshot(parse("hits_total 1")), Snapshot(parse("hits_total 4")), PageLooks(), 1.0)
    assert (found.reading.value, found.fault) == (3, "")
