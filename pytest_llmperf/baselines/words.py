"""What stored runs were measured on, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.baselines.stored_run import StoredRun

NO_ENGINE = "no engine"


@dataclass(frozen=True)
class Words:
    """What a fingerprint stands for. Of a test with several engines, each part joins those of all.

    Attributes:
        engine: name and version, as in ``vllm 0.31.2``; ``no engine`` without one.
        model: as the engine names it.
        devices: their names, with their number where it is not one; empty if they are not known.
        settings: quantisation and arguments; empty if there are none.
    """

    engine: str
    model: str
    devices: str
    settings: str

    @property
    def line(self) -> str:
        """All of them in one line."""
        return ", ".join(part for part in (self.engine, self.model, self.devices, self.settings) if part)


def describe_engines(run: StoredRun) -> Words:
    """What the tests of a run were measured on."""
    measurement = next(iter(run.tests.values()))["measurement"]
    parts = measurement.get("parts") or [measurement]
    engines = [part["engine"] for part in parts if part.get("engine")]
    if not engines:
        return Words(NO_ENGINE, "", _count([trace["device"] for trace in measurement.get("devices") or []]), "")
    return Words(
        engine=_join([f"{engine['name']} {engine['version']}" for engine in engines]),
        model=_join([str(engine["model"]) for engine in engines]),
        devices=_join([_count(engine.get("devices") or []) for engine in engines]),
        settings=_join([_describe_settings(engine) for engine in engines]),
    )


def _join(words: Sequence[str]) -> str:
    return " + ".join(dict.fromkeys(word for word in words if word))


def _count(devices: Sequence[Mapping[str, Any]]) -> str:
    """``2 x NVIDIA L4``."""
    names = [str(device["name"]) for device in devices]
    counted = {name: names.count(name) for name in sorted(names)}
    return " + ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items())


def _describe_settings(engine: Mapping[str, Any]) -> str:
    arguments = engine.get("arguments") or {}
    words = [str(engine.get("quantisation") or ""), *(f"{key}={value}" for key, value in sorted(arguments.items()))]
    return " ".join(word for word in words if word)
