"""Requests over HTTP/1.1, blocking or in an event loop."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.client.api import HttpApi
from pytest_llmperf.traffic.client.connections import ConnectionPool, perform, run_in_own_loop
from pytest_llmperf.traffic.client.exchange import Exchange, Target
from pytest_llmperf.traffic.client.lag import find_beat_of_loop, find_beat_of_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.answers.answer import Answer, Arrival
    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint
    from pytest_llmperf.traffic.client.request import Attempt, Call
    from pytest_llmperf.traffic.client.transport import Transport


def find_api(endpoint: Endpoint, dialect: Dialect) -> HttpApi:
    """Returns the form in which an engine is asked over HTTP."""
    return HttpApi(endpoint.url) if dialect.api is None else dialect.api(endpoint)


def open_transport(endpoint: Endpoint, dialect: Dialect, timeout: float) -> Transport:
    """Creates the transport to an engine: its own, or one over HTTP.

    Raises:
        ValueError: the address is no URL of a server.
    """
    if dialect.transport is not None:
        return dialect.transport(endpoint)
    return HttpTransport(find_api(endpoint, dialect), endpoint.api_key, timeout)


class HttpTransport:
    """Over HTTP/1.1. ``timeout`` (seconds) bounds the connecting and every single silence of the server.

    Raises:
        ValueError: the URL of ``api`` is not one of a server.
    """

    def __init__(self, api: HttpApi, api_key: str, timeout: float) -> None:
        self._api = api
        self._target = Target.parse(api.url)
        self._api_key = api_key
        self._timeout = timeout
        self._pool = ConnectionPool(self._target, timeout)

    def attempt(self, path: str, body: Mapping[str, Any]) -> Exchange:
        accept = "text/event-stream" if body.get("stream") else "application/json"
        path, body = self._api.translate(path, body)
        return Exchange(self._target, path, json.dumps(body).encode(), api_key=self._api_key, accept=accept)

    def perform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Exchange)
        with find_beat_of_threads().beside(attempt):
            self._pool.perform(attempt)

    async def aperform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Exchange)
        with find_beat_of_loop().beside(attempt):
            await perform(attempt, self._timeout)

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        """Uses an event loop of its own, so it may be called from within a running one, which then waits."""
        run_in_own_loop(self._perform_all(calls, concurrency))

    def cancel(self) -> None:
        self._pool.cancel()

    async def _perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        waiting = iter(calls)

        async def perform_next() -> None:
            for call in waiting:
                with call.watched():
                    await self.aperform(call.attempt)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(calls))):
                group.create_task(perform_next())

    def read(self, arrival: Arrival) -> Answer:
        return self._api.read(arrival)

    def close(self) -> None:
        self._pool.close()
