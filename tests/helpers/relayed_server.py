"""A server whose connections the test itself plays, behind a relay."""

from __future__ import annotations

import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

from pytest_llmperf.traffic.relay.process import Relay
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.traffic.relay.recorded_calls import RecordedCall


class Played:
    """A relay, opened for a test, in front of a socket that listens."""

    def __init__(self, listener: socket.socket, relay: Relay, stack: ExitStack) -> None:
        self._listener = listener
        self._stack = stack
        self.relay = relay

    def connect(self, port: int = 0) -> tuple[socket.socket, socket.socket]:
        """The app's end of a connection through the relay, or through that on ``port``, and the server's."""
        address = ("127.0.0.1", port or self.relay.port)
        app = self._stack.enter_context(socket.create_connection(address, PATIENCE_S))
        return app, self.accept()

    def accept(self) -> socket.socket:
        """The server's end of the next connection from the relay."""
        server, _ = self._listener.accept()
        server.settimeout(PATIENCE_S)
        return self._stack.enter_context(server)

    def leave(self) -> Self:
        """Nobody listens any more."""
        self._listener.close()
        return self

    def calls(self, *, final: bool = False) -> list[RecordedCall]:
        """Those that have ended; with ``final`` all."""
        return self.relay.take(final=final, patience_s=0 if final else PATIENCE_S).calls


@contextmanager
def played(path: str = "/v1") -> Iterator[Played]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE_S)
        relay = Relay(f"http://127.0.0.1:{listener.getsockname()[1]}{path}")
        stack.callback(relay.stop)
        relay.open()
        yield Played(listener, relay, stack)


def read(connection: socket.socket, length: int) -> bytes:
    """Exactly so many bytes, or what there is before the end."""
    data = bytearray()
    while len(data) < length and (piece := connection.recv(length - len(data))):
        data += piece
    return bytes(data)
