"""The states of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class EngineState(Enum):
    """The states of an engine.

    STARTING: it does not answer yet.
    READY: it answers.
    ASLEEP: it was put to sleep and holds less memory; ``wake`` ends that.
    UNLOADED: its model is not loaded as it was at the start; ``wake`` loads it.
    ENDED: it cannot answer until it is started again.
    """

    STARTING = "starting"
    READY = "ready"
    ASLEEP = "asleep"
    UNLOADED = "unloaded"
    ENDED = "ended"


@dataclass(frozen=True)
class EngineStatus:
    """A state, and why it is that one: a clause such as ``vllm ended with SIGKILL``; empty while it is ready."""

    state: EngineState
    reason: str = ""
