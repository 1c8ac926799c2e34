"""One HTTP/1.1 exchange whose every arrival is stamped, free of any input and output.

A stamp is ``time.monotonic_ns()``, taken as soon as the bytes are ours, before anybody looks at them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import h11

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pytest_llmperf.traffic.client.lag import Lateness


class TransportError(Exception):
    """The answer did not come through; the message is one line."""


class TransportTimeoutError(TransportError):
    """The server was silent for too long."""


@dataclass(frozen=True)
class Target:
    """A server, the path below which it is asked and the query of each request: the parts of a base URL."""

    origin: str
    host: str
    port: int
    path: str
    ssl_context: ssl.SSLContext | None = None
    query: str = ""

    def locate(self, path: str) -> str:
        """Returns what the first line of a request to ``path`` below the base URL asks for."""
        return f"{self.path}{path}?{self.query}" if self.query else f"{self.path}{path}"

    @property
    def authority(self) -> str:
        """Host and port as a ``Host`` header has them."""
        return self.origin.partition("://")[2]

    @staticmethod
    def parse(url: str) -> Target:
        """``http://127.0.0.1:8080/v1`` taken apart.

        Raises:
            ValueError: not an ``http`` or ``https`` URL, or one with a fragment.
        """
        parts = urlsplit(url)
        plain = url.isascii() and not any(c.isspace() for c in url) and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError(f"{url!r} is no base URL of a server: write it like 'http://127.0.0.1:8080/v1'")
        secure = parts.scheme == "https"
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        port = parts.port or (443 if secure else 80)
        return Target(origin, parts.hostname, port, parts.path.rstrip("/"), _tls() if secure else None, parts.query)


def _tls() -> ssl.SSLContext:
    import ssl

    return ssl.create_default_context()


def header_lines(target: Target, api_key: str, accept: str, *, keep: bool = True) -> list[tuple[str, str]]:
    """The headers of a POST with a JSON body, but for its length; ``keep`` the connection open after it."""
    headers = [
        ("Host", target.origin.partition("://")[2]),
        ("User-Agent", "pytest-llmperf"),
        ("Accept", accept),
        ("Accept-Encoding", "identity"),
        ("Connection", "keep-alive" if keep else "close"),
        ("Content-Type", "application/json"),
    ]
    return [*headers, ("Authorization", f"Bearer {api_key}")] if api_key else headers


def add_headers(lines: list[tuple[str, str]], added: Mapping[str, str]) -> list[tuple[str, str]]:
    """Adds headers to those of a request, in place of what has the same name."""
    names = {name.lower() for name in added}
    return [*(line for line in lines if line[0].lower() not in names), *added.items()]


class Exchange:
    """One POST and its answer.

    ``pieces`` are the body's bytes as (stamp, bytes); ``end_ns`` is the stamp of the latest arrival, which
    is the answer's last byte once it is complete. ``started`` says whether any byte of the answer came. ``timeout_s``
    bounds, in seconds, the connecting and every single silence of the server; None for the client's timeout.
    ``late`` is how late the stamps may be, None if that is not known; ``seen_sending_ns`` and ``seen_reading_ns`` are
    what was measured of it at the socket.
    """

    def __init__(
        self, target: Target, path: str, body: bytes, *, api_key: str = "", accept: str = "application/json"
    ) -> None:
        self.target = target
        self.path = target.path + path
        self._asked = target.locate(path)
        self.timeout_s: float | None = None
        self.late: Lateness | None = None
        self._body = body
        self._headers = [*header_lines(target, api_key, accept), ("Content-Length", str(len(body)))]
        self._reset()

    def adapt(self, headers: Mapping[str, str], timeout_s: float | None) -> None:
        """Sends these headers as well, and waits no longer than ``timeout_s``; None for the client's timeout."""
        self._headers = add_headers(self._headers, headers)
        self.timeout_s = timeout_s

    def _reset(self) -> None:
        self._wire = h11.Connection(h11.CLIENT)
        self.sent_ns = 0
        self.end_ns = 0
        self.started = False
        self.seen_sending_ns: int | None = None
        self.seen_reading_ns: int | None = None
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.pieces: list[tuple[int, bytes]] = []

    def begin(self) -> bytes:
        """The bytes to send, with ``sent_ns`` stamped now; what an earlier attempt received is forgotten."""
        self._reset()
        request = h11.Request(method="POST", target=self._asked, headers=self._headers)
        parts = (request, h11.Data(data=self._body), h11.EndOfMessage())
        data = b"".join(self._wire.send(part) or b"" for part in parts)
        self.sent_ns = self.end_ns = time.monotonic_ns()
        return data

    def receive(self, data: bytes, at_ns: int) -> bool:
        """Takes what arrived at ``at_ns``, ``b""`` when the connection ended; True once the answer is whole.

        Raises:
            TransportError: the connection ended too early, or what came is not HTTP.
        """
        self.end_ns = at_ns
        self.started = self.started or bool(data)
        try:
            self._wire.receive_data(data)
            if self._advance(at_ns):
                return True
        except (h11.RemoteProtocolError, ValueError) as error:  # a length of 5,000 digits is no protocol error to h11
            if data:
                raise TransportError(f"the answer is not HTTP/1.1: {error}") from None
        if data:
            return False
        if self.started:
            raise TransportError("the server closed the connection in the middle of the answer")
        raise TransportError("the server closed the connection without an answer")

    def _advance(self, at_ns: int) -> bool:
        while True:
            event = self._wire.next_event()
            if isinstance(event, h11.Response):
                self.status = event.status_code
                self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                self.pieces.append((at_ns, bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                return True
            elif not isinstance(event, h11.InformationalResponse):
                return False

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange after this one."""
        # The trailing data are what came beyond the answer, and whether the connection has ended.
        done = self._wire.our_state is self._wire.their_state is h11.DONE
        return done and self._wire.trailing_data == (b"", False)
