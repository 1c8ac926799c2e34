"""Measures event-loop lag and CPU share of the load client."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Lag

if TYPE_CHECKING:
    from pytest_llmperf.system.timer import Timer

_INTERVAL_NS = 10_000_000


class LoopLag:
    """Measures, a hundred times a second, how late the event loop is, and how much of a core the process uses."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._lags: list[float] = []
        self._due_ns = 0
        self._begun_ns = self._begun_cpu_ns = 0

    def start(self) -> None:
        """Begins to measure."""
        self._begun_ns, self._begun_cpu_ns = time.monotonic_ns(), time.process_time_ns()
        self._wait()

    def read(self) -> dict[str, Any]:
        """Returns ``cpu_share`` (1 is one core) and ``loop_lag`` (seconds) since the start, as plain data."""
        share = (time.process_time_ns() - self._begun_cpu_ns) / max(1, time.monotonic_ns() - self._begun_ns)
        return {"cpu_share": share, "loop_lag": asdict(Lag.of(self._lags) or Lag(0.0, 0.0, 0.0, 0.0))}

    def _wait(self) -> None:
        self._due_ns = time.monotonic_ns() + _INTERVAL_NS
        self._timer.call_at(self._due_ns, self._measure)

    def _measure(self) -> None:
        self._lags.append((time.monotonic_ns() - self._due_ns) / 1e9)
        self._wait()
