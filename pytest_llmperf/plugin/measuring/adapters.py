"""Which adapter each request of a test asked for, by what its engine says of its adapters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.engine_info import is_same_model
from pytest_llmperf.traffic.answers.asked import NUMBERED, split_adapters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.request import RequestTiming


class AdapterNames:
    """Names the adapters of requests. An engine is asked for its adapters when a request has one that is not known."""

    def __init__(self) -> None:
        self._listed: dict[Engine, Mapping[str, str]] = {}
        self._unknown: dict[Engine, set[str]] = {}

    def name(self, engine: Engine, timing: RequestTiming) -> RequestTiming:
        """The request with the name of its adapter; as it is if it asked for the model itself, or for another model."""
        if timing.adapter and not timing.adapter.startswith(NUMBERED):
            return timing
        if timing.adapter:
            names = [self._find(engine, part) or part for part in split_adapters(timing.adapter)]
            return replace(timing, adapter=" + ".join(names))
        own = (engine.model, engine.deployment.shown_model)
        if not timing.model or timing.model in own or any(is_same_model(timing.model, model) for model in own):
            return timing
        found = self._find(engine, timing.model)
        return replace(timing, adapter=found) if found else timing

    def _find(self, engine: Engine, asked: str) -> str:
        """The adapter that requests ask for so; empty if the engine has none."""
        if asked not in self._listed.get(engine, {}) and asked not in self._unknown.setdefault(engine, set()):
            self._listed[engine] = engine.insight.list_adapters()
            self._unknown[engine].add(asked)
        return self._listed.get(engine, {}).get(asked, "")
