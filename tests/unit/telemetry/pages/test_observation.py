"""Pages of real servers, good ones and hostile ones."""

from __future__ import annotations

import itertools
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.measurement.pages.definition import parse_definition
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.system.prometheus import PageLook
from pytest_llmperf.telemetry.pages import observation
from pytest_llmperf.telemetry.pages.observation import PageObservation
from tests.helpers.metrics_server import serving
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

QUEUE = parse_definition(
    "latency.queue", {"series": "queue", "kind": "gauge", "take": "max", "unit": "requests", "better": "lower"}
)
HITS = parse_definition(
    "throughput.hits", {"series": "hits_total", "kind": "counter", "unit": "hits", "better": "higher"}
)


class Watched:
    """A page that another process would read: it has seen what a test says."""

    def __init__(self, *looks: PageLook) -> None:
        self.seen = looks
        self.asked: list[tuple[str, Sequence[str], float]] = []
        self.closed = False

    def __call__(self, url: str, series: Sequence[str], hz: float) -> Watched:
        self.asked.append((url, series, hz))
        return self

    def looks(self, start_ns: int, end_ns: int) -> Sequence[PageLook]:
        return self.seen

    def why_unread(self, start_ns: int, end_ns: int) -> str:
        return ""

    def close(self) -> None:
        self.closed = True


def observe(url: str, watch: Watched) -> PageObservation:
    return PageObservation(url, [QUEUE, HITS], watch)


WINDOW = Window(0, 10**9)


def test_a_page_is_read_at_both_ends_and_looked_at_in_between() -> None:
    numbers = itertools.chain([1], itertools.repeat(5))
    watch = Watched(PageLook(1, 1, {"queue": 7.0}, {"queue": 1}))
    with serving(lambda: f"queue 2\nhits_total {next(numbers)}\n") as server:
        seen = observe(server.url, watch)
        seen.end()
        found = seen.read(WINDOW)
    assert (found["latency.queue"].reading.value, found["throughput.hits"].reading.value) == (7, 4)
    assert watch.asked == [(server.url, ["queue", "hits_total", "process_start_time_seconds"], 2.0)]
    assert watch.closed


def test_a_counter_that_still_rises_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "_SETTLE_S", PATIENCE_S)
    numbers = itertools.chain([1, 2, 3, 9], itertools.repeat(10))
    with serving(lambda: f"queue 2\nhits_total {next(numbers)}\n") as server:
        seen = observe(server.url, Watched())
        seen.end()
        assert seen.read(WINDOW)["throughput.hits"].reading.value == 9


def test_a_counter_that_never_rests_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observation, "_SETTLE_S", 0.05)
    numbers = itertools.count()
    with serving(lambda: f"queue 2\nhits_total {next(numbers)}\n") as server:
        seen = observe(server.url, Watched())
        seen.end()
        assert seen.read(WINDOW)["throughput.hits"].reading.value


HANGING = threading.Event()


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (lambda: b"queue 1\nhits_total 1\n" + b"# filler\n" * (50 * 2**20 // 9), "it is longer than 16 MiB"),
        (lambda: "hits_total 1 2 3\nqueue one\n", "is not in the Prometheus text format"),
        (lambda: b"queue \xff\n", "it is not UTF-8 text"),
        (lambda: "<html>queue</html>", "the page has no queue"),
        (lambda: str(HANGING.wait(PATIENCE_S)), "did not answer within 0.2 s"),
    ],
    ids=["50 MB", "no numbers", "no text", "another page", "says nothing"],
)
def test_a_hostile_page_is_a_reason_and_comes_to_an_end(
    page: Callable[[], str | bytes], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "PATIENCE_S", 0.2 if "within" in reason else PATIENCE_S)
    HANGING.clear()
    watch = Watched()
    with serving(page) as server:
        seen = observe(server.url, watch)
        seen.end()
        HANGING.set()
    for one in seen.read(WINDOW).values():
        assert one.reading.value is None
    assert reason in seen.read(WINDOW)["latency.queue"].reading.reason
    assert watch.asked == [] or reason.startswith("the page has no")


def test_a_key_in_the_address_is_not_shown() -> None:
    seen = observe("http://127.0.0.1:1/metrics?token=hush", Watched())
    seen.end()
    reason = seen.read(Window(0, time.monotonic_ns()))["latency.queue"].reading.reason
    assert "no server listens" in reason
    assert "hush" not in reason
