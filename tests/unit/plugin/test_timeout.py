"""The clock stands still while it is told to, and what is left of a test's time is exactly what was left before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, cast

import pytest

from pytest_llmperf.plugin.timeout import TimeoutClock

if TYPE_CHECKING:
    from collections.abc import Callable

ITEM = cast("pytest.Item", object())


class Settings(NamedTuple):
    """As pytest-timeout passes them."""

    timeout: float
    method: str = "signal"


class Timer:
    """What pytest-timeout does with its own hooks."""

    def __init__(self) -> None:
        self.set: list[float] = []
        self.cancelled = 0
        self.clock = TimeoutClock(cast("pytest.Config", SimpleNamespace(hook=self)))

    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Settings) -> None:
        self.clock.pytest_timeout_set_timer(item, settings)
        self.set.append(settings.timeout)

    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        assert item is ITEM
        self.clock.pytest_timeout_cancel_timer()
        self.cancelled += 1


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    return let_pass


def test_time_inside_does_not_count_and_time_outside_does(passes: Callable[[float], None]) -> None:
    timer = Timer()
    timer.pytest_timeout_set_timer(ITEM, Settings(60.0))
    passes(10)
    with timer.clock.paused():
        assert timer.cancelled == 1
        passes(300)
    assert timer.set == [60.0, 50.0]
    passes(20)
    with timer.clock.paused():
        passes(300)
    assert timer.set == [60.0, 50.0, 30.0]


def test_many_short_stops_do_not_add_up(passes: Callable[[float], None]) -> None:
    timer = Timer()
    timer.pytest_timeout_set_timer(ITEM, Settings(1.0))
    for _ in range(20):
        passes(0.04)
        with timer.clock.paused():
            pass
    assert timer.set[-1] == pytest.approx(0.2)


def test_a_time_that_is_up_strikes_soon_and_never_is_no_timer_at_all(passes: Callable[[float], None]) -> None:
    timer = Timer()
    timer.pytest_timeout_set_timer(ITEM, Settings(1.0))
    passes(5)
    with timer.clock.paused():
        pass
    assert timer.set[-1] == pytest.approx(0.1)


def test_the_clock_goes_on_after_an_error() -> None:
    timer = Timer()
    timer.pytest_timeout_set_timer(ITEM, Settings(60.0))
    with pytest.raises(ZeroDivisionError), timer.clock.paused():
        raise ZeroDivisionError
    assert len(timer.set) == 2


def test_without_a_timer_nothing_is_set(passes: Callable[[float], None]) -> None:
    timer = Timer()
    with timer.clock.paused():
        passes(1)
    timer.pytest_timeout_set_timer(ITEM, Settings(60.0))
    timer.pytest_timeout_cancel_timer(ITEM)
    with timer.clock.paused(), timer.clock.paused():
        passes(1)
    assert timer.set == [60.0]
