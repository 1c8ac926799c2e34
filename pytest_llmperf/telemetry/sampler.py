"""The parent's side of the sampler process: start it, tell it what to watch, cut windows out of its ring."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pytest_llmperf.measurement import MemoryTrace, Window
from pytest_llmperf.telemetry.ring import GONE, Record, Ring, file_size
from pytest_llmperf.telemetry.timeline import host_trace, largest_gap_ns, totals
from pytest_llmperf.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_HZ = 200.0
START_TIMEOUT_S = 15.0
WATCH_TIMEOUT_S = 5.0
STALL_NS = 1_000_000_000
CALM_NS = 300_000_000
_CHILD_MODULE = "pytest_llmperf.telemetry.sampler_child"
_PACKAGE_HOME = Path(__file__).resolve().parents[2]


class SamplerError(Exception):
    """The sampler cannot do what was asked; the message is one line."""


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    ring: Ring
    log: IO[bytes]

    def death(self) -> str:
        """Why the process ended, in one line; empty while it runs."""
        status = self.process.poll()
        if status is None:
            return ""
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the sampler died ({how}{': ' + last[:200] if last else ''})"

    def stop(self) -> None:
        """End the process and free everything; its own end of stdin is what it waits for."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.ring.close()
        self.log.close()


class Sampler:
    """Samples the memory of process trees in a process of its own, from :meth:`start` to :meth:`stop`.

    Times are nanoseconds of ``time.monotonic_ns()``, levels bytes. A sampler that died or stalled shows as the
    ``fault`` of a trace; only :meth:`start` and :meth:`watch` raise :class:`SamplerError` for it.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still be stalled)."""
        return self._child is not None and self._child.process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._child.process.pid if self._child else None

    def start(self, hz: float = DEFAULT_HZ) -> None:
        """Start the process unless it runs; one that died is replaced, and what it watched is forgotten.

        Raises:
            SamplerError: it cannot be started, or a rate outside 0.1 to 2000 Hz.
        """
        if self.alive:
            return
        if not 0.1 <= hz <= 2000:
            raise SamplerError(f"the sampler cannot run at {hz:g} Hz: give 0.1 to 2000")
        self.stop()
        child = self._child = _launch(hz)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not child.ring.heartbeat_ns:
            reason = child.death()
            if not reason and time.monotonic() > deadline:
                reason = f"the sampler gave no sign of life in {START_TIMEOUT_S:g} s"
            if reason:
                self.stop()
                raise SamplerError(reason)
            time.sleep(0.002)

    def stop(self) -> None:
        """End the process. Traces that were read stay valid."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def watch(self, pid: int) -> None:
        """Sample the tree under ``pid`` from now on; returns when its first level is known.

        Raises:
            SamplerError: there is no such process, or the sampler gave no level of it within 5 s.
        """
        child = self._started()
        seen = child.ring.head
        self._command(child, f"watch {pid}")
        deadline = time.monotonic() + WATCH_TIMEOUT_S
        while True:
            head = child.ring.head
            for record in child.ring.slice(seen, head):
                if record.key == pid:
                    if record.flags & GONE:
                        raise SamplerError(f"there is no process {pid} to watch")
                    return
            seen = head
            if reason := child.death():
                raise SamplerError(reason)
            if time.monotonic() > deadline:
                raise SamplerError(f"the sampler gave no level of process {pid} in {WATCH_TIMEOUT_S:g} s")
            time.sleep(0.001)

    def unwatch(self, pid: int) -> None:
        """Stop sampling ``pid``; nothing happens if it is not watched or the sampler has died."""
        child = self._started()
        with contextlib.suppress(SamplerError):
            self._command(child, f"unwatch {pid}")

    def read(self, window: Window, pids: Sequence[int]) -> MemoryTrace:
        """The memory of the trees under ``pids``, added up, over a window that has ended.

        Waits for the first sample after the window, two periods and 0.2 s at most.
        """
        child = self._started()
        deadline = time.monotonic() + 2 * child.ring.period_ns / 1e9 + 0.2
        while child.ring.heartbeat_ns < window.end_ns and self.alive and time.monotonic() < deadline:
            time.sleep(0.002)
        return self._cut(child, window, pids)

    def level(self, pids: Sequence[int]) -> int | None:
        """The latest level of the trees under ``pids``, None when the sampler or one of them is gone."""
        child = self._started()
        now = time.monotonic_ns()
        records = self._records(child, now, now)
        last = {record.key: record for record in records}
        known = all(pid in last and not last[pid].flags & GONE for pid in pids)
        samples = totals(records, pids)
        return samples[-1][1] if known and samples and self.alive else None

    def settle(
        self, pids: Sequence[int], timeout_s: float = 5.0, tolerance_bytes: int = 2**20
    ) -> tuple[int | None, str]:
        """Wait until the level has stayed within ``tolerance_bytes`` for 0.3 s, counted from this call.

        Returns the level, or None and the reason why there is none.
        """
        child = self._started()
        begun = time.monotonic_ns()
        while True:
            time.sleep(0.02)
            now = time.monotonic_ns()
            if now - begun < CALM_NS and self.alive:
                continue
            trace = self._cut(child, Window(now - CALM_NS, now), pids)
            values = [value for _, value in trace.samples]
            moved = max(values) - min(values) if values else 0
            if not trace.fault and values and moved <= tolerance_bytes:
                return values[-1], ""
            if (now - begun) / 1e9 >= timeout_s or not values or not self.alive:
                moving = f"the memory still moved by {format_value(moved, BYTES)} in 0.3 s"
                return None, trace.fault or f"{moving}, {timeout_s:g} s after the test"

    def _started(self) -> _Child:
        if self._child is None:
            raise SamplerError("the sampler was not started")
        return self._child

    def _command(self, child: _Child, line: str) -> None:
        assert child.process.stdin is not None
        try:
            child.process.stdin.write(line.encode() + b"\n")
            child.process.stdin.flush()
        except BrokenPipeError:
            child.process.wait()
            raise SamplerError(child.death()) from None

    def _records(self, child: _Child, start_ns: int, end_ns: int) -> list[Record]:
        reach = largest_gap_ns(child.ring.period_ns)
        return child.ring.read(start_ns - reach, end_ns + reach)

    def _cut(self, child: _Child, window: Window, pids: Sequence[int]) -> MemoryTrace:
        heartbeat, fault = child.ring.heartbeat_ns, ""
        silent = time.monotonic_ns() - heartbeat
        if heartbeat < window.end_ns:
            fault = child.death()
            if not fault and silent > max(STALL_NS, largest_gap_ns(child.ring.period_ns)):
                fault = f"the sampler stalled for {silent / 1e9:.1f} s"
        return host_trace(
            self._records(child, window.start_ns, window.end_ns),
            window,
            pids,
            period_ns=child.ring.period_ns,
            oldest_ns=child.ring.oldest_ns,
            sampler_fault=fault,
        )


def _launch(hz: float) -> _Child:
    # Neither file has a name: nothing is left behind, however this process ends.
    log = tempfile.TemporaryFile()  # noqa: SIM115
    with tempfile.TemporaryFile(dir=_roomy_directory()) as file:
        ring = Ring.create(file.fileno())
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD_MODULE, str(file.fileno()), str(hz)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_environment(),
                pass_fds=[file.fileno()],
                start_new_session=True,  # Ctrl-C is for pytest; the sampler ends with it
            )
        except OSError as error:
            ring.close()
            log.close()
            raise SamplerError(f"the sampler cannot be started: {error}") from error
    return _Child(process, ring, log)


def _roomy_directory() -> str | None:
    """Memory rather than disk, where the whole ring would fit: a write to a full ``/dev/shm`` kills the writer."""
    shm = "/dev/shm"
    if not os.access(shm, os.W_OK):
        return None
    room = os.statvfs(shm)
    return shm if room.f_bavail * room.f_frsize > 2 * file_size() else None


def _environment() -> dict[str, str]:
    """Ours, with the package on the path where it is not installed."""
    environment = dict(os.environ)
    if _PACKAGE_HOME.name not in ("site-packages", "dist-packages"):
        paths = [environment.get("PYTHONPATH", ""), str(_PACKAGE_HOME)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
