"""Tests that override ``llm_engine_args`` below the root get an engine of their own, whatever the order of the tests.

pytest makes a fixture of session scope once, of what the first test that needs it has overridden. Here each set of
overrides becomes a parameter without an id, and pytest makes a fixture anew when its parameter changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec

    Definitions = Mapping[str, Sequence[pytest.FixtureDef[Any]]]
    """The definitions of each fixture that a test can see, the one that it uses last."""
    Find = Callable[[str], Sequence[pytest.FixtureDef[Any]] | None]
    """Finds those of one fixture, None if there is no such fixture."""

Overrides = tuple[tuple[str, str], ...]
"""The fixtures that are overridden below the root, each with the folder, module or class that does; sorted."""


class EngineChoice(NamedTuple):
    """The parameter of ``llm_engine``: which engine, None in a run without one, and what is overridden for it."""

    spec: EngineSpec | None
    overrides: Overrides = ()


def parametrize_engine(metafunc: pytest.Metafunc, engines: Sequence[EngineSpec]) -> Overrides | None:
    """Runs a test once per engine if there are several, and on an engine with the settings that it has overridden.

    Returns what is overridden for it; None for a test that does not use ``llm_engine``.
    """
    if "llm_engine" not in metafunc.fixturenames:
        return None
    definitions: Definitions = metafunc._arg2fixturedefs
    family = _find_family(definitions.get, "llm_base_url", "llm_engine")
    overrides = _make_overrides(family)
    stale = _find_stale(definitions, list(family))
    if len(engines) > 1:
        choices, ids = [EngineChoice(spec, overrides) for spec in engines], [spec.label for spec in engines]
        metafunc.parametrize("llm_engine", choices, ids=ids, indirect=True, scope="session")
    elif "llm_engine" in stale:
        _add_hidden(metafunc, "llm_engine", EngineChoice(engines[0] if engines else None, overrides), "session")
    for name, scope in stale.items():
        if name != "llm_engine":
            _add_hidden(metafunc, name, overrides, scope)
    return overrides


def find_overrides(item: pytest.Item) -> Overrides:
    """What makes the ``llm_engine_args`` of a test, also if it asks for ``llm_engine`` only while it runs."""
    manager = item.session._fixturemanager
    return _make_overrides(_find_family(lambda name: manager.getfixturedefs(name, item), "llm_engine_args"))


def describe_overrides(overrides: Overrides) -> str:
    """``llm_engine_args of sub/test_it.py``; what the root defines is left out."""
    return ", ".join(f"{name} of {place}" for name, place in overrides) or "llm_engine_args of the root"


def _find_family(find: Find, *first: str) -> dict[str, Sequence[pytest.FixtureDef[Any]]]:
    """These fixtures and those that they are made of, with their definitions."""
    family: dict[str, Sequence[pytest.FixtureDef[Any]]] = {}
    names = list(first)
    while names:
        name = names.pop()
        definitions = find(name)
        if definitions and name not in family:
            family[name] = definitions
            names += [argument for definition in definitions for argument in definition.argnames]
    return family


def _make_overrides(family: Definitions) -> Overrides:
    return tuple(sorted((name, chain[-1].baseid) for name, chain in family.items() if chain[-1].baseid))


def _find_stale(definitions: Definitions, family: Sequence[str]) -> dict[str, Any]:
    """The fixtures, with their scope, that pytest would not make anew although one that they use is overridden.

    They are those that outlive a test and stand above the override.
    """
    stale = {}
    for name, chain in definitions.items():
        if chain[-1].scope == "function" or chain[-1].params is not None:
            continue
        used = {argument for one in chain for argument in one.argnames if argument in family and argument != name}
        highest = min(len(one.baseid) for one in chain)
        if any(len(definitions[argument][-1].baseid) > highest for argument in used):
            stale[name] = chain[-1].scope
    return stale


def _add_hidden(metafunc: pytest.Metafunc, name: str, value: object, scope: Any) -> None:
    metafunc.parametrize(name, [value], ids=[pytest.HIDDEN_PARAM], indirect=True, scope=scope)
