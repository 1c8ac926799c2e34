"""Reading metrics pages of engines: telemetry/sampler/pages_lane.py."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import FAULT, PAGE, SERIES, Ring, RingRecord
from pytest_llmperf.telemetry.sampler.pages_lane import PagesLane, pack_number, unpack_number
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_llmperf.telemetry.records.source import SourceError

SERIES_ASKED = ["kv_usage", "running", "waiting"]
PAGE_TEXT = 'kv_usage{engine="0"} 0.25\nkv_usage{engine="1"} 0.5\nrunning 3\nrunning_total 9\n'


class Lane:
    """A lane, the records that it publishes, and the texts of its faults."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.faults: list[str] = []
        self.lane = PagesLane(self._publish, self._fault)

    def _publish(self, records: Iterable[RingRecord]) -> None:
        now = time.monotonic_ns()
        self.ring.publish(now, [record._replace(t_ns=now) for record in records])

    def _fault(self, number: int, lane: int, error: SourceError) -> int:
        self.faults.append(str(error))
        return len(self.faults) - 1

    def read(self, url: str, hz: float = 1000.0) -> int:
        return self.lane.read({"url": url, "series": SERIES_ASKED, "hz": hz})

    def records(self, *lanes: int) -> list[RingRecord]:
        return [record for record in self.ring.slice(0, self.ring.head) if record.lane in lanes]


@pytest.fixture
def lane() -> Iterator[Lane]:
    with ExitStack() as stack:
        ring = Ring.create(stack.enter_context(tempfile.TemporaryFile()).fileno(), 2**14)
        yield Lane(ring)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(lambda: PAGE_TEXT) as server:
        yield server


@pytest.mark.parametrize("value", [0.0, 0.25, -1.5, 1e300])
def test_a_number_keeps_its_bits(value: float) -> None:
    assert unpack_number(pack_number(value)) == value


def test_the_series_asked_for_are_summed_and_counted_and_the_others_left_out(lane: Lane, server: MetricsServer) -> None:
    number = lane.read(server.url)
    until(lambda: len(lane.records(PAGE)) >= 3)
    lane.lane.stop_reading(number)
    first = lane.records(PAGE)[0]
    series = [r for r in lane.records(SERIES) if r.t_ns == first.t_ns]
    assert [(r.key, r.detail, unpack_number(r.value), r.flags) for r in series] == [
        (number, 0, 0.75, 2),
        (number, 1, 3.0, 1),
    ]
    assert first.key == number
    assert first.value > 0
    assert server.connections == 1


def test_a_page_that_two_ask_for_is_read_once_and_until_both_have_left(lane: Lane, server: MetricsServer) -> None:
    number = lane.read(server.url)
    assert lane.read(server.url) == number
    lane.lane.stop_reading(number)
    seen = lane.ring.head
    until(lambda: lane.ring.head > seen + 5)
    assert server.connections == 1
    lane.lane.stop_reading(number)
    lane.lane.stop_reading(number)
    until(lambda: not _moves(lane))
    assert lane.read(server.url) == number
    until(lambda: _moves(lane))
    lane.lane.stop_reading(number)


def _moves(lane: Lane) -> bool:
    seen = lane.ring.head
    time.sleep(0.05)
    return lane.ring.head > seen


def test_what_cannot_be_read_is_a_fault_until_it_can_be_read_again(lane: Lane, server: MetricsServer) -> None:
    server.status = 500
    number = lane.read(server.url)
    until(lambda: lane.records(FAULT))
    fault = lane.records(FAULT)[0]
    assert (fault.key, fault.detail) == (number, PAGE)
    assert "the answer is 500" in lane.faults[fault.value]
    server.status = 200
    until(lambda: lane.records(PAGE))
    lane.lane.stop_reading(number)


def test_what_is_no_url_is_refused(lane: Lane) -> None:
    with pytest.raises(ValueError, match="is not the URL of a metrics page"):
        lane.read("ftp://here")
