"""The sampler process as pytest sees it: starts or joins it, maps its rings, sends it orders."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from pytest_llmperf.system.child_process import ChildProcess
from pytest_llmperf.telemetry.records.ring import CAPACITY, Ring, file_size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

START_TIMEOUT_S = 15.0
# Of the rings for memory, the driver's slow readings, and exporters with pages: 20 readings a second of a page with
# three series fill the last one in an hour.
_CAPACITIES = (CAPACITY, 2**18, 2**18)
# Sockets without a file, which vanish with their process, are Linux's.
ABSTRACT_SOCKETS = sys.platform.startswith("linux")
_CHILD_MODULE = "pytest_llmperf.telemetry.sampler.main"


class SamplerError(Exception):
    """The sampler cannot do what it was asked to; the message is one line."""


class SamplerProcess:
    """The process, its rings (memory, driver, exporters) and the way to talk to it.

    ``process`` is None for a sampler that another process of this host has started.
    """

    def __init__(self, rings: Sequence[Ring], connection: socket.socket, process: ChildProcess | None) -> None:
        self.ring, self.driver, self.exporters = rings
        self.process = process
        self.started_ns = time.monotonic_ns()
        self._connection = connection
        self._rest = b""
        self._next = 0

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        if self.process is not None:
            return self.process.ended
        try:
            poll = select.poll()
            poll.register(self._connection, select.POLLIN)
            return bool(poll.poll(0)) and self._connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    def why_ended(self) -> str:
        """Why the process ended, in one line; "" while it runs."""
        if not self.ended:
            return ""
        if self.process is None:
            return "the sampler of this run ended"
        return f"the sampler died ({self.process.why_ended()})"

    def ask(self, order: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        """Sends an order and returns its answer.

        Raises:
            SamplerError: the process has ended.
            TimeoutError: no answer came within ``timeout_s``; one that comes later is ignored.
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
                self.process.wait(1)
            raise SamplerError(self.why_ended() or "the sampler closed its connection") from None

    def stop(self) -> None:
        """Ends the process if this one has started it, and closes the connection and the rings. May be called twice."""
        # For the process this is the order to end, also where one that a test has forked holds the socket too.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        if self.process is not None:
            self.process.stop(grace_s=2)
        for ring in (self.ring, self.driver, self.exporters):
            ring.close()


def launch(hz: float, address: str) -> SamplerProcess:
    """Starts a sampler that reads memory ``hz`` times a second; others may join it at ``address``, unless it is "".

    Raises:
        SamplerError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as stack:
        directory = _roomy_directory()
        # The files have no name: nothing is left behind, however this process ends.
        files = [stack.enter_context(tempfile.TemporaryFile(dir=directory)) for _ in _CAPACITIES]
        fds = [file.fileno() for file in files]
        rings = [Ring.create(fd, capacity) for fd, capacity in zip(fds, _CAPACITIES, strict=True)]
        arguments = [str(hz), str(theirs.fileno()), address, *map(str, fds)]
        try:
            process = ChildProcess(_CHILD_MODULE, arguments, [theirs.fileno(), *fds])
        except OSError as error:
            for ring in rings:
                ring.close()
            ours.close()
            raise SamplerError(f"the sampler cannot be started: {error}") from error
    return SamplerProcess(rings, ours, process)


def join(address: str) -> SamplerProcess | None:
    """Joins the sampler that another process of this host started under this address; None if there is none."""
    if not (address and ABSTRACT_SOCKETS):
        return None
    connection = socket.socket(socket.AF_UNIX)
    fds: list[int] = []
    try:
        connection.settimeout(START_TIMEOUT_S)
        connection.connect("\0" + address)
        _, fds, _, _ = socket.recv_fds(connection, 1, len(_CAPACITIES))
        if len(fds) == len(_CAPACITIES):
            return SamplerProcess([Ring(fd) for fd in fds], connection, None)
    except (OSError, ValueError):
        pass  # no sampler listens there any more, or one of another version
    finally:
        for fd in fds:
            os.close(fd)
    connection.close()
    return None


def _roomy_directory() -> str | None:
    """``/dev/shm`` if all rings fit in it, else None: a write to a full ``/dev/shm`` kills the writer."""
    shm = "/dev/shm"
    if not os.access(shm, os.W_OK):
        return None
    room = os.statvfs(shm)
    return shm if room.f_bavail * room.f_frsize > 2 * sum(map(file_size, _CAPACITIES)) else None
