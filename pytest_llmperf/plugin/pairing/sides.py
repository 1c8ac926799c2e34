"""What a test knows its engine by, and how it is led to another one between two runs of its body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.traffic.llm_client import LLMClient


class MakesClients(Protocol):
    """The part of a factory of clients that this file needs."""

    def clients_of(self, engine: Engine) -> list[LLMClient]:
        """The clients that it made for an engine so far."""

    def retarget(self, clients: Iterable[LLMClient], engine: Engine) -> None:
        """Has clients ask another engine from now on."""


class FollowsEngines(Protocol):
    """What asks engines and is told when one has been started again."""

    def follow(self, engine: Engine) -> None:
        """Has its clients ask a restarted engine where it listens now."""


CLIENT_FACTORIES: pytest.StashKey[list[MakesClients]] = pytest.StashKey()


class Sides:
    """Leads a test from one engine to the other.

    That is the clients that were made for it, the values of its fixtures that are the engine itself, and the address
    that an app was given. ``factories`` made the clients; ``lead`` points that address at an engine.

    Attributes:
        engine: the one that the test was set up with.
    """

    def __init__(
        self,
        item: pytest.Item,
        engine: Engine,
        factories: Sequence[MakesClients],
        lead: Callable[[Engine, Engine], None],
    ) -> None:
        self.engine = engine
        self._lead = lead
        self._places = list(_find_places(item, engine))
        self._clients = [(factory, factory.clients_of(engine)) for factory in factories]

    def switch(self, engine: Engine) -> None:
        """From now on the test asks this engine."""
        for values, name in self._places:
            values[name] = engine
        for factory, clients in self._clients:
            factory.retarget(clients, engine)
        self._lead(self.engine, engine)


def _find_places(item: pytest.Item, engine: Engine) -> list[tuple[MutableMapping[str, Any], str]]:
    """Where a test holds its engine: the values of its fixtures, and the attributes of its instance."""
    holders: list[MutableMapping[str, Any]] = [getattr(item, "funcargs", {})]
    if (instance := getattr(item, "instance", None)) is not None:
        holders.append(getattr(instance, "__dict__", {}))
    return [(values, name) for values in holders for name, value in values.items() if value is engine]
