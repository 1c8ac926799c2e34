from __future__ import annotations

import pytest

from pytest_llmperf.engines.attached.core_waits import CoreLook, CoreWaits
from pytest_llmperf.engines.attached.slots import SlotsLook, SlotsWatch, explain_busy_slots
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.telemetry.sources.host_counters import HostCounters

MS = 1_000_000
ONE, OTHER = RequestTiming(1000 * MS, 2000 * MS), RequestTiming(1500 * MS, 3000 * MS)


def look(at_ms: int, busy: int) -> SlotsLook:
    return SlotsLook((at_ms - 2) * MS, at_ms * MS, busy)


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([look(1100, 1), look(1600, 2), look(2900, 1)], ""),
        ([look(1100, 2)], "2 of its slots were busy with 1 request of the test"),
        ([look(1600, 4), look(1100, 2)], "4 of its slots were busy with 2 requests of the test"),
        # The slot of the one that has just ended.
        ([look(2300, 2)], ""),
        ([look(2600, 2)], "2 of its slots were busy with 1 request of the test"),
        # Before and after the test's own requests nothing of it is disturbed.
        ([look(900, 3), look(3100, 3)], ""),
        ([], ""),
    ],
)
def test_slots_that_the_tests_requests_do_not_explain(looks: list[SlotsLook], reason: str) -> None:
    found = explain_busy_slots(looks, [ONE, OTHER])
    assert found == (f"others used the server: {reason} (or calls went past llm_client)" if reason else "")


@pytest.mark.parametrize(("waited_ms", "others"), [(0, True), (40, True), (120, False)])
def test_a_server_that_waits_for_a_core_frees_its_slots_later(waited_ms: int, others: bool) -> None:
    counters = [HostCounters(at_ms * MS) for at_ms in (1900, 2700)]
    cores = CoreWaits([CoreLook(counters[0], (0, 0)), CoreLook(counters[1], (0, waited_ms * MS))])
    assert bool(explain_busy_slots([look(2600, 2)], [ONE, OTHER], cores)) == others


@pytest.mark.parametrize(("texts", "busy", "others"), [(1, 2, False), (1, 3, True), (4, 5, False), (0, 2, False)])
def test_each_text_that_is_embedded_may_hold_a_slot(texts: int, busy: int, others: bool) -> None:
    embedded = RequestTiming(1000 * MS, 1400 * MS, work="embed", inputs=texts)
    assert bool(explain_busy_slots([look(1100, busy)], [ONE], inputs=[embedded])) == others


def test_without_a_request_of_the_test_all_may_be_the_apps() -> None:
    assert explain_busy_slots([look(1100, 3)], []) == ""


def test_a_watch_that_has_nothing_to_look_at_looks_at_nothing() -> None:
    watch = SlotsWatch([])
    watch.stop()
    assert watch.looks == []


def test_a_look_that_fails_is_left_out() -> None:
    watch = SlotsWatch(["http://127.0.0.1:9/slots"])
    watch.stop()
    watch.stop()
    assert watch.looks == []
