from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.kv_cache.poller import Poller
from pytest_llmperf.system.prometheus import MetricsPage
from tests.helpers.metrics_server import serving
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.system.prometheus import Sample


def first(samples: Sequence[Sample], asked_ns: int, at_ns: int) -> tuple[int, float]:
    if not samples:
        raise ValueError("nothing on the page")
    return at_ns, samples[0].value


def test_it_reads_over_one_connection_until_it_is_stopped() -> None:
    values = iter(range(1000))
    with serving(lambda: f"blocks {next(values)}\n") as server:
        poller = Poller(MetricsPage(f"{server.url}/metrics/"), first, hz=200)
        until(lambda: len(poller.polls) >= 5)
        poller.stop()
        seen = list(poller.polls)
        poller.stop()
        assert poller.polls == seen
        assert server.connections == 1
    assert [value for _, value in seen] == list(range(len(seen)))
    assert sorted(seen) == seen


def test_what_cannot_be_read_is_told_and_forgotten_once_it_can_be_read_again() -> None:
    with serving(lambda: "blocks 1\n") as server:
        server.status = 500
        poller = Poller(MetricsPage(f"{server.url}/metrics/"), first, hz=200)
        until(lambda: poller.failure)
        assert "500" in poller.failure
        assert poller.polls == []
        server.status = 200
        until(lambda: poller.polls)
        poller.stop()
        assert poller.failure == ""


def test_a_page_without_what_is_wanted_is_a_failure() -> None:
    with serving(lambda: "\n") as server:
        poller = Poller(MetricsPage(server.url), first, hz=200)
        until(lambda: poller.failure)
        poller.stop()
    assert poller.failure == "nothing on the page"
    assert poller.polls == []
