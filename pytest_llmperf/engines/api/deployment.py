"""How an engine runs: as a server of ours, as one that already runs, or inside this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_llmperf.engines.api.model_facts import ModelFacts
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.telemetry.sources.branch import Branch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.api.state import EngineStatus


class Deployment(ABC):
    """Starts, ends, unloads and wakes what answers for an engine.

    Attributes:
        spec: what was asked for.
        state: the state after its last start, stop, sleep or unload; ``read_status`` asks for its state now.
        base_url: URL of its OpenAI API, ending in ``/v1`` unless it was given; empty if it has none, and before its
            first start.
        query: query of each request, as the URL of an attached server has it; empty for none.
        api_key: empty if it asks for none.
        model: the name that requests give.
        version: ``"unknown"`` until it is ready.
        startup_time: seconds from start to ready; None if it ran before this session.
        before: what was known of the devices before it came, as plain values that JSON can hold. Its engine sets it.
        attached: whether it was running before and is not ours to end.
        may_forward: whether ``pids`` are known only by where they listen, so that they may forward to the engine.
        stated_weights: bytes of weights that an attached server states; None if it does not.
        has_address: whether it ever has a ``base_url``.
        ends_to_unload: whether ``unload`` ends its processes, so that only another start loads the model again.
    """

    attached: bool = False
    may_forward: bool = False
    query: str = ""
    stated_weights: float | None = None
    has_address: ClassVar[bool] = True
    ends_to_unload: ClassVar[bool] = False

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.state = EngineState.ENDED
        self.base_url = ""
        self.api_key = ""
        self.model = spec.model or ""
        self.version = "unknown"
        self.startup_time: float | None = None
        self.before: Mapping[str, Any] = {}

    @property
    def name(self) -> str:
        """What messages call its engine: the label that the run gives it, else its name."""
        return self.spec.title

    @property
    def shown_model(self) -> str:
        """The name of the model for people: the one that was asked for, where requests must give another."""
        return self.model

    @abstractmethod
    def start(self, progress: Progress) -> None:
        """Returns when it answers, and is READY then.

        Raises:
            EngineError: it will not; nothing of it is left.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends what ``start`` began, and only that; it is ENDED then. May be called twice."""

    def detach(self) -> None:
        """At the end of a session: leaves it running for the next one if the spec says so, else stops it."""
        self.stop()

    @property
    @abstractmethod
    def pids(self) -> tuple[int, ...]:
        """The engine's root processes on this host; empty if it runs elsewhere, or not at all."""

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The processes that hold its model: all below ``pids``, unless its server has others as well."""
        return tuple(map(Branch, self.pids))

    def explain_unseen_model(self) -> str:
        """Why ``branches`` do not hold its model, and what to do; "" if they do, or there are none."""
        return ""

    @abstractmethod
    def read_status(self) -> EngineStatus:
        """Determines the engine's state now. May ask the server."""

    def read_model_facts(self) -> ModelFacts:
        """Which model it runs; called once after each start. May ask the server and read the model's files.

        Raises:
            EngineError, OSError, ValueError, LookupError, TypeError: it cannot be told; then it counts as unknown.
        """
        return ModelFacts()

    def log_tail(self) -> str:
        """The last lines of its log, also after its end; empty if it has none."""
        return ""

    def keep_log(self) -> str:
        """Copies its whole log to where it outlives it, and returns the path; empty if it has none. May be repeated."""
        return ""

    def read_warmup(self) -> float | None:
        """Seconds that the warm-up of its process took, as another pytest process has noted; None if none has."""
        return None

    def note_warmup(self, seconds: float) -> None:  # noqa: B027
        """Notes the warm-up of its process, for other pytest processes that use it or will; by default for none."""

    def empty_prompt_cache(self) -> None:
        """Forgets all prompts, so that none of a later request comes from a cache.

        Called before each round of a measured test, while no request is on its way. What takes longer than a few
        milliseconds delays every test.

        Raises:
            EngineError: it cannot, or must not because it belongs to others; the message is a clause that says why.
        """
        raise EngineError(f"{self.name} has no way to empty its prompt cache")

    def unload(self) -> None:
        """Frees the memory of the model.

        Raises:
            EngineError: it cannot.
        """
        raise EngineError(f"{self.name} cannot unload its model while it runs; llm_engine.restart() gives a fresh one")

    def wait_until_unloaded(self, seconds: float) -> None:
        """Waits until it has unloaded its model by itself.

        Raises:
            EngineError: it does not do that, or not within so many seconds.
        """
        raise EngineError(f"{self.name} never unloads its model by itself")

    def sleep(self, level: int) -> None:
        """Frees memory and stays, ASLEEP.

        Raises:
            EngineError: it cannot.
        """
        raise EngineError(f"{self.name} cannot sleep; llm_engine.restart() gives a fresh one")

    def wake(self) -> None:
        """Makes a sleeping or unloaded engine READY; does nothing for one that is.

        Raises:
            EngineError: it did not wake, or cannot sleep at all.
        """
        raise EngineError(f"{self.name} cannot sleep, so there is nothing to wake")
