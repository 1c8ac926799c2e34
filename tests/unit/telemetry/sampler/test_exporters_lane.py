"""Reading DCGM exporters over HTTP: telemetry/exporters_lane.py."""

from __future__ import annotations

import tempfile
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.telemetry.records.ring import DEVICE_MEMORY, EXPORTERS, FAULT, Ring, RingRecord
from pytest_llmperf.telemetry.sampler.exporters_lane import ExportersLane
from tests.helpers.dcgm_exporter import Exporter, Gpu, full_fields
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.telemetry.records.source import SourceError

SOON = 1000.0
"""A rate at which nobody has to wait for the next reading."""


class Lane:
    """A lane with its ring, its faults and the answers to its orders."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.told: list[tuple[int, int, str]] = []
        self.lane = ExportersLane(ring, self._fault)

    def _fault(self, number: int, lane: int, error: SourceError) -> int:
        self.told.append((number, lane, str(error)))
        return len(self.told) - 1

    def ask(self, *urls: str, hz: float = SOON) -> tuple[int, Callable[[], dict[str, Any]]]:
        """The number of these exporters, and what waits for the answer, which comes when all were read once."""
        answers: list[dict[str, Any]] = []
        number = self.lane.read({"urls": list(urls), "hz": hz}, answers.append)

        def answer() -> dict[str, Any]:
            until(lambda: bool(answers))
            return answers[0]

        return number, answer

    def read(self, *urls: str) -> tuple[int, dict[str, Any]]:
        number, answer = self.ask(*urls)
        return number, answer()

    def records(self, *lanes: int) -> list[RingRecord]:
        return [record for record in self.ring.slice(0, self.ring.head) if record.lane in lanes]

    def slots(self) -> set[int]:
        """Of all devices whose memory was read."""
        return {record.key for record in self.records(DEVICE_MEMORY)}

    def goes_on(self, slot: int) -> None:
        """Waits for two more readings of a device: the second was begun after this call."""
        seen = self.ring.head
        until(lambda: sum(r.key == slot and r.lane == DEVICE_MEMORY for r in self.ring.slice(seen, self.ring.head)) > 1)

    def end(self) -> None:
        """Ends the threads, so that the ring may be closed."""
        while self.lane._wanted:
            self.lane.stop_reading(next(iter(self.lane._wanted.values())).number)
        until(lambda: not threads())
        self.lane._lock.acquire()  # the lane gives no more signs of life


def threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("exporters-") and name != "exporters-life"]


def is_read(number: int) -> bool:
    return any(thread.name == f"exporters-{number}" for thread in threading.enumerate())


@pytest.fixture
def lane() -> Iterator[Lane]:
    with tempfile.TemporaryFile() as file:
        found = Lane(Ring.create(file.fileno(), 2**16))
        yield found
        found.end()


@pytest.fixture
def exporter() -> Exporter:
    return Exporter(Gpu(0, full_fields()), Gpu(1, full_fields()))


@pytest.fixture
def server(exporter: Exporter) -> Iterator[MetricsServer]:
    with serving(exporter.page) as server:
        yield server


# ------------------------------------------------------------------------------------------------------------- reading


def test_the_devices_of_an_exporter_are_listed_and_read(lane: Lane, server: MetricsServer) -> None:
    number, answer = lane.read(server.url)
    assert answer["exporters"] == number
    assert [(d["slot"], d["uuid"]) for d in answer["devices"]] == [(1000, "GPU-node-a-0"), (1001, "GPU-node-a-1")]
    until(lambda: lane.slots() == {1000, 1001})
    assert {r.value for r in lane.records(DEVICE_MEMORY)} == {21_000 * 2**20}


def test_exporters_are_read_until_they_are_dropped(lane: Lane, server: MetricsServer) -> None:
    number, _ = lane.read(server.url)
    lane.goes_on(1000)
    lane.lane.stop_reading(number)
    until(lambda: not is_read(number))
    read = len(server.paths)
    beat = lane.ring.published_ns
    until(lambda: lane.ring.published_ns > beat)
    assert len(server.paths) == read


def test_exporters_that_are_dropped_before_their_first_answer_are_never_read(
    lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def page() -> str:
        asked.set()
        until(go_on.is_set)
        return exporter.page()

    server.page = page
    number, answer = lane.ask(server.url)
    until(asked.is_set)
    lane.lane.stop_reading(number)
    go_on.set()
    assert len(answer()["devices"]) == 2
    until(lambda: not is_read(number))
    assert lane.records(DEVICE_MEMORY) == []


def test_dropping_what_is_not_read_does_nothing(lane: Lane, server: MetricsServer) -> None:
    lane.read(server.url)
    lane.lane.stop_reading(99)
    lane.goes_on(1000)


def test_records_are_in_order_of_time_whichever_exporter_they_are_of(lane: Lane, exporter: Exporter) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            lane.read(stack.enter_context(serving(exporter.page)).url)
        for slot in (1000, 2000, 3000):
            lane.goes_on(slot)
        times = [record.t_ns for record in lane.records(DEVICE_MEMORY)]
        lane.end()
        lane.lane._lock.release()
    assert len(times) > 6
    assert times == sorted(times)


def test_the_lane_shows_life_while_it_reads_nothing(lane: Lane) -> None:
    beat = lane.ring.published_ns
    until(lambda: lane.ring.published_ns > beat)
    assert lane.ring.head == 0


# ------------------------------------------------------------------------------------------------------- several users


def test_the_same_exporters_are_read_once_however_many_ask(lane: Lane, server: MetricsServer) -> None:
    answers = [lane.read(server.url) for _ in range(3)]
    lane.goes_on(1000)
    assert answers[0] == answers[1] == answers[2]
    assert lane.slots() == {1000, 1001}
    assert (len(threads()), server.connections) == (1, 1)


def test_who_asks_while_the_devices_are_being_listed_is_answered_with_the_first(
    lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    go_on = threading.Event()

    def page() -> str:
        until(go_on.is_set)
        return exporter.page()

    server.page = page
    asked = [lane.ask(server.url) for _ in range(2)]
    go_on.set()
    assert [number for number, _ in asked] == [1, 1]
    assert [answer()["exporters"] for _, answer in asked] == [1, 1]


def test_the_last_user_takes_the_exporters_along_and_who_comes_later_has_them_read_anew(
    lane: Lane, server: MetricsServer
) -> None:
    number, _ = lane.read(server.url)
    lane.read(server.url)
    lane.lane.stop_reading(number)
    lane.goes_on(1000)
    lane.lane.stop_reading(number)
    until(lambda: not is_read(number))
    again, answer = lane.read(server.url)
    assert (again, [device["slot"] for device in answer["devices"]]) == (number + 1, [2000, 2001])
    lane.goes_on(2000)


def test_other_exporters_and_another_rate_are_read_beside_them_under_slots_of_their_own(
    lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    with serving(exporter.page) as other:
        both, _ = lane.read(server.url, other.url)
        one, answer = lane.read(server.url)
        seldom, _ = lane.ask(server.url, hz=SOON / 2)
        assert len({both, one, seldom}) == 3
        assert [device["slot"] for device in answer["devices"]] == [3000, 3001]
        lane.lane.stop_reading(both)
        until(lambda: not is_read(both))


# ------------------------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(("status", "page", "reason"), [(503, "busy", "the answer is 503"), (200, "<html>", "line 1")])
def test_an_exporter_that_fails_is_told_of_and_read_again(
    status: int, page: str, reason: str, lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    number, _ = lane.read(server.url)
    server.status, server.page = status, lambda: page
    until(lambda: len(lane.records(FAULT)) > 0)
    fault = lane.records(FAULT)[0]
    assert (fault.key, fault.value, fault.detail) == (number, 0, EXPORTERS)
    assert lane.told[0][:2] == (number, EXPORTERS)
    assert server.url in lane.told[0][2]
    assert reason in lane.told[0][2]
    server.status, server.page = 200, exporter.page
    lane.goes_on(1000)


def test_a_device_that_left_the_exporters_page_is_a_fault_of_the_exporters(
    lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    number, _ = lane.read(server.url)
    exporter.gpus.pop()
    exporter.now_ms += 1
    until(lambda: len(lane.told) > 0)
    assert lane.told[0] == (number, EXPORTERS, "GPU-node-a-1 is no longer on any page of the DCGM exporters")


def test_a_url_that_is_none_is_refused(lane: Lane) -> None:
    assert lane.read("ftp://here")[1] == {
        "error": "'ftp://here' is not a DCGM exporter: write host:9400 or http://host:9400/metrics"
    }


def test_an_exporter_that_is_none_is_refused_with_its_reason_and_tried_again_when_asked_again(
    lane: Lane, server: MetricsServer, exporter: Exporter
) -> None:
    server.page = lambda: "running 3\n"
    number, answer = lane.read(server.url)
    assert "is not the page of a DCGM exporter" in answer["error"]
    until(lambda: not is_read(number))
    server.page = exporter.page
    assert len(lane.read(server.url)[1]["devices"]) == 2
