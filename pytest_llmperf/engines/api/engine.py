"""What every engine is and does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pytest_llmperf.engines.api.observation import Observation
from pytest_llmperf.measurement.measurement import Device, EngineInfo, Reading
from pytest_llmperf.traffic.client.dialect import OPENAI, Dialect, Endpoint

Progress = Callable[[str], None]


class EngineError(Exception):
    """An engine that cannot be had; the message is one line that says why and what to do next.

    ``log_tail`` is the end of the engine's own log, empty when it has none.
    """

    def __init__(self, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.log_tail = log_tail


@dataclass(frozen=True)
class EngineSpec:
    """What was asked for: enough to start the engine, and to tell two engines apart.

    ``args`` are the engine's own settings, as text. ``visible_devices`` is the CUDA_VISIBLE_DEVICES to start it with,
    None to leave the caller's. ``keep`` is for how many seconds it shall outlive the session, 0 not at all. ``pull``
    says whether a missing model may be fetched; None leaves it to the engine. ``run`` is the folder of the run whose
    processes share it, empty where there is but one process.
    """

    engine: str
    model: str | None = None
    url: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    binary: str | None = None
    startup_timeout: float = 300.0
    visible_devices: str | None = None
    keep: float = 0.0
    pull: bool | None = None
    run: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        return (self.engine, self.model, self.url, tuple(sorted(self.args.items())), self.binary)

    @property
    def label(self) -> str:
        """``llamacpp``, or ``llamacpp:MODEL`` where one was named: the test id when a suite runs on several engines."""
        return self.engine if self.model is None else f"{self.engine}:{self.model}"


@dataclass(frozen=True)
class EngineMemory:
    """The memory of an engine in bytes, None where nobody states it.

    ``resident`` is what its processes hold now; ``weights`` and ``kv_reserved`` are the engine's own words.
    """

    resident: int | None = None
    weights: int | None = None
    kv_reserved: int | None = None


class Engine(ABC):
    """A running engine. ``llm_engine`` is one.

    Attributes:
        name, version, model: what answers.
        base_url: the address of its OpenAI API, ending in ``/v1``.
        api_key: empty when it asks for none.
        devices: where it computes.
        startup_time: seconds from start to ready, None when it was already running before this run.
        before: what was known of the devices before it came, as plain values; empty when nobody looked.
        computes_on_gpu: whether it does; None when only its being on a device tells.
        watched_pids: the processes whose memory is sampled; they stay known after they have ended.
        dialect: how it is asked.
        peak_caveat: why the peak of its memory says nothing of a test; empty where it does.
        has_address: whether it has a base_url at all.
        unloaded: whether its processes were ended to unload its model, and not started since.
        before_start, on_start, on_stop: told before its processes come, when they have, and before they go, whenever it
            is started afresh.
        on_idle: told when its model has been unloaded, or when it has been put to sleep.
    """

    name: ClassVar[str]
    computes_on_gpu: bool | None = None
    dialect: Dialect = OPENAI
    peak_caveat: str = ""
    has_address: ClassVar[bool] = True

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.version = "unknown"
        self.model = spec.model or ""
        self.base_url = ""
        self.api_key = ""
        self.devices: tuple[Device, ...] = ()
        self.startup_time: float | None = None
        self.before: Mapping[str, Any] = {}
        self.watched_pids: tuple[int, ...] = ()
        self.unloaded = False
        self.before_start: Callable[[Engine], None] = _nobody_listens
        self.on_start: Callable[[Engine], None] = _nobody_listens
        self.on_stop: Callable[[Engine], None] = _nobody_listens
        self.on_idle: Callable[[Engine], None] = _nobody_listens

    @property
    def attached(self) -> bool:
        """Whether it was running before, and is not ours to end."""
        return bool(self.spec.url)

    @classmethod
    @abstractmethod
    def check(cls, spec: EngineSpec) -> None:
        """Refuses a spec that can never work, before anything is started.

        Raises:
            EngineError: naming the option and what would be right.
        """

    @classmethod
    def create(cls, spec: EngineSpec) -> Engine:
        """The engine for a checked spec, not yet started."""
        return cls(spec)

    @abstractmethod
    def start(self, progress: Progress) -> None:
        """Returns when the engine is ready to answer.

        Raises:
            EngineError: it never will be.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends what ``start`` began, and only that. May be called twice."""

    def leave(self) -> None:
        """At the end of a session: leaves it to the next one where the spec says so, else stops it."""
        self.stop()

    @property
    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """Root processes of the engine on this host; empty when it runs elsewhere."""

    @abstractmethod
    def gone(self) -> str:
        """Why the engine can no longer answer, in a few words; empty while it can."""

    def restart(self, progress: Progress = lambda _: None) -> None:
        """Stops and starts it again."""
        self.revive(progress)

    def revive(self, progress: Progress) -> None:
        """Starts it afresh, whatever has become of it.

        Raises:
            EngineError: it cannot be started.
        """
        self.on_stop(self)
        self.stop()
        self.before_start(self)
        self.start(progress)
        self.on_start(self)

    def unload(self) -> None:
        """Frees the model's memory; what the engine holds then is the test's ``memory.idle``.

        Where one server has several models, the next request loads it again. Where it has but this one, the server
        ends, and is started again by ``wake``, or for the next test.

        Raises:
            EngineError: this engine cannot.
        """
        self._unload()
        self.on_idle(self)

    def _unload(self) -> None:
        raise EngineError(f"{self.name} cannot unload its model while it runs; llm_engine.restart() gives a fresh one")

    def wait_until_unloaded(self, seconds: float = 60.0) -> None:
        """Waits until the engine has unloaded its model by itself; what it holds then is the test's ``memory.idle``.

        Raises:
            EngineError: it does not do that, or has not within so many seconds.
        """
        self._wait_until_unloaded(seconds)
        self.on_idle(self)

    def _wait_until_unloaded(self, seconds: float) -> None:
        raise EngineError(f"{self.name} never unloads its model by itself")

    def sleep(self, level: int = 1) -> None:
        """Frees its memory and keeps the engine, until ``wake``; what it holds then is the test's ``memory.idle``.

        Raises:
            EngineError: this engine cannot.
        """
        self._sleep(level)
        self.on_idle(self)

    def _sleep(self, level: int) -> None:
        raise EngineError(f"{self.name} cannot sleep; llm_engine.restart() gives a fresh one")

    def wake(self) -> None:
        """Ends the sleep; does nothing when it does not sleep.

        Raises:
            EngineError: it did not wake, or cannot sleep at all.
        """
        raise EngineError(f"{self.name} cannot sleep, so there is nothing to wake")

    @property
    def asleep(self) -> bool:
        """Whether it was put to sleep and not woken since."""
        return False

    def lapse(self) -> str:
        """What an earlier test has left it in that ``wake`` sets right, as the end of a sentence; empty if nothing."""
        return "was left asleep; waking it" if self.asleep else ""

    def memory(self) -> EngineMemory:
        """What the engine holds now, and how it splits it."""
        stated = {name: int(reading.value) for name, reading in self.readings().items() if reading.value is not None}
        return EngineMemory(
            resident=_resident_bytes(self.pids),
            weights=stated.get("memory.weights"),
            kv_reserved=stated.get("memory.kv_reserved"),
        )

    def readings(self) -> dict[str, Reading]:
        """Metrics only the engine knows, by name (``memory.weights``)."""
        return {}

    def observe(self) -> Observation:
        """Begins to look at the engine for the time of one test. Never raises: what is wrong stands in what it saw."""
        return Observation(self)

    def log_tail(self) -> str:
        """The last lines of its log; empty when it keeps none."""
        return ""

    @property
    def endpoint(self) -> Endpoint:
        """Where its model is asked. The address is empty where it has none."""
        return Endpoint(self.base_url if self.has_address else "", self.model, self.api_key)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(self.name, self.version, self.model, self.devices, self.startup_time)


def _nobody_listens(_: Engine) -> None:
    """The engine is used on its own."""


def _resident_bytes(roots: tuple[int, ...]) -> int | None:
    """What the process trees of ``roots`` hold, shared pages counted once; None when nothing can be seen of them."""
    from pytest_llmperf.telemetry.sources.host import open_reader, process_tree, sharing

    sizes = []
    pids = tuple(dict.fromkeys(pid for root in roots for pid in process_tree(root)))
    for pid, shared in sharing(pids).items():
        reader = open_reader(pid)
        if reader is None:
            continue
        with closing(reader):
            resident = reader.read()
            if resident is not None:
                sizes.append(resident - (shared or 0))
    return sum(sizes) if sizes else None
