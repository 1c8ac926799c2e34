"""Opens connections to a server: directly, or through the proxy of the environment."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, TypeVar

from pytest_llmperf.system.http.proxy import ProxyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.system.http.proxy import Proxy
    from pytest_llmperf.traffic.client.exchange import Target

    ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

_READ_SIZE = 4096


def open_socket(target: Target, timeout: float) -> socket.socket:
    """A blocking connection to the server, not yet encrypted; ``timeout`` bounds the connecting, in seconds.

    Raises:
        OSError: it cannot be opened.
    """
    proxy = target.proxy
    if proxy is None:
        return socket.create_connection((target.host, target.port), timeout=timeout)
    connection = socket.create_connection((proxy.host, proxy.port), timeout=timeout)
    try:
        connection.sendall(proxy.build_request(target.host, target.port))
        answer = b""
        while not proxy.is_open(answer):
            answer += _require(connection.recv(_READ_SIZE), proxy)
    except BaseException:
        connection.close()
        raise
    return connection


async def open_connection(create: Callable[[], ProtocolT], target: Target) -> tuple[asyncio.BaseTransport, ProtocolT]:
    """A connection to the server in the running event loop.

    Raises:
        OSError: it cannot be opened.
    """
    loop = asyncio.get_running_loop()
    if target.proxy is None:
        return await loop.create_connection(create, target.host, target.port, ssl=target.ssl_context)
    tunnel = await _open_tunnel(target, target.proxy)
    try:
        return await loop.create_connection(
            create, sock=tunnel, ssl=target.ssl_context, server_hostname=target.host if target.ssl_context else None
        )
    except BaseException:
        tunnel.close()
        raise


async def _open_tunnel(target: Target, proxy: Proxy) -> socket.socket:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _, address = found[0]
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(connection, address)
        await loop.sock_sendall(connection, proxy.build_request(target.host, target.port))
        answer = b""
        while not proxy.is_open(answer):
            answer += _require(await loop.sock_recv(connection, _READ_SIZE), proxy)
    except BaseException:
        connection.close()
        raise
    return connection


def _require(data: bytes, proxy: Proxy) -> bytes:
    if not data:
        raise ProxyError(f"the proxy {proxy} closed the connection without an answer")
    return data
