"""Requests as lanes to draw: reports/wire/lanes.py."""

from __future__ import annotations

from dataclasses import replace

from pytest_llmperf.measurement.request import RequestTiming, ServerTimes
from pytest_llmperf.reports.wire.lanes import MOST_LANES, lanes_to_wire
from tests.helpers.report_samples import MS, START, request


def lanes(*requests: RequestTiming) -> list[list[object]]:
    found: list[list[object]] = lanes_to_wire(requests, START)["lanes"]
    return found


def test_a_lane_has_the_moments_of_its_request_in_seconds_and_how_it_ended() -> None:
    times = ServerTimes(prompt=20 * MS, decode=190 * MS, total=250 * MS)
    short = replace(request(300), asked_tokens=64)
    assert lanes(replace(request(0), server=times), short, request(600, error="HTTP 500")) == [
        [0.0, 0.1, 0.291, "answered", 0.04],
        [0.3, 0.4, 0.591, "short", None],
        [0.6, None, 0.605, "failed", None],
    ]


def test_of_many_requests_those_that_failed_are_kept_first_and_the_others_evenly() -> None:
    many = [request(at, error="HTTP 500" if at % 100 == 7 else None) for at in range(1000)]
    found = lanes_to_wire(many, START)
    assert found["lanes_of"] == 1000
    assert len(found["lanes"]) == MOST_LANES
    assert sum(lane[3] == "failed" for lane in found["lanes"]) == 10
    assert [lane[0] for lane in found["lanes"]] == sorted(lane[0] for lane in found["lanes"])
    assert (found["lanes"][0][0], found["lanes"][-1][0]) == (0.0, 0.999)


def test_of_more_failures_than_lanes_they_are_thinned_as_well() -> None:
    found = lanes_to_wire([request(at, error=None if at else "HTTP 500") for at in range(5)] * 300, START)
    assert sum(lane[3] == "failed" for lane in found["lanes"]) == MOST_LANES


def test_no_request_has_no_lane() -> None:
    assert lanes_to_wire((), START) == {"lanes": [], "lanes_of": 0}
