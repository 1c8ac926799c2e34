"""How the client's requests reach a model: over HTTP, or in whatever way an engine brings along."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol

from pytest_llmperf.traffic.answers import openai
from pytest_llmperf.traffic.client.connections import ConnectionPool, in_a_loop_of_its_own, perform
from pytest_llmperf.traffic.client.exchange import Exchange, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.answers.openai import Answer, Arrival
    from pytest_llmperf.traffic.client.request import Call


class Attempt(Protocol):
    """One request and what has come of it so far, in a form that its transport can ``read``.

    ``pieces`` are the body's bytes as (stamp, bytes). ``sent_ns`` is 0 until it is sent. Stamps are
    ``time.monotonic_ns()``.
    """

    path: str
    sent_ns: int
    end_ns: int
    status: int | None
    headers: dict[str, str]

    @property
    def pieces(self) -> Sequence[tuple[int, bytes]]: ...


class Transport(Protocol):
    """Carries requests to one engine and stamps what comes back."""

    def attempt(self, path: str, body: Mapping[str, Any]) -> Attempt:
        """A request, not yet sent; ``path`` as in ``/chat/completions``, ``body`` what is posted there."""

    def perform(self, attempt: Attempt) -> None:
        """Carries it out. Threads may do so at the same time.

        Raises:
            TransportError: no complete answer; what came is in the attempt.
        """

    async def aperform(self, attempt: Attempt) -> None:
        """The same in the running event loop; cancelling it ends the request."""

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        """Carries out all of them, in their order, so many at a time; a failure is noted in its call."""

    def read(self, arrival: Arrival) -> Answer:
        """What an attempt has brought, taken apart. Never raises: what is wrong stands in ``timing.error``."""

    def close(self) -> None:
        """Lets go of what is kept between requests."""


class HttpTransport:
    """Over HTTP/1.1. ``timeout`` (seconds) bounds the connecting and every single silence of the server."""

    def __init__(self, target: Target, api_key: str, timeout: float) -> None:
        self._target = target
        self._api_key = api_key
        self._timeout = timeout
        self._pool = ConnectionPool(target, timeout)

    def attempt(self, path: str, body: Mapping[str, Any]) -> Exchange:
        accept = "text/event-stream" if body["stream"] else "application/json"
        return Exchange(self._target, path, json.dumps(body).encode(), api_key=self._api_key, accept=accept)

    def perform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Exchange)
        self._pool.perform(attempt)

    async def aperform(self, attempt: Attempt) -> None:
        assert isinstance(attempt, Exchange)
        await perform(attempt, self._timeout)

    def perform_all(self, calls: Sequence[Call], concurrency: int) -> None:
        """In an event loop of its own, so it may be called from within a running one, which then waits."""
        in_a_loop_of_its_own(self._perform_all(calls, concurrency))

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
        return openai.read(arrival)

    def close(self) -> None:
        self._pool.close()
