"""The parent's side of the sampler process: start it, tell it what to watch, cut windows out of its ring."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_llmperf.measurement import MemoryTrace, Window
from pytest_llmperf.telemetry.ring import CAPACITY, GONE, Record, Ring, file_size
from pytest_llmperf.telemetry.timeline import host_trace, largest_gap_ns, totals
from pytest_llmperf.units import BYTES, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_HZ = 200.0
START_TIMEOUT_S = 15.0
WATCH_TIMEOUT_S = 5.0
STALL_NS = 1_000_000_000
CALM_NS = 300_000_000
# Of the rings for memory, the driver's slow readings, and pages.
_CAPACITIES = (CAPACITY, 2**18, 2**17)
# Sockets without a file, which vanish with their process, are Linux's.
_ABSTRACT = sys.platform.startswith("linux")
_CHILD_MODULE = "pytest_llmperf.telemetry.sampler_child"
_PACKAGE_HOME = Path(__file__).resolve().parents[2]


class SamplerError(Exception):
    """The sampler cannot do what was asked; the message is one line."""


class _Child:
    """The process, its rings (memory, driver, pages) and the way to talk to it.

    ``process`` is None for a sampler that another process of this host has started.
    """

    def __init__(
        self, rings: Sequence[Ring], connection: socket.socket, process: subprocess.Popen[bytes] | None, log: IO[bytes]
    ) -> None:
        self.ring, self.driver, self.pages = rings
        self.process = process
        self.started_ns = time.monotonic_ns()
        self._log = log
        self._connection = connection
        self._rest = b""
        self._next = 0

    @property
    def ended(self) -> bool:
        if self.process is not None:
            return self.process.poll() is not None
        try:
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            return bool(poll.poll(0)) and self._connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    def death(self) -> str:
        """Why the process ended, in one line; empty while it runs."""
        if not self.ended:
            return ""
        if self.process is None:
            return "the sampler of this run ended"
        status = self.process.wait()
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"the sampler died ({how}{': ' + last[:200] if last else ''})"

    def ask(self, order: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """The answer to an order.

        Raises:
            SamplerError: the process has ended.
            TimeoutError: there was no answer in time; it is passed over when it comes.
        """
        self._next += 1
        deadline = time.monotonic() + timeout_s
        try:
            self._connection.settimeout(timeout_s)
            self._connection.sendall(json.dumps({"id": self._next, **order}).encode() + b"\n")
            while True:
                while b"\n" in self._rest:
                    line, self._rest = self._rest.split(b"\n", 1)
                    answer: dict[str, Any] = json.loads(line)
                    if answer.pop("id") == self._next:
                        return answer
                self._connection.settimeout(max(0.001, deadline - time.monotonic()))
                read = self._connection.recv(65536)
                if not read:
                    raise ConnectionResetError
                self._rest += read
        except (ConnectionError, BrokenPipeError):
            if self.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=1)
            raise SamplerError(self.death() or "the sampler closed its connection") from None

    def stop(self) -> None:
        """End the process and free everything; the end of the connection is what it waits for.

        One that a wedged driver holds cannot even be killed: it is left behind rather than waited for.
        """
        self._connection.close()
        if self.process is not None:
            try:
                self.process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self.process.kill()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=2)
            if self.process.returncode is None:
                self.process.returncode = -signal.SIGKILL  # or Popen would warn of it at exit
        for ring in (self.ring, self.driver, self.pages):
            ring.close()
        self._log.close()


class Sampler:
    """Samples the memory of process trees in a process of its own, from :meth:`start` to :meth:`stop`.

    Times are nanoseconds of ``time.monotonic_ns()``, levels bytes. A sampler that died or stalled shows as the
    ``fault`` of a trace; only :meth:`start` and :meth:`watch` raise :class:`SamplerError` for it.
    """

    def __init__(self) -> None:
        self._child: _Child | None = None
        self._address = ""

    @property
    def alive(self) -> bool:
        """Whether the process runs (it may still be stalled)."""
        return self._child is not None and not self._child.ended

    @property
    def pid(self) -> int | None:
        """Of the process, where this one has started it."""
        return self._child.process.pid if self._child and self._child.process else None

    @property
    def address(self) -> str:
        """Where other processes of this host may :meth:`join`; empty where they cannot."""
        return self._address

    @property
    def memory(self) -> Ring:
        """The ring of the memory lane."""
        return self._started().ring

    @property
    def driver(self) -> Ring:
        """The ring of the driver's slow readings."""
        return self._started().driver

    @property
    def pages(self) -> Ring:
        """The ring of exporters and metrics pages."""
        return self._started().pages

    @property
    def started_ns(self) -> int:
        """When this sampler was started or joined: another number, another sampler."""
        return self._started().started_ns

    def death(self) -> str:
        """Why the sampler has ended, in one line; empty while it runs."""
        return self._started().death()

    def start(self, hz: float = DEFAULT_HZ, *, shared: bool = False) -> None:
        """Start the process unless it runs; one that died is replaced, and what it watched is forgotten.

        With ``shared`` other processes of this user may join it under its ``address``.

        Raises:
            SamplerError: it cannot be started, or a rate outside 0.1 to 2000 Hz.
        """
        if self.alive:
            return
        if not 0.1 <= hz <= 2000:
            raise SamplerError(f"the sampler cannot run at {hz:g} Hz: give 0.1 to 2000")
        self.stop()
        self._address = f"pytest-llmperf-{os.getpid()}-{secrets.token_hex(8)}" if shared and _ABSTRACT else ""
        child = self._child = _launch(hz, self._address)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not child.ring.heartbeat_ns:
            reason = child.death()
            if not reason and time.monotonic() > deadline:
                reason = f"the sampler gave no sign of life in {START_TIMEOUT_S:g} s"
            if reason:
                self.stop()
                raise SamplerError(reason)
            time.sleep(0.002)

    def join(self, address: str) -> bool:
        """Use the sampler that another process of this host has started; False where there is none."""
        self.stop()
        if not (address and _ABSTRACT):
            return False
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(START_TIMEOUT_S)
            connection.connect("\0" + address)
            _, fds, _, _ = socket.recv_fds(connection, 1, 3)
            rings = [Ring(fd) for fd in fds]
        except (OSError, ValueError):
            connection.close()
            return False
        for fd in fds:
            os.close(fd)
        self._child = _Child(rings, connection, None, BytesIO())
        self._address = address
        return True

    def stop(self) -> None:
        """End the process, or leave the one of another. Traces that were read stay valid."""
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
        self.ask("watch", pid=pid)
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
        self._started()
        with contextlib.suppress(SamplerError):
            self.ask("unwatch", pid=pid)

    def read(self, window: Window, pids: Sequence[int]) -> MemoryTrace:
        """The memory of the trees under ``pids``, added up, over a window that has ended."""
        self.wait(window)
        return self._cut(self._started(), window, pids)

    def wait(self, window: Window) -> None:
        """Until there is a sample after the window: two periods and 0.2 s at most, a second inside a driver call."""
        child = self._started()
        begun = time.monotonic_ns()
        while child.ring.heartbeat_ns < window.end_ns and self.alive:
            time.sleep(0.002)
            patience = STALL_NS + CALM_NS if child.ring.call[0] else 2 * child.ring.period_ns + CALM_NS
            if time.monotonic_ns() - begun > patience:
                return

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

    def ask(self, what: str, timeout_s: float = WATCH_TIMEOUT_S, **details: Any) -> dict[str, Any]:
        """Have the sampler process do something, and get its answer.

        Raises:
            SamplerError: it has ended, it does not answer, or what was asked cannot be had.
        """
        child = self._started()
        try:
            answer = child.ask({"do": what, **details}, timeout_s)
        except TimeoutError:
            raise SamplerError(self.hang() or f"the sampler did not answer within {timeout_s:g} s") from None
        if "error" in answer:
            raise SamplerError(answer["error"])
        return answer

    def hang(self) -> str:
        """Which driver call has not returned for a second, in a sentence; empty when there is none."""
        child = self._started()
        for ring in (child.ring, child.driver):
            call, since_ns = ring.call
            waited = time.monotonic_ns() - since_ns
            if call and waited > STALL_NS and not child.ended:
                return f"the driver hangs: {call} has not returned for {waited / 1e9:.1f} s"
        return ""

    def _records(self, child: _Child, start_ns: int, end_ns: int) -> list[Record]:
        reach = largest_gap_ns(child.ring.period_ns)
        return child.ring.read(start_ns - reach, end_ns + reach)

    def _cut(self, child: _Child, window: Window, pids: Sequence[int]) -> MemoryTrace:
        heartbeat, fault = child.ring.heartbeat_ns, ""
        silent = time.monotonic_ns() - heartbeat
        hang = self.hang() if heartbeat < window.end_ns else ""
        if heartbeat < window.end_ns and not hang:
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
            missing=hang,
        )


def _launch(hz: float, address: str) -> _Child:
    # None of the files has a name: nothing is left behind, however this process ends.
    log = tempfile.TemporaryFile()  # noqa: SIM115
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as stack:
        directory = _roomy_directory()
        files = [stack.enter_context(tempfile.TemporaryFile(dir=directory)) for _ in _CAPACITIES]
        fds = [file.fileno() for file in files]
        rings = [Ring.create(fd, capacity) for fd, capacity in zip(fds, _CAPACITIES, strict=True)]
        command = [sys.executable, "-P", "-m", _CHILD_MODULE, str(hz), str(theirs.fileno()), address, *map(str, fds)]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_environment(),
                pass_fds=[theirs.fileno(), *fds],
                start_new_session=True,  # Ctrl-C is for pytest; the sampler ends with it
            )
        except OSError as error:
            for ring in rings:
                ring.close()
            ours.close()
            log.close()
            raise SamplerError(f"the sampler cannot be started: {error}") from error
    return _Child(rings, ours, process, log)


def _roomy_directory() -> str | None:
    """Memory rather than disk, where the whole ring would fit: a write to a full ``/dev/shm`` kills the writer."""
    shm = "/dev/shm"
    if not os.access(shm, os.W_OK):
        return None
    room = os.statvfs(shm)
    return shm if room.f_bavail * room.f_frsize > 2 * sum(map(file_size, _CAPACITIES)) else None


def _environment() -> dict[str, str]:
    """Ours, with the package on the path where it is not installed."""
    environment = dict(os.environ)
    if _PACKAGE_HOME.name not in ("site-packages", "dist-packages"):
        paths = [environment.get("PYTHONPATH", ""), str(_PACKAGE_HOME)]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return environment


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
