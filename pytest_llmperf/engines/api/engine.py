"""An engine: how it runs, how it is asked, and what it says of itself, under one name.

To write one, subclass :class:`Engine`: its name, a check of its settings, and the three parts it is composed of.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.measurement.engine_info import Device, EngineInfo
from pytest_llmperf.traffic.client.dialect import NO_ADDRESS, Endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.deployment import Deployment
    from pytest_llmperf.engines.api.insight import Insight
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.api.state import EngineStatus
    from pytest_llmperf.telemetry.sources.branch import Branch
    from pytest_llmperf.traffic.client.dialect import Dialect


class EngineParts(NamedTuple):
    """What an engine is composed of."""

    deployment: Deployment
    dialect: Dialect
    insight: Insight


class EngineListener(Protocol):
    """Receives an engine's start and stop. An ``EngineError`` that it raises counts as the engine's own failure."""

    def before_start(self, engine: Engine) -> Mapping[str, Any]:
        """Called before the engine's processes start. Returns what is known of the devices by then, as plain values."""

    def on_start(self, engine: Engine) -> tuple[Device, ...]:
        """Called when the engine is ready. Returns the devices that it computes on."""

    def on_stop(self, engine: Engine) -> None:
        """Called once for each ``on_start``, before the engine's processes end or after they have ended."""

    def before_unload(self, engine: Engine) -> None:
        """Called before a test unloads the engine's model, puts it to sleep, or waits until it has unloaded."""

    def on_unload(self, engine: Engine) -> None:
        """Called when the engine's model has been unloaded, or it sleeps."""


class _Silent:
    """The listener of an engine that is used on its own."""

    def before_start(self, engine: Engine) -> Mapping[str, Any]:
        return {}

    def on_start(self, engine: Engine) -> tuple[Device, ...]:
        return engine.devices

    def on_stop(self, engine: Engine) -> None: ...

    def before_unload(self, engine: Engine) -> None: ...

    def on_unload(self, engine: Engine) -> None: ...


@dataclass(frozen=True)
class EngineMemory:
    """The memory of an engine in bytes, None if it is unknown.

    ``resident`` is what its processes hold now; ``weights`` and ``kv_reserved`` are as the engine states them.
    """

    resident: int | None = None
    weights: int | None = None
    kv_reserved: int | None = None


class Engine(ABC):
    """A running engine. ``llm_engine`` is one.

    Attributes:
        name: what it is registered by; set by each subclass.
        spec: what was asked for.
        deployment: how it runs.
        dialect: how it is asked.
        insight: what it says of itself.
        devices: where it computes; empty until that is known.
    """

    name: ClassVar[str]

    def __init__(self, spec: EngineSpec, listener: EngineListener | None = None) -> None:
        self.spec = spec
        self.deployment, self.dialect, self.insight = self.compose(spec)
        self.devices: tuple[Device, ...] = self.insight.devices
        self._listener = _Silent() if listener is None else listener
        self._has_told = False
        self._was_asked = False
        self._warmup: float | None = None
        self._model_facts = ModelFacts()

    @classmethod
    @abstractmethod
    def check(cls, spec: EngineSpec) -> None:
        """Refuses a spec that can never work, before anything is started.

        Raises:
            EngineError: naming the option and what would be right.
        """

    @classmethod
    @abstractmethod
    def compose(cls, spec: EngineSpec) -> EngineParts:
        """The parts of an engine for a spec that ``check`` accepts; nothing is started."""

    # --------------------------------------------------------------------------------------------------- what it is

    @property
    def title(self) -> str:
        """The label that the run gives it, else its name: what messages call it."""
        return self.spec.title

    @property
    def version(self) -> str:
        """As the engine states it; ``"unknown"`` until it is ready."""
        return self.deployment.version

    @property
    def model(self) -> str:
        """The name that requests give."""
        return self.deployment.model

    @property
    def base_url(self) -> str:
        """The address of its OpenAI API, such as ``http://127.0.0.1:8080/v1``, without a query.

        Raises:
            EngineError: it has none: an empty one would lead an app under test to another server.
        """
        if not self.deployment.has_address:
            raise EngineError(NO_ADDRESS)
        return self.deployment.base_url

    @property
    def api_key(self) -> str:
        """Empty if it asks for none."""
        return self.deployment.api_key

    @property
    def endpoint(self) -> Endpoint:
        """Where its model is asked; without an address if it has none."""
        asked = self.deployment
        return Endpoint(asked.base_url, asked.model, asked.api_key, asked.query)

    @property
    def pids(self) -> tuple[int, ...]:
        """Root processes of the engine on this host; empty if it runs elsewhere, or not at all."""
        return self.deployment.pids

    @property
    def startup_time(self) -> float | None:
        """Seconds from start to ready; None if it was running before this session."""
        return self.deployment.startup_time

    @property
    def is_cold(self) -> bool:
        """Whether it was started here and has not been warmed up since."""
        return not (self.deployment.attached or self._was_asked or self.deployment.read_warmup() is not None)

    def note_warmup(self, seconds: float | None) -> None:
        """Takes note of its warm-up, which took so many seconds; None if it failed, which is not tried again."""
        self._was_asked, self._warmup = True, seconds
        if seconds is not None:
            self.deployment.note_warmup(seconds)

    @property
    def warmup_time(self) -> float | None:
        """Seconds that this run took to warm it up after its last start; None if it did not."""
        known = self._warmup if self._was_asked else self.deployment.read_warmup()
        return None if self.startup_time is None and not self._was_asked else known

    @property
    def info(self) -> EngineInfo:
        """What it is, and how it was started, as a measurement holds it."""
        shown = self.deployment.shown_model
        return EngineInfo(
            self.name,
            self.version,
            shown,
            self.devices,
            self.startup_time,
            self.warmup_time,
            asked_as="" if self.model == shown else self.model,
            variant=self.spec.variant,
            digest=self._model_facts.digest,
            quantisation=self._model_facts.quantisation,
            arguments=self.spec.stated_arguments,
        )

    def memory(self) -> EngineMemory:
        """What the engine holds now, and what it says it is made of."""
        readings = self.insight.readings()
        stated = {name: int(reading.value) for name, reading in readings.items() if reading.value is not None}
        return EngineMemory(
            resident=None if self.deployment.explain_unseen_model() else _resident_bytes(self.deployment.branches),
            weights=stated.get("memory.weights"),
            kv_reserved=stated.get("memory.kv_reserved"),
        )

    # -------------------------------------------------------------------------------------------------- start and end

    def start(self, progress: Progress = lambda _: None) -> None:
        """Starts it, or attaches to it, and returns when it answers.

        Raises:
            EngineError: it never will; nothing of it is left.
        """
        self.deployment.before = self._listener.before_start(self)
        self._was_asked, self._warmup = False, None
        self.deployment.start(progress)
        try:
            self.insight.refresh()
            self.devices = self.insight.devices
            self.devices = self._listener.on_start(self)
            self._model_facts = self._find_model_facts()
        except BaseException:
            self.deployment.stop()
            raise
        self._has_told = True

    def _find_model_facts(self) -> ModelFacts:
        """Which model runs; empty where that cannot be told, which no test depends on."""
        try:
            return self.deployment.read_model_facts()
        except (EngineError, OSError, ValueError, LookupError, TypeError):
            return ModelFacts()

    def stop(self) -> None:
        """Ends what ``start`` began, and only that. May be called twice."""
        try:
            self._tell_of_stop()
        finally:
            self.deployment.stop()

    def detach(self) -> None:
        """At the end of a session: leaves it running for the next one if the spec says so, else stops it."""
        try:
            self._tell_of_stop()
        finally:
            self.deployment.detach()

    def restart(self, progress: Progress = lambda _: None) -> None:
        """Stops it and starts it again.

        Raises:
            EngineError: it was not started here, or cannot be started.
        """
        if self.deployment.attached:
            raise EngineError(
                f"the server at {self.deployment.base_url} was not started here: it is not restarted either"
            )
        self.revive(progress)

    def revive(self, progress: Progress) -> None:
        """Starts it again, or attaches again, whatever has become of it.

        Raises:
            EngineError: it cannot be started.
        """
        self.stop()
        self.start(progress)

    def _tell_of_stop(self) -> None:
        told, self._has_told = self._has_told, False
        if told:
            self._listener.on_stop(self)

    # ----------------------------------------------------------------------------------------------------- its state

    @property
    def state(self) -> EngineState:
        """The state after its last start, stop, sleep or unload; ``read_status`` asks for its state now."""
        return self.deployment.state

    def read_status(self) -> EngineStatus:
        """Determines the engine's state now, and why. May ask the server."""
        return self.deployment.read_status()

    @property
    def has_ended_to_unload(self) -> bool:
        """Whether its processes were ended to unload its model, and not started since."""
        return self.state is EngineState.UNLOADED and self.deployment.ends_to_unload

    def unload(self) -> None:
        """Frees the model's memory; what the engine holds then is the test's ``memory.unloaded``.

        If one server has several models, the next request loads it again. If it has but this one, the server ends,
        and is started again by ``wake``, or for the next test.

        Raises:
            EngineError: this engine cannot.
        """
        self._listener.before_unload(self)
        self.deployment.unload()
        self._listener.on_unload(self)

    def wait_until_unloaded(self, seconds: float = 60.0) -> None:
        """Waits until the engine has unloaded its model by itself.

        What it holds then is the test's ``memory.unloaded``.

        Raises:
            EngineError: it does not do that, or not within so many seconds.
        """
        self._listener.before_unload(self)
        self.deployment.wait_until_unloaded(seconds)
        self._listener.on_unload(self)

    def sleep(self, level: int = 1) -> None:
        """Frees its memory and keeps the engine, until ``wake``; what it holds then is the test's ``memory.unloaded``.

        Raises:
            EngineError: this engine cannot.
        """
        self._listener.before_unload(self)
        self.deployment.sleep(level)
        self._listener.on_unload(self)

    def wake(self) -> None:
        """Makes a sleeping or unloaded engine ready again; does nothing for one that is.

        Raises:
            EngineError: it did not wake, or cannot sleep at all.
        """
        if self.has_ended_to_unload:
            self.revive(lambda _: None)
        else:
            self.deployment.wake()


def _resident_bytes(branches: tuple[Branch, ...]) -> int | None:
    """The memory of these processes, shared pages counted once; None if none of them can be read."""
    from pytest_llmperf.telemetry.sources.host import open_reader, read_sharing

    sizes = []
    pids = tuple(dict.fromkeys(pid for branch in branches for pid in branch.list_pids()))
    for pid, shared in read_sharing(pids).items():
        reader = open_reader(pid)
        if reader is None:
            continue
        with closing(reader):
            resident = reader.read()
            if resident is not None:
                sizes.append(resident - (shared or 0))
    return sum(sizes) if sizes else None
