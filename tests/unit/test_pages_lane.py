"""Reading pages over HTTP: telemetry/pages_lane.py, against a server of metrics and a DCGM exporter."""

from __future__ import annotations

import math
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.telemetry.pages_lane import MetricsSource, PagesLane, bits, from_bits
from pytest_llmperf.telemetry.ring import DEVICE_MEMORY, FAULT, SCRAPED, Record, Ring
from pytest_llmperf.telemetry.source import SourceError, Why
from tests.unit.dcgm_exporter import Exporter, Gpu, full_fields
from tests.unit.metrics_server import MetricsServer, serving
from tests.unit.watching import until

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
PAGE = f'{RUNNING}{{engine="0"}} 3\n{RUNNING}{{engine="1"}} 5\n{WAITING} 0.25\nother 9\n'
SOON = 1000.0
"""A rate at which nobody has to wait for the next reading."""


class Pages:
    """A lane of pages with its ring, its faults and the answers to its orders."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.told: list[tuple[int, int, str]] = []
        self.lane = _Endable(ring, self._fault)

    def _fault(self, number: int, lane: int, error: SourceError) -> int:
        self.told.append((number, lane, str(error)))
        return len(self.told) - 1

    def read(self, **order: Any) -> tuple[int, dict[str, Any]]:
        """The number of the page and the answer to the order, which comes when the page was asked."""
        answered = threading.Event()
        found: dict[str, Any] = {}

        def answer(content: dict[str, Any]) -> None:
            found.update(content)
            answered.set()

        number = self.lane.read({"hz": SOON, **order}, answer)
        until(answered.is_set)
        return number, found

    def records(self, *lanes: int) -> list[Record]:
        return [record for record in self.ring.slice(0, self.ring.head) if record.lane in lanes]


class _Endable(PagesLane):
    """Ends its threads, so that the ring may be closed."""

    def end(self) -> None:
        for number in tuple(self._wanted):
            self.drop(number)
        until(lambda: not any(thread.name.startswith("page-") for thread in threading.enumerate()))
        self._lock.acquire()  # the lane gives no more signs of life


@pytest.fixture
def pages() -> Iterator[Pages]:
    with tempfile.TemporaryFile() as file:
        found = Pages(Ring.create(file.fileno(), 2**16))
        yield found
        found.lane.end()


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(lambda: PAGE) as server:
        yield server


@pytest.mark.parametrize("value", [0.0, -1.5, 0.1, 1e300, math.inf])
def test_a_float_travels_as_an_integer(value: float) -> None:
    assert from_bits(bits(value)) == value
    assert -(2**63) <= bits(value) < 2**63


def test_not_a_number_travels_too() -> None:
    assert math.isnan(from_bits(bits(math.nan)))


# ------------------------------------------------------------------------------------------------- metrics of an engine


def test_the_chosen_metrics_are_read_and_of_several_engine_cores_the_largest(server: MetricsServer) -> None:
    source = MetricsSource(7, server.url, [WAITING, RUNNING, "not:there"])
    records = source.read(123)
    source.close()
    assert sorted((r.t_ns, r.key, r.detail, from_bits(r.value), r.lane) for r in records) == [
        (123, 7, 0, 0.25, SCRAPED),
        (123, 7, 1, 5.0, SCRAPED),
    ]


@pytest.mark.parametrize(("status", "page"), [(503, "busy"), (200, "<html>")])
def test_a_page_that_cannot_be_read_may_be_read_the_next_time(status: int, page: str, server: MetricsServer) -> None:
    server.status, server.page = status, lambda: page
    source = MetricsSource(7, server.url, [RUNNING])
    with pytest.raises(SourceError, match=server.url) as refused:
        source.read(123)
    assert refused.value.why is Why.TRANSIENT
    server.status, server.page = 200, lambda: PAGE
    assert len(source.read(124)) == 1
    source.close()


# ---------------------------------------------------------------------------------------------------------- the lane


def test_a_page_is_read_until_it_is_dropped(pages: Pages, server: MetricsServer) -> None:
    number, answer = pages.read(url=server.url, names=[RUNNING])
    assert answer == {"page": number, "devices": []}
    until(lambda: len(pages.records(SCRAPED)) > 2)
    assert {(r.key, r.detail, from_bits(r.value)) for r in pages.records(SCRAPED)} == {(number, 0, 5.0)}
    pages.lane.drop(number)
    until(lambda: not any(thread.name == f"page-{number}" for thread in threading.enumerate()))
    read = len(server.paths)
    beat = pages.ring.heartbeat_ns
    until(lambda: pages.ring.heartbeat_ns > beat)
    assert len(server.paths) == read


def test_records_are_in_order_of_time_whichever_page_they_are_of(pages: Pages, server: MetricsServer) -> None:
    for _ in range(3):
        pages.read(url=server.url, names=[RUNNING, WAITING])
    until(lambda: {r.key for r in pages.records(SCRAPED)} == {1, 2, 3} and len(pages.records(SCRAPED)) > 60)
    times = [record.t_ns for record in pages.records(SCRAPED)]
    assert times == sorted(times)


def test_the_lane_shows_life_while_it_reads_nothing(pages: Pages) -> None:
    beat = pages.ring.heartbeat_ns
    until(lambda: pages.ring.heartbeat_ns > beat)
    assert pages.ring.head == 0


def test_a_page_that_fails_is_told_of_and_read_again(pages: Pages, server: MetricsServer) -> None:
    number, _ = pages.read(url=server.url, names=[RUNNING])
    server.status = 500
    until(lambda: len(pages.records(FAULT)) > 0)
    fault = pages.records(FAULT)[0]
    assert (fault.key, fault.value, fault.detail) == (number, 0, SCRAPED)
    assert pages.told[0][:2] == (number, SCRAPED)
    assert "500" in pages.told[0][2]
    server.status = 200
    failed = pages.records(FAULT)[-1].t_ns
    until(lambda: pages.records(SCRAPED)[-1:] != [] and pages.records(SCRAPED)[-1].t_ns > failed)


def test_a_url_that_is_none_is_refused(pages: Pages) -> None:
    assert pages.read(url="ftp://here", names=[])[1]["error"].startswith("ftp://here is not the URL of a metrics page")


def test_a_page_that_is_dropped_before_its_first_answer_is_never_read(pages: Pages, server: MetricsServer) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def page() -> str:
        asked.set()
        until(go_on.is_set)
        return Exporter(Gpu(0, full_fields())).page()

    server.page = page
    answered = threading.Event()
    number = pages.lane.read({"dcgm": [server.url], "hz": SOON}, lambda _: answered.set())
    until(asked.is_set)
    pages.lane.drop(number)
    go_on.set()
    until(answered.is_set)
    until(lambda: not any(thread.name == f"page-{number}" for thread in threading.enumerate()))
    assert pages.records(DEVICE_MEMORY) == []


def test_dropping_what_is_not_read_does_nothing(pages: Pages) -> None:
    pages.lane.drop(99)


# ------------------------------------------------------------------------------------------------------ DCGM exporters


def test_the_devices_of_an_exporter_are_listed_and_read(pages: Pages) -> None:
    with serving(Exporter(Gpu(0, full_fields()), Gpu(1, full_fields())).page) as server:
        number, answer = pages.read(dcgm=[server.url])
        assert answer["page"] == number
        assert [(d["slot"], d["uuid"]) for d in answer["devices"]] == [(1000, "GPU-node-a-0"), (1001, "GPU-node-a-1")]
        until(lambda: {r.key for r in pages.records(DEVICE_MEMORY)} == {1000, 1001})
        assert {r.value for r in pages.records(DEVICE_MEMORY)} == {21_000 * 2**20}
        pages.lane.drop(number)


def test_an_exporter_that_is_none_is_refused_with_its_reason(pages: Pages, server: MetricsServer) -> None:
    _, answer = pages.read(dcgm=[server.url])
    assert "is not the page of a DCGM exporter" in answer["error"]


def test_a_device_that_left_the_exporters_page_is_a_fault_of_the_page(pages: Pages) -> None:
    exporter = Exporter(Gpu(0, full_fields()), Gpu(1, full_fields()))
    with serving(exporter.page) as server:
        number, _ = pages.read(dcgm=[server.url])
        exporter.gpus.pop()
        exporter.now_ms += 1
        until(lambda: len(pages.told) > 0)
        pages.lane.drop(number)
    assert pages.told[0] == (number, SCRAPED, "GPU-node-a-1 is no longer on any page of the DCGM exporters")
