"""The relay from pytest's side: a process in front of one server, its address, and the calls that went through it."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.system.child_process import environment_of_ours, how_it_ended
from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.relay.main import LENGTH, LOOPBACK

if TYPE_CHECKING:
    from pytest_llmperf.traffic.relay.recorded_calls import Relayed

_CHILD_MODULE = "pytest_llmperf.traffic.relay.main"
_TIMEOUT_S = 15.0


class RelayError(Exception):
    """The relay cannot do what was asked; the message is one line."""


class Taken(NamedTuple):
    """The calls that ended since the last time, how many came outside of any test, and what the relay did wrong."""

    calls: list[Relayed]
    outside: int
    problems: list[str]


class Relay:
    """A process that listens on loopback and passes on to ``server_url``, from here to :meth:`stop`.

    ``port`` is the one wanted, 0 for any.

    Raises:
        RelayError: it cannot be started.
    """

    def __init__(self, server_url: str, port: int = 0) -> None:
        self.server_url = server_url
        self._lock = threading.Lock()
        self._orders = 0
        # None of the files has a name: nothing is left behind, however this process ends.
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _CHILD_MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                env=environment_of_ours(),
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for pytest; the relay ends with it
            )
        try:
            order = {"do": "listen", "port": port, "url": server_url}
            self.port: int = self._ask(order)["port"]
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def url(self) -> str:
        """The server's URL with the relay in place of the server: its path stays."""
        return f"http://{LOOPBACK}:{self.port}{Target.parse(self.server_url).path}"

    def death(self) -> str:
        """Why the process has ended, in one line; empty while it runs."""
        status = self._process.poll()
        return "" if status is None else f"the relay died ({how_it_ended(status, self._log)})"

    def serve(self, server_url: str) -> None:
        """From the next connection on it passes on to another server."""
        self._ask({"do": "serve", "url": server_url})
        self.server_url = server_url

    def open(self) -> None:
        """From now on calls are a test's."""
        self._ask({"do": "open"})

    def take(self, *, final: bool, patience_s: float = 0.0) -> Taken:
        """Hands over the calls that have ended; with ``final`` the others as well, and the test is over.

        Those on their way have ``patience_s`` to end.
        """
        answer = self._ask({"do": "take", "final": final, "patience_s": patience_s})
        return Taken(answer["calls"], answer["outside"], answer["problems"])

    def stop(self) -> None:
        """Ends the process; the end of the connection is what it waits for."""
        self._connection.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """The answer to an order.

        Raises:
            RelayError: it has died, does not answer in time, or cannot do it.
        """
        with self._lock:
            try:
                answer = self._converse(order)
            except TimeoutError:
                # What it knows would come too late, and be taken for the answer to the next order.
                self._process.kill()
                raise RelayError(f"the relay did not answer within {_TIMEOUT_S:g} s") from None
            except OSError:
                self._await_end()
                raise RelayError(self.death() or "the relay closed its connection") from None
            except BaseException:
                self._process.kill()  # as above
                raise
        if "error" in answer:
            raise RelayError(f"the relay cannot listen on port {order['port']}: {answer['error']}")
        return answer

    def _converse(self, order: dict[str, Any]) -> dict[str, Any]:
        deadline = time.monotonic() + _TIMEOUT_S
        self._connection.settimeout(_TIMEOUT_S)
        self._connection.sendall(json.dumps(order).encode() + b"\n")
        (length,) = LENGTH.unpack(self._receive(LENGTH.size, deadline))
        answer: dict[str, Any] = pickle.loads(self._receive(length, deadline))
        return answer

    def _receive(self, length: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < length:
            self._connection.settimeout(max(0.001, deadline - time.monotonic()))
            read = self._connection.recv(min(length - len(data), 1 << 20))
            if not read:
                raise ConnectionResetError
            data += read
        return bytes(data)

    def _await_end(self) -> None:
        """A process closes its connections just before anybody can see that it has ended."""
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
