"""The engines by name: those of this package, and those that other packages add. No other place knows their names.

Imports nothing but the standard library until an engine is asked for, since every pytest run imports this file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.metadata import EntryPoint

    from pytest_llmperf.engines.api.engine import Engine, EngineListener
    from pytest_llmperf.engines.api.spec import EngineError, EngineSpec

# The module of each engine in ``pytest_llmperf.engines``, and its class there. Their packages import nothing by
# themselves, so that the servers of this project that lie beside an engine start without it.
BUILT_IN = {
    "vllm": "vllm:VLLMEngine",
    "ollama": "ollama.engine:OllamaEngine",
    "llamacpp": "llamacpp.engine:LlamaCppEngine",
    "openai": "openai.engine:OpenAIEngine",
    "simulated": "simulated.engine:SimulatedEngine",
}
ENTRY_POINT_GROUP = "pytest_llmperf.engines"
_NAME = r"[a-z0-9][a-z0-9_-]*"


class EngineRegistry:
    """Finds engines by name.

    ``call_hook`` returns what the implementations of ``pytest_llmperf_engines`` add, dicts from name to class. It is
    called, and the entry points of :data:`ENTRY_POINT_GROUP` are read, when an engine is first asked for; the class of
    an entry point is imported when that engine is.
    """

    def __init__(self, call_hook: Callable[[], Sequence[Mapping[str, type[Engine]]]] = tuple) -> None:
        self._call_hook = call_hook

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all engines, those of this package first.

        Raises:
            EngineError: two engines have one name, or a name cannot be one.
        """
        return (*BUILT_IN, *self._added)

    def find(self, name: str) -> type[Engine]:
        """The class of an engine.

        Raises:
            EngineError: there is no such engine, it cannot be imported, or two have one name.
        """
        added = self._added
        if name in BUILT_IN:
            module, _, engine = BUILT_IN[name].partition(":")
            found: type[Engine] = getattr(import_module(f"pytest_llmperf.engines.{module}"), engine)
            return found
        if name not in added:
            raise _error(f"unknown engine {name!r}: it is one of {', '.join(self.names)}")
        return _resolve(name, added[name])

    def create(self, spec: EngineSpec, listener: EngineListener | None = None) -> Engine:
        """An engine, checked and not yet started, that reports its start and stop to ``listener``.

        Raises:
            EngineError: there is no such engine, or it cannot work with this spec.
        """
        found = self.find(spec.engine)
        found.check(spec)
        return found(spec, listener)

    @cached_property
    def _added(self) -> dict[str, EntryPoint | type[Engine]]:
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint | type[Engine]] = {}
        for engines in self._ask_plugins():
            if not isinstance(engines, Mapping):
                raise _error(f"pytest_llmperf_engines: {engines!r} is not a dict from name to class")
            for name, engine in engines.items():
                _add(found, name, engine)
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            _add(found, entry_point.name, entry_point)
        return found

    def _ask_plugins(self) -> Sequence[Mapping[str, type[Engine]]]:
        try:
            return self._call_hook()
        except (Exception, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # the skip of a module that the hook imports
            raise _error(f"pytest_llmperf_engines: {_describe(error)}") from error


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _add(found: dict[str, EntryPoint | type[Engine]], name: str, engine: EntryPoint | type[Engine]) -> None:
    source = _source(engine)
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
        raise _error(f"the engine {name!r} of {source} cannot be named so: a name is of a-z, 0-9, - and _")
    if name in BUILT_IN:
        raise _error(f"the engine {name!r} of {source} has the name of one of pytest-llmperf's own")
    # A package may be installed and register itself in its own conftest.py as well.
    if name in found and _source(found[name]) != source:
        raise _error(f"two engines are called {name!r}: {_source(found[name])} and {source}")
    found.setdefault(name, engine)


def _resolve(name: str, engine: EntryPoint | type[Engine]) -> type[Engine]:
    from pytest_llmperf.engines.api.engine import Engine

    found: Any = engine
    if not isinstance(engine, type):
        try:
            found = engine.load()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a module may also end the process that imports it, or skip as tests do
            raise _error(f"the engine {name!r} of {_source(engine)} cannot be imported: {_describe(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Engine)):
        raise _error(f"the engine {name!r} of {_source(engine)} is not a subclass of Engine")
    if getattr(found, "name", None) != name:
        raise _error(f"the engine {name!r} of {_source(engine)} has another name: {getattr(found, 'name', None)!r}")
    return found


def _source(engine: Any) -> str:
    """``package.module:Class``, as an entry point is written."""
    if isinstance(engine, type):
        return f"{engine.__module__}:{engine.__qualname__}"
    return str(getattr(engine, "value", None) or f"{type(engine).__module__}:{type(engine).__qualname__}")


def _error(message: str) -> EngineError:
    from pytest_llmperf.engines.api.spec import EngineError

    return EngineError(message)


def create(spec: EngineSpec, listener: EngineListener | None = None) -> Engine:
    """An engine of this package or of an entry point, outside of pytest; see :meth:`EngineRegistry.create`."""
    return EngineRegistry().create(spec, listener)
