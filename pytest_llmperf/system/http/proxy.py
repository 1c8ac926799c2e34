"""The proxy through which the environment has ``https`` servers on other hosts be asked, and the tunnel through it."""

from __future__ import annotations

import base64
import ipaddress
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from pytest_llmperf.system.http.heads import ANSWER, HTTPError, find_end, parse_answer_head

if TYPE_CHECKING:
    from collections.abc import Mapping

# The spelling that comes first wins, as with other clients.
_PROXY_NAMES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_EXCEPTION_NAMES = ("no_proxy", "NO_PROXY")
_DEFAULT_PORT = 80


class ProxyError(OSError):
    """A proxy did not open a tunnel; the message is one line."""


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy; ``authorization`` is the value of its own header, empty if it asks for none."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """Its URL with user and password, for clients that make the tunnel themselves."""
        user = ""
        if self.authorization:
            name, _, password = base64.b64decode(self.authorization.removeprefix("Basic ")).decode().partition(":")
            user = f"{quote(name, safe='')}:{quote(password, safe='')}@"
        return f"http://{user}{self}"

    def build_request(self, host: str, port: int) -> bytes:
        """The request for a tunnel to a server."""
        server = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        own = f"Proxy-Authorization: {self.authorization}\r\n" if self.authorization else ""
        return f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{own}\r\n".encode("ascii")

    def is_open(self, answer: bytes) -> bool:
        """Whether the answer has come and opens the tunnel; ``answer`` is what has arrived so far.

        Raises:
            ProxyError: it is refused, or this is no answer.
        """
        try:
            end = find_end(answer, prefix=ANSWER)
            if end < 0:
                return False
            status = parse_answer_head(answer[:end]).status
        except HTTPError as error:
            raise ProxyError(f"the answer of the proxy {self} is not HTTP/1.1: {error}") from None
        if not 200 <= status < 300:
            raise ProxyError(f"the proxy {self} opened no tunnel: HTTP {status}")
        if end < len(answer):
            raise ProxyError(f"the proxy {self} sent more than its answer before the server was asked")
        return True

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def find_proxy(host: str, port: int, environ: Mapping[str, str] | None = None) -> Proxy | None:
    """The proxy for an ``https`` server; None if it is asked directly, as one on loopback always is.

    Raises:
        ValueError: the environment names a proxy of another kind.
    """
    known = os.environ if environ is None else environ
    name, url = next(((name, known[name]) for name in _PROXY_NAMES if known.get(name)), ("", ""))
    if not url or _is_loopback(host) or _is_excepted(host, port, known):
        return None
    url = url.strip()
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        given_port = parts.port
    except ValueError as error:
        raise ValueError(f"{name} is no address of a proxy ({error}): write http://HOST:PORT") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{name} names a proxy of a kind that is not supported: write http://HOST:PORT")
    authorization = ""
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(user.encode()).decode()}"
    return Proxy(parts.hostname, given_port or _DEFAULT_PORT, authorization)


def _is_loopback(host: str) -> bool:
    name = host.lower().rstrip(".")
    address = _read_address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified  # a connection to 0.0.0.0 goes to this host


def _is_excepted(host: str, port: int, environ: Mapping[str, str]) -> bool:
    """Whether a server is one of ``NO_PROXY``: names with all below them, addresses, networks; ports count.

    Commas part them, or white space, as for curl.
    """
    listed = next((environ[name] for name in _EXCEPTION_NAMES if environ.get(name)), "")
    return any(_covers(one.lower(), host.lower().rstrip("."), port) for one in listed.replace(",", " ").split())


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, _, wanted_port = entry.rpartition(":")
    if name and wanted_port.isdigit() and (":" not in name or name.endswith("]")):
        if int(wanted_port) != port:
            return False
        entry = name
    entry = entry.removeprefix("[").removesuffix("]")
    address = _read_address(host)
    if address is not None:
        try:
            return address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    domain = entry.removeprefix("*").removeprefix(".").removesuffix(".")
    return host == domain or host.endswith(f".{domain}")


def _read_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
