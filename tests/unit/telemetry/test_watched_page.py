"""A page that the real sampler process reads, from pytest's side."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sampler.client import Sampler
from pytest_llmperf.telemetry.watched_page import WatchedPage
from tests.helpers.metrics_server import MetricsServer, serving
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ASKED = ("usage", "running")


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with serving(lambda: 'usage{engine="0"} 0.25\nusage{engine="1"} 0.5\n') as server:
        yield server


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    sampler = Sampler()
    sampler.start(shared=True)
    yield sampler
    sampler.stop()


def now() -> int:
    return time.monotonic_ns()


def test_its_looks_come_from_the_process_of_the_sampler(sampler: Sampler, server: MetricsServer) -> None:
    begun = now()
    page = WatchedPage(sampler, server.url, ASKED, 100.0)
    until(lambda: len(page.looks(begun, now())) >= 3)
    page.close()
    page.close()
    first, second, *_ = page.looks(begun, now())
    assert (first.sums, first.counts) == ({"usage": 0.75}, {"usage": 2})
    assert begun < first.at_ns < second.at_ns
    assert first.took_ns > 0
    assert page.looks(begun - 10**9, begun) == []
    assert page.why_unread(begun, now()) == ""


def test_one_that_joined_reads_pages_as_well_and_they_end_with_it(sampler: Sampler, server: MetricsServer) -> None:
    joined = Sampler()
    assert joined.join(sampler.address)
    begun = now()
    page = WatchedPage(joined, server.url, ASKED, 100.0)
    until(lambda: page.looks(begun, now()))
    joined.stop()

    def stands_still() -> bool:
        read = len(server.paths)
        time.sleep(0.2)
        return len(server.paths) == read

    until(stands_still)
    assert page.looks(begun, now()) == []


def test_why_a_page_cannot_be_read_is_told_while_it_cannot(sampler: Sampler, server: MetricsServer) -> None:
    server.status = 503
    begun = now()
    page = WatchedPage(sampler, server.url, ASKED, 100.0)
    until(lambda: "503" in page.why_unread(begun, now()))
    server.status = 200
    until(lambda: page.looks(begun, now()))
    until(lambda: not page.why_unread(begun, now()))
    page.close()


def test_a_url_that_is_none_and_a_sampler_that_was_not_started_are_told(sampler: Sampler) -> None:
    page = WatchedPage(sampler, "ftp://here", ASKED, 100.0)
    assert page.looks(0, now()) == []
    assert page.why_unread(0, now()).startswith("ftp://here is not the URL of a metrics page")
    page.close()
    assert WatchedPage(Sampler(), "http://here", ASKED, 100.0).why_unread(0, now()) == "the sampler was not started"


def test_a_sampler_that_died_is_told(sampler: Sampler, server: MetricsServer) -> None:
    page = WatchedPage(sampler, server.url, ASKED, 100.0)
    assert sampler.pid is not None
    os.kill(sampler.pid, signal.SIGKILL)
    until(lambda: not sampler.alive)
    assert page.why_unread(0, now()) == "the sampler ended during the test, and looked at the engine no more"
    assert page.looks(0, now()) == []
    page.close()
