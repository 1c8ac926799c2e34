"""A strict parser of the Prometheus text format, and a metrics page that is read repeatedly over one connection."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pytest_llmperf.system.http.proxy import find_proxy
from pytest_llmperf.system.http.responses import StrictHTTPConnection, StrictHTTPSConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

_MAX_BYTES = 64 * 2**20

_LABEL = r'[a-zA-Z_]\w*[ \t]*=[ \t]*"(?:[^"\\]|\\[\\"n])*"'
_LABELS = rf"[ \t]*(?:{_LABEL}[ \t]*(?:,[ \t]*|(?=\}})))*"
_NUMBER = r"[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)"
_LINE = re.compile(
    rf"([a-zA-Z_:][\w:]*)[ \t]*(?:\{{({_LABELS})\}}[ \t]*|(?<=[ \t]))((?i:{_NUMBER}))(?:[ \t]+(-?\d{{1,19}}))?",
    re.ASCII,
)
_PAIR = re.compile(r'(\w+)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"', re.ASCII)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"\\": "\\", '"': '"', "n": "\n"}


@dataclass(frozen=True)
class Sample:
    """One line of a page: the value of a metric with these labels. ``timestamp_ms`` is Unix time, None if not given."""

    name: str
    labels: Mapping[str, str]
    value: float
    timestamp_ms: int | None = None


@dataclass(frozen=True)
class PageLook:
    """One reading of a metrics page that is read many times: the series that were asked for.

    Attributes:
        at_ns: the middle of the time that the reading took, in ns of ``time.monotonic_ns()``.
        took_ns: how long the server took to answer.
        sums: the sum over the samples of each series, by its name; a series that the page does not have is missing.
        counts: the number of these samples.
    """

    at_ns: int
    took_ns: int
    sums: Mapping[str, float]
    counts: Mapping[str, int]


def parse(text: str) -> list[Sample]:
    """Parses a page in the Prometheus text format (version 0.0.4) into its samples, in order, without comments.

    Raises:
        ValueError: a line is not of this format; the message names the line.
    """
    samples = []
    # Only a line feed ends a line: label values may hold every other character that str.splitlines() splits at.
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip(" \t")
        if stripped and not stripped.startswith("#"):
            samples.append(_sample(stripped, number))
    return samples


def _sample(line: str, number: int) -> Sample:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"line {number} is not in the Prometheus text format: {line[:120]!r}")
    name, labels, value, timestamp = match.groups()
    try:
        pairs = _labels(labels or "")
    except ValueError as error:
        raise ValueError(f"line {number} {error}: {line[:120]!r}") from None
    return Sample(name, pairs, float(value), None if timestamp is None else int(timestamp))


@lru_cache(maxsize=4096)
def _labels(text: str) -> Mapping[str, str]:
    """The labels between braces. They are cached: a page has the same ones each time it is read."""
    pairs = _PAIR.findall(text)
    labels = {name: _ESCAPE.sub(lambda found: _ESCAPED[found[1]], value) for name, value in pairs}
    if len(labels) < len(pairs):
        raise ValueError("has a label twice")
    return MappingProxyType(labels)


def check_page_url(url: str) -> tuple[SplitResult, str]:
    """The parts of the URL of a page, and its host.

    Raises:
        ValueError: it is not one of http or https with a host, or it carries a user name.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url} is not the URL of a metrics page: write http://host:port/metrics")
    if parts.username is not None:
        raise ValueError(f"the URL of a metrics page at {parts.hostname} carries a user name; leave it out")
    return parts, parts.hostname


class MetricsPage:
    """A metrics page at a URL, read over one connection that is kept open."""

    def __init__(self, url: str, timeout: float = 2.0, most_bytes: int = _MAX_BYTES) -> None:
        """The page at ``url``; ``timeout`` is the limit in seconds for one whole reading, ``most_bytes`` for its size.

        Raises:
            ValueError: the URL is not one of http or https with a host, or it carries a user name; or its proxy is of a
                kind that is not supported.
        """
        parts, host = check_page_url(url)
        self.url = url
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        secure = parts.scheme == "https"
        kind = StrictHTTPSConnection if secure else StrictHTTPConnection
        self._connection: http.client.HTTPConnection = kind(host, parts.port)
        proxy = find_proxy(host, parts.port or http.client.HTTPS_PORT) if secure else None
        if proxy is not None:
            self._connection = kind(proxy.host, proxy.port)
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            self._connection.set_tunnel(host, parts.port, headers)

    def read(self, names: Sequence[str] = ()) -> list[Sample]:
        """Fetches the page and parses it, or with ``names`` only the samples of these.

        Raises:
            OSError: the page cannot be fetched or parsed; the message is one sentence that names the URL.
        """
        body = self._body()
        try:
            text = body.decode()
            if not names:
                return parse(text)
            begins = tuple(names)
            wanted = "\n".join(line for line in text.split("\n") if line.startswith(begins))
            return [sample for sample in parse(wanted) if sample.name in begins]
        except UnicodeDecodeError:
            problem = "it is not UTF-8 text"
        except ValueError as error:
            problem = str(error)
        raise OSError(f"{self.url} is not a metrics page: {problem}")

    def close(self) -> None:
        """Closes the connection; the next reading opens a new one. May be called twice."""
        self._connection.close()

    def _body(self) -> bytes:
        try:
            return self._fetch(time.monotonic() + self._timeout)
        except TimeoutError:
            problem = f"{self.url} did not answer within {self._timeout:g} s"
        except ConnectionRefusedError:
            problem = f"no server listens at {self.url}"
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            problem = f"{self.url} cannot be read: {cause}"
        self.close()
        raise OSError(problem)

    def _fetch(self, deadline: float) -> bytes:
        if self._connection.sock is not None:
            try:
                return self._exchange(deadline)
            except ConnectionError:
                # A server may close a kept connection at any time; a new one may still work.
                self.close()
        return self._exchange(deadline)

    def _exchange(self, deadline: float) -> bytes:
        connection = self._connection
        if connection.sock is None:
            connection.timeout = _compute_time_left(deadline)
            connection.connect()
        kept: socket.socket = connection.sock
        kept.settimeout(_compute_time_left(deadline))
        connection.request("GET", self._target, headers={"Accept": "text/plain;version=0.0.4"})
        response = connection.getresponse()
        body = bytearray()
        while not response.isclosed() and (piece := response.read1(65536)):
            body += piece
            if len(body) > self._most_bytes:
                raise OSError(f"it is longer than {self._most_bytes >> 20} MiB")
            if not response.isclosed():
                kept.settimeout(_compute_time_left(deadline))
        response.close()
        if response.status != http.client.OK:
            raise OSError(f"the answer is {response.status} {response.reason}")
        return bytes(body)


def _compute_time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
