"""The relay process, seen from pytest: its address, and the calls that went through it."""

from __future__ import annotations

import contextlib
import json
import pickle
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.system.child_process import ChildProcess
from pytest_llmperf.traffic.client.exchange import Target
from pytest_llmperf.traffic.relay.main import LENGTH, LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_llmperf.measurement.prompts import Prompt
    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall

_CHILD_MODULE = "pytest_llmperf.traffic.relay.main"
_TIMEOUT_S = 15.0
_STOP_TIMEOUT_S = 2.0
_EXIT_TIMEOUT_S = 1.0


class RelayError(Exception):
    """The relay cannot be started, has ended, or cannot do what it was asked to; the message is one line."""


class TakenCalls(NamedTuple):
    """What a relay has recorded since the last time.

    Attributes:
        calls: the calls that have ended.
        running_since: when each call that has not ended was sent, in ns.
        left_over: when each call was sent that ran during the test and began before it, in ns.
        outside: number of calls that came while no test was measured.
        prompts_outside: their prompts, as far as they can be read.
        problems: errors of the relay itself, a sentence each.
    """

    calls: list[RecordedCall]
    running_since: list[int]
    left_over: list[int]
    outside: int
    prompts_outside: list[Prompt]
    problems: list[str]


class Relay:
    """A process that listens on ``host`` and forwards to the server at ``server_url``, from here to :meth:`stop`.

    ``port`` is the port to listen on, 0 for any free one. ``obeyed`` are the fields of a request by which the server
    keeps prompts apart in its cache. With a ``token`` its address has one more part in front of the path, and what is
    asked without it is refused.

    Raises:
        RelayError: the relay cannot be started or cannot listen on the port.
    """

    def __init__(
        self,
        server_url: str,
        port: int = 0,
        obeyed: Collection[str] = (),
        *,
        host: str = LOOPBACK,
        token: str = "",
    ) -> None:
        self.server_url = server_url
        self._host = host
        self._token = token
        self._lock = threading.Lock()
        self._orders = 0
        self._connection, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = ChildProcess(_CHILD_MODULE, [str(theirs.fileno())], [theirs.fileno()])
            except OSError as error:
                self._connection.close()
                raise RelayError(f"the relay cannot be started: {error}") from None
        try:
            order = {"do": "listen", "host": host, "port": port, "token": token, "url": server_url}
            order["obeyed"] = sorted(obeyed)
            self.port: int = self._ask(order)["port"]
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def url(self) -> str:
        """The URL of the server with the address of the relay in place of the server's."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        token = f"/{self._token}" if self._token else ""
        return f"http://{host}:{self.port}{token}{Target.parse(self.server_url).path}"

    def why_ended(self) -> str:
        """Why the process has ended, in one line; "" while it runs."""
        end = self._process.why_ended()
        return f"the relay died ({end})" if end else ""

    def serve(self, server_url: str) -> None:
        """Forwards new connections to another server, and closes those on which no call is under way.

        Raises:
            RelayError: the relay has ended.
        """
        self._ask({"do": "serve", "url": server_url})
        self.server_url = server_url

    def open(self) -> None:
        """Records the calls from now on as those of a test.

        Raises:
            RelayError: the relay has ended.
        """
        self._ask({"do": "open"})

    def take(self, *, final: bool, patience_s: float = 0.0) -> TakenCalls:
        """Takes the calls that have ended; those in flight get ``patience_s`` seconds to end.

        ``final`` ends the test: it takes the calls in flight too and stops the recording.

        Raises:
            RelayError: the relay has ended; its calls are lost.
        """
        answer = self._ask({"do": "take", "final": final, "patience_s": patience_s})
        return TakenCalls(**answer)

    def stop(self) -> None:
        """Ends the process. May be called twice."""
        # For the process this is the order to end, also where one that a test has forked holds the socket too.
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._process.stop(_STOP_TIMEOUT_S)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        """Sends an order and returns the answer.

        Raises:
            RelayError: the relay has ended, does not answer in time, or cannot do it.
        """
        with self._lock:
            try:
                answer = self._converse(order)
            except TimeoutError:
                # A late answer would be taken for the answer to the next order.
                self._process.kill()
                raise RelayError(f"the relay did not answer within {_TIMEOUT_S:g} s") from None
            except OSError:
                # A process closes its connections just before its end can be seen.
                if not self._process.wait(_EXIT_TIMEOUT_S):
                    self._process.kill()
                    self._process.wait(_EXIT_TIMEOUT_S)
                raise RelayError(self.why_ended() or "the relay closed its connection") from None
            except BaseException:
                self._process.kill()  # for the same reason
                raise
        if "error" in answer:
            where = f"port {order['port']}" if order["host"] == LOOPBACK else f"{order['host']} (--llmperf-relay-host)"
            raise RelayError(f"the relay cannot listen on {where}: {answer['error']}")
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
