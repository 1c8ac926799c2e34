"""The engines by name; an engine's module is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine, EngineListener
    from pytest_llmperf.engines.api.spec import EngineSpec

_ENGINES = {
    "llamacpp": "LlamaCppEngine",
    "ollama": "OllamaEngine",
    "openai": "OpenAIEngine",
    "simulated": "SimulatedEngine",
    "vllm": "VLLMEngine",
}


def engine_class(name: str) -> type[Engine]:
    """The class of an engine.

    Raises:
        EngineError: there is no such engine.
    """
    if name in _ENGINES:
        module = import_module(f"pytest_llmperf.engines.{name}")
        found: type[Engine] = getattr(module, _ENGINES[name])
        return found
    known = ", ".join(_ENGINES)
    raise EngineError(f"unknown engine {name!r}: it is one of {known}")


def create(spec: EngineSpec, listener: EngineListener | None = None) -> Engine:
    """An engine, checked and not yet started, that tells ``listener`` of its life.

    Raises:
        EngineError: unknown, or a spec that can never work.
    """
    found = engine_class(spec.engine)
    found.check(spec)
    return found(spec, listener)
