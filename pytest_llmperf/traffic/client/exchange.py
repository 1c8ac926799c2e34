"""One HTTP/1.1 exchange whose every arrival is stamped, free of any input and output.

A stamp is ``time.monotonic_ns()``, taken as soon as the bytes are ours, before anybody looks at them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_llmperf.system.http.answer import TimedAnswer
from pytest_llmperf.system.http.heads import HTTPError, write_head
from pytest_llmperf.system.http.proxy import find_proxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from pytest_llmperf.system.http.proxy import Proxy
    from pytest_llmperf.traffic.client.lag import Lateness


class TransportError(Exception):
    """The answer did not come through; the message is one line."""


class TransportTimeoutError(TransportError):
    """The server was silent for too long."""


class TransportCancelledError(TransportError):
    """The client gave the request up."""

    def __init__(self) -> None:
        super().__init__("cancelled")


@dataclass(frozen=True)
class Target:
    """A server, the path below which it is asked and the query of each request: the parts of a base URL.

    ``proxy`` is that of the environment for this server; None if it is asked directly.
    """

    origin: str
    host: str
    port: int
    path: str
    ssl_context: ssl.SSLContext | None = None
    query: str = ""
    proxy: Proxy | None = None

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
            ValueError: not an ``http`` or ``https`` URL, or one with a fragment; or the proxy of the environment for
                this server is of a kind that is not supported.
        """
        parts = urlsplit(url)
        plain = url.isascii() and not any(c.isspace() for c in url) and not parts.fragment
        if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
            raise ValueError(f"{url!r} is no base URL of a server: write it like 'http://127.0.0.1:8080/v1'")
        secure = parts.scheme == "https"
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        port = parts.port or (443 if secure else 80)
        path = parts.path.rstrip("/")
        if not secure:
            return Target(origin, parts.hostname, port, path, query=parts.query)
        proxy = find_proxy(parts.hostname, port)
        return Target(origin, parts.hostname, port, path, _tls(), parts.query, proxy)


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
        self._start = f"POST {target.locate(path)} HTTP/1.1"
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
        self._answer = TimedAnswer()
        self.sent_ns = 0
        self.end_ns = 0
        self.seen_sending_ns: int | None = None
        self.seen_reading_ns: int | None = None

    def begin(self) -> bytes:
        """The bytes to send, with ``sent_ns`` stamped now; what an earlier attempt received is forgotten.

        Raises:
            ValueError: a header cannot be sent.
        """
        self._reset()
        data = write_head(self._start, self._headers) + self._body
        self.sent_ns = self.end_ns = time.monotonic_ns()
        return data

    def receive(self, data: bytes, at_ns: int) -> bool:
        """Takes what arrived at ``at_ns``, ``b""`` when the connection ended; True once the answer is whole.

        Raises:
            TransportError: the connection ended too early, or what came is not HTTP.
        """
        self.end_ns = at_ns
        if not data:
            fault = self._answer.why_incomplete()
            if fault:
                raise TransportError(fault)
            return True
        try:
            return self._answer.take(data, at_ns)
        except HTTPError as error:
            raise TransportError(f"the answer is not HTTP/1.1: {error}") from None

    @property
    def started(self) -> bool:
        return self._answer.last_ns is not None

    @property
    def status(self) -> int | None:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def pieces(self) -> list[tuple[int, bytes]]:
        return self._answer.pieces

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another exchange after this one."""
        return self._answer.reusable
