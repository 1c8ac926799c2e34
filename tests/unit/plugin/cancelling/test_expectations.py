"""Which requests a block covers that was opened before the measurement."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.plugin.cancelling.expectation import Expectation
from pytest_llmperf.plugin.cancelling.expectations import Expectations

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine

ENGINE = cast("Engine", SimpleNamespace(title="e 1", insight=SimpleNamespace(count_running=lambda: Missing("silent"))))


class Sent:
    def __init__(self) -> None:
        self.requests: list[RequestTiming] = []

    def send_and_cancel(self) -> RequestTiming:
        now_ns = time.monotonic_ns()
        self.requests.append(RequestTiming(now_ns, now_ns, (), error="cancelled", cancelled=True))
        return self.requests[-1]

    def list_ended(self, engine: Engine, since_ns: int) -> list[RequestTiming]:
        return self.requests

    def count_running_since(self, since_ns: int) -> int:
        return 0


def test_a_block_of_a_fixture_goes_on_in_the_test_and_one_that_has_ended_is_forgotten() -> None:
    found, sent = Expectations(), Sent()
    block = Expectation(ENGINE, sent, 1.0)
    found.add(block)
    with block:
        found.clear()
        cancelled = sent.send_and_cancel()
        asked = [(ENGINE, cancelled)]
        assert (found.select_counting(asked), len(found.select_cancelled(asked))) == ([], 1)
    found.clear()
    assert (found.select_counting(asked), found.select_cancelled(asked)) == ([cancelled], [])
