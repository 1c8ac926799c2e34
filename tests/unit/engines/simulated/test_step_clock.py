"""The clock of a batch, driven by a real clock that is set by hand."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from pytest_llmperf.engines.simulated.step_clock import StepClock


class HandClock:
    """A real clock set by hand, and what an event loop needs to count by it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_alone_a_request_has_the_real_time() -> None:
    real = HandClock()
    clock = StepClock(0.5, real)
    with clock.run_from(99.5) as start:
        assert clock.read() - start == pytest.approx(0.5)
        real.now += 2
        assert clock.read() - start == pytest.approx(2.5)


def test_time_passes_slower_the_more_requests_there_are() -> None:
    real = HandClock()
    clock = StepClock(0.5, real)
    with clock.run_from(100.0) as start:
        real.now += 1
        with ExitStack() as others:
            for _ in range(2):
                others.enter_context(clock.run_from(real.now))
            real.now += 4  # each second is as half a one: 1 + 0.5 * 2
            assert clock.read() - start == pytest.approx(3.0)
        real.now += 1
        assert clock.read() - start == pytest.approx(4.0)


def test_a_request_that_comes_has_not_lost_what_passed_before_it_was_seen() -> None:
    real = HandClock()
    clock = StepClock(1.0, real)
    with clock.run_from(100.0), clock.run_from(99.0) as start:
        assert clock.read() - start == pytest.approx(1.0)


def test_without_a_slowdown_it_is_the_real_time_whatever_runs() -> None:
    real = HandClock()
    clock = StepClock(0.0, real)
    with clock.run_from(100.0) as start, clock.run_from(100.0):
        real.now += 3
        assert clock.read() - start == pytest.approx(3)


class HandLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: it sets the clock to its next timer."""

    def __init__(self, real: HandClock) -> None:
        super().__init__()
        self._real = real
        self._selector.select = self._skip  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._real.now

    def _skip(self, timeout: float | None = None) -> list[object]:
        self._real.now += timeout or 0.0
        return []


def run_requests(slowdown: float, arrivals: list[float], tokens: int) -> list[float]:
    """When each of the requests has its last of so many tokens of a second each, from the beginning on."""
    real = HandClock()
    ends = [0.0] * len(arrivals)

    async def run() -> None:
        clock = StepClock(slowdown, real)

        async def request(number: int) -> None:
            await asyncio.sleep(arrivals[number])
            with clock.run_from(real.now) as start:
                for token in range(1, tokens + 1):
                    await clock.sleep_until(start + token)
                ends[number] = real.now - 100

        await asyncio.gather(*map(request, range(len(arrivals))))

    with asyncio.Runner(loop_factory=lambda: HandLoop(real)) as runner:
        runner.run(run())
    return ends


@pytest.mark.parametrize(
    ("slowdown", "arrivals", "ends"),
    [
        (0.0, [0, 0, 0], [4, 4, 4]),
        (0.5, [0], [4]),
        (0.5, [0, 0], [6, 6]),
        (0.5, [0, 0, 0], [8, 8, 8]),
        # one alone, then both; the first ends, and the other is alone again
        (1.0, [0, 2], [6, 8]),
        (1.0, [0, 10], [4, 14]),
    ],
)
def test_what_is_due_moves_with_those_that_come_and_go(
    slowdown: float, arrivals: list[float], ends: list[float]
) -> None:
    assert run_requests(slowdown, arrivals, 4) == pytest.approx(ends, abs=1e-4)


def test_a_request_that_is_cancelled_no_longer_slows_the_others() -> None:
    real = HandClock()

    async def run() -> float:
        clock = StepClock(1.0, real)

        async def request() -> None:
            with clock.run_from(real.now) as start:
                await clock.sleep_until(start + 4)

        stays, leaves = asyncio.create_task(request()), asyncio.create_task(request())
        await asyncio.sleep(4)
        leaves.cancel()
        await stays
        return real.now - 100

    with asyncio.Runner(loop_factory=lambda: HandLoop(real)) as runner:
        assert runner.run(run()) == pytest.approx(6, abs=1e-4)
