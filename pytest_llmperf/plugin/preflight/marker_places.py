"""Budgets that are written where pytest reads no markers: ``conftest.py``, ``__init__.py``, what is no test."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.markers.marks import MARKERS, as_marks
from pytest_llmperf.plugin.preflight.marker_names import count_slips

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


def find_unread_markers(config: pytest.Config, items: Sequence[pytest.Item]) -> Iterator[str]:
    """A sentence for each place that has a marker of this plugin and gives it to no test."""
    modules = dict.fromkeys(node for item in items if (node := item.getparent(pytest.Module)) is not None)
    tested = {node.obj.__name__ for node in modules}
    plugins = [each for each in config.pluginmanager.get_plugins() if isinstance(each, ModuleType)]
    for module in [*plugins, *_packages(tested)]:
        if module.__name__ not in tested and (names := _names(vars(module).get("pytestmark", ()))):
            yield (
                f"{_where(module, config)}: pytest ignores pytestmark in this file, so {names} limits no test: write "
                "it into the test modules, or [[budget]] tables into llmperf.toml"
            )
    classes = dict.fromkeys(found for item in items if (found := item.getparent(pytest.Class)) is not None)
    collected = {id(getattr(node, "obj", None)) for item in items for node in item.listchain()}
    for place in (*modules, *classes):
        yield from _unread_in(place, collected)


def _packages(modules: set[str]) -> Iterator[ModuleType]:
    """The packages of these modules that have been imported."""
    names = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    return (sys.modules[name] for name in sorted(names) if name in sys.modules)


def _where(module: ModuleType, config: pytest.Config) -> str:
    return os.path.relpath(Path(str(module.__file__)), config.rootpath) if module.__file__ else module.__name__


def _names(pytestmark: Any) -> str:
    """``@memory_budget, @latency_budget``: those of this plugin among marks."""
    return ", ".join(
        dict.fromkeys(f"@{mark.name}" for mark in as_marks(pytestmark) if getattr(mark, "name", "") in MARKERS)
    )


def _unread_in(node: Any, collected: Collection[int]) -> Iterator[str]:
    """The functions and classes of a module or class that are marked, and that pytest does not take for tests."""
    here = node.obj
    for name, found in vars(here).items():
        if name != "pytestmark" and count_slips(name.lower(), "pytestmark") < 2 and (names := _names(found)):
            yield f"{node.nodeid}: {name} has {names}, and pytest reads pytestmark: no budget of it is read"
        if not isinstance(found, FunctionType | type) or found.__module__ != node.getparent(pytest.Module).obj.__name__:
            continue
        names = _names(vars(found).get("pytestmark", ()))
        if names and id(found) not in collected and not _is_test(node, found, name):
            yield f"{node.nodeid}::{name} has {names}, and pytest does not take it for a test: no budget of it is read"


def _is_test(node: Any, found: Any, name: str) -> bool:
    if isinstance(found, type):
        # A base class passes its markers on.
        cases = getattr(sys.modules.get("unittest"), "TestCase", ())
        return bool(node.istestclass(found, name) or found.__subclasses__() or issubclass(found, cases))
    return bool(node.istestfunction(found, name))
