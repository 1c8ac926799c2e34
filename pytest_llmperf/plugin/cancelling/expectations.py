"""The blocks of one test in which requests are expected to be cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.cancelling.cancelled import CancelledRequest
    from pytest_llmperf.measurement.request import RequestTiming
    from pytest_llmperf.plugin.cancelling.expectation import Expectation

Asked = tuple["Engine", "RequestTiming"]


class Expectations:
    """Sorts the requests of a test into those that count and those that were cancelled as expected."""

    def __init__(self) -> None:
        self._all: list[Expectation] = []

    def add(self, expectation: Expectation) -> None:
        """Adds a block."""
        self._all.append(expectation)

    def clear(self) -> None:
        """Forgets the blocks that have ended: a measurement begins. One that a fixture has opened goes on in it."""
        self._all = [one for one in self._all if one.is_open]

    @property
    def faults(self) -> tuple[str, ...]:
        """Why blocks were not fulfilled, a sentence each."""
        return tuple(dict.fromkeys(one.fault for one in self._all if one.fault))

    def select_counting(self, asked: Sequence[Asked]) -> list[RequestTiming]:
        """The requests that count, each given with the engine that it was sent to."""
        return [request for engine, request in asked if self._find(engine, request) is None]

    def select_cancelled(self, asked: Sequence[Asked]) -> list[CancelledRequest]:
        """The others, in order of sending."""
        found = []
        for engine, request in sorted(asked, key=lambda pair: pair[1].sent_ns):
            expectation = self._find(engine, request)
            if expectation is not None:
                others = [other for where, other in asked if where is engine and other is not request]
                found.append(expectation.describe(request, others))
        return found

    def _find(self, engine: Engine, request: RequestTiming) -> Expectation | None:
        return next((one for one in self._all if one.covers(engine, request)), None)
