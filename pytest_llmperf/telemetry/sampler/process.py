"""The sampler as a process: started or joined, its rings, and orders to it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from pytest_llmperf.system.child_process import environment_of_ours, how_it_ended
from pytest_llmperf.telemetry.records.ring import CAPACITY, Ring, file_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_TIMEOUT_S = 15.0
# Of the rings for memory, the driver's slow readings, and exporters.
_CAPACITIES = (CAPACITY, 2**18, 2**17)
# Sockets without a file, which vanish with their process, are Linux's.
ABSTRACT_SOCKETS = sys.platform.startswith("linux")
_CHILD_MODULE = "pytest_llmperf.telemetry.sampler.main"


class SamplerError(Exception):
    """The sampler cannot do what was asked; the message is one line."""


class SamplerProcess:
    """The process, its rings (memory, driver, exporters) and the way to talk to it.

    ``process`` is None for a sampler that another process of this host has started.
    """

    def __init__(
        self, rings: Sequence[Ring], connection: socket.socket, process: subprocess.Popen[bytes] | None, log: IO[bytes]
    ) -> None:
        self.ring, self.driver, self.exporters = rings
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
        return f"the sampler died ({how_it_ended(status, self._log)})"

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
        for ring in (self.ring, self.driver, self.exporters):
            ring.close()
        self._log.close()


def launch(hz: float, address: str) -> SamplerProcess:
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
                env=environment_of_ours(),
                pass_fds=[theirs.fileno(), *fds],
                # Ctrl-C is for pytest; the sampler ends with it. And a scheduler that shares cores out by session gives
                # a session of its own its turn, however many processes of the tests compute.
                start_new_session=True,
            )
        except OSError as error:
            for ring in rings:
                ring.close()
            ours.close()
            log.close()
            raise SamplerError(f"the sampler cannot be started: {error}") from error
    return SamplerProcess(rings, ours, process, log)


def join(address: str) -> SamplerProcess | None:
    """The sampler that another process of this host has started under this address; None where there is none."""
    if not (address and ABSTRACT_SOCKETS):
        return None
    connection = socket.socket(socket.AF_UNIX)
    fds: list[int] = []
    try:
        connection.settimeout(START_TIMEOUT_S)
        connection.connect("\0" + address)
        _, fds, _, _ = socket.recv_fds(connection, 1, len(_CAPACITIES))
        if len(fds) == len(_CAPACITIES):
            return SamplerProcess([Ring(fd) for fd in fds], connection, None, BytesIO())
    except (OSError, ValueError):
        pass  # nobody listens there any more, or a sampler of another version
    finally:
        for fd in fds:
            os.close(fd)
    connection.close()
    return None


def _roomy_directory() -> str | None:
    """Memory rather than disk, where the whole ring would fit: a write to a full ``/dev/shm`` kills the writer."""
    shm = "/dev/shm"
    if not os.access(shm, os.W_OK):
        return None
    room = os.statvfs(shm)
    return shm if room.f_bavail * room.f_frsize > 2 * sum(map(file_size, _CAPACITIES)) else None
