"""How a process that keeps time fares itself."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.load import Lag

if TYPE_CHECKING:
    from pytest_llmperf.system.timer import Alarm

_INTERVAL_NS = 10_000_000


class Heartbeat:
    """Sees a hundred times a second how late the event loop is, and what of a core the process takes."""

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._lags: list[float] = []
        self._due_ns = 0
        self._begun_ns = self._begun_cpu_ns = 0

    def start(self) -> None:
        self._begun_ns, self._begun_cpu_ns = time.monotonic_ns(), time.process_time_ns()
        self._wait()

    def read(self) -> dict[str, Any]:
        """``cpu_share`` and ``loop_lag`` since the start, as plain data."""
        share = (time.process_time_ns() - self._begun_cpu_ns) / max(1, time.monotonic_ns() - self._begun_ns)
        return {"cpu_share": share, "loop_lag": asdict(Lag.of(self._lags) or Lag(0.0, 0.0, 0.0, 0.0))}

    def _wait(self) -> None:
        self._due_ns = time.monotonic_ns() + _INTERVAL_NS
        self._alarm.at(self._due_ns, self._beat)

    def _beat(self) -> None:
        self._lags.append((time.monotonic_ns() - self._due_ns) / 1e9)
        self._wait()
