"""Pauses the timer of pytest-timeout while an engine starts: that time is not charged to the test."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# pytest-timeout prints the duration in its message: 60.0 s, not 59.99871 s.
_DIGITS = 1
_LEAST_S = 0.1


class _Timer(NamedTuple):
    item: pytest.Item
    settings: Any  # a named tuple of pytest-timeout's
    ends: float


class TimeoutClock:
    """Follows the hooks by which pytest-timeout sets its timer, and uses them to pause it."""

    def __init__(self, config: pytest.Config) -> None:
        self._hook = config.hook
        self._timer: _Timer | None = None

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> None:
        """Remembers the timer of a test, so that it can be stopped and started again."""
        self._timer = _Timer(item, settings, time.monotonic() + settings.timeout)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_timeout_cancel_timer(self) -> None:
        """Forgets the timer of a test that has ended."""
        self._timer = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Pauses the timer for the duration of the ``with`` block; the caller must have a time limit of its own."""
        timer, since = self._timer, time.monotonic()
        if timer is None:
            yield
            return
        self._hook.pytest_timeout_cancel_timer(item=timer.item)
        try:
            yield
        finally:
            left = max(round(timer.ends - since, _DIGITS), _LEAST_S)
            self._hook.pytest_timeout_set_timer(item=timer.item, settings=timer.settings._replace(timeout=left))
            # Kept unrounded here, so that rounding does not add up.
            self._timer = timer._replace(ends=timer.ends + time.monotonic() - since)
