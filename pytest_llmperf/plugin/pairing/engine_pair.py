"""The two engines of a run with ``--llmperf-against``: both loaded where they fit, else one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.budgets.comparison.changes import FEWEST_PAIRS, MOST_PAIRS
from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.spec import EngineSpec

ROUNDS_WHERE_SWAPPED = 3
"""The rounds of a turn where the engines take turns on the device: a start is dear, and many rounds share it."""


class Provides(Protocol):
    """The part of a provisioner that a pair needs."""

    def acquire(self, spec: EngineSpec) -> Engine:
        """The engine of this spec, ready; raises EngineError."""

    def forget_failure(self, spec: EngineSpec) -> None:
        """Lets a start that failed be tried again."""

    def find_running(self, spec: EngineSpec) -> Engine | None:
        """The engine of this spec, in whatever state; None if it was not started."""


class EnginePair:
    """Makes either of two engines ready.

    ``say`` takes a line for people. ``is_shared`` is whether other processes use the engines as well.

    Attributes:
        new, old: their specs.
        swaps: whether each rests while the other runs; None until both have been loaded once.
    """

    def __init__(
        self, new: EngineSpec, old: EngineSpec, provider: Provides, say: Callable[[str], None], *, is_shared: bool
    ) -> None:
        self.new, self.old = new, old
        self.swaps: bool | None = None
        self._provider = provider
        self._say = say
        self._is_shared = is_shared
        self._rests: Callable[[Engine], bool] = _put_to_sleep

    @property
    def rounds_in_turn(self) -> int:
        """How often a test's body runs on one engine before the other has its turn."""
        return ROUNDS_WHERE_SWAPPED if self.swaps else 1

    def is_loaded(self, spec: EngineSpec) -> bool:
        """Whether the engine of this spec runs and does not rest."""
        engine = self._provider.find_running(spec)
        return engine is not None and engine.state is EngineState.READY

    def find_other(self, spec: EngineSpec) -> Engine | None:
        """The other engine than this one, if it is loaded at the same time."""
        other = self.old if spec.key == self.new.key else self.new
        return self._provider.find_running(other) if self.is_loaded(other) else None

    def describe_cost(self, tests: int) -> str:
        """What the comparison of so many tests takes, in one line."""
        rounds = "" if self.rounds_in_turn == 1 else f" of {self.rounds_in_turn} rounds"
        pairs = (
            f"{FEWEST_PAIRS} to {MOST_PAIRS} pairs of turns{rounds} of {'1 test' if tests == 1 else f'{tests} tests'}"
        )
        loaded = "each sleeps or is stopped while the other runs" if self.swaps else "both engines are loaded"
        return f"A/B of {self.new.label} against {self.old.label}: {pairs}; {loaded}"

    def load(self) -> bool:
        """Loads both, or finds out that they do not fit together; returns False if that was done before.

        Raises:
            EngineError: one of them cannot be started even alone, or they would have to take turns and cannot.
        """
        if self.swaps is not None:
            return False
        new = self._provider.acquire(self.new)
        try:
            self._provider.acquire(self.old)
            self.swaps = False
        except EngineError as error:
            if self._is_shared or new.deployment.attached or self.old.url:
                raise
            self._load_in_turn(new, error)
        return True

    def _load_in_turn(self, new: Engine, error: EngineError) -> None:
        """Loads the old engine while the new one rests.

        Raises:
            EngineError: it cannot be started even then; it is the error of its start beside the new one.
        """
        for rest in (_put_to_sleep, _stop):
            if not rest(new):
                continue
            self._provider.forget_failure(self.old)
            try:
                self._provider.acquire(self.old)
            except EngineError:
                continue
            self.swaps, self._rests = True, rest
            self._say(f"{self.old.label} did not start beside {self.new.label}, but does alone: {error}")
            return
        raise error

    def make_room(self, spec: EngineSpec) -> None:
        """Lets the other engine rest if one of this pair is wanted, and both do not fit together.

        Raises:
            EngineError: it cannot be stopped.
        """
        if not self.swaps or spec.key not in (self.new.key, self.old.key):
            return
        other = self._provider.find_running(self.old if spec.key == self.new.key else self.new)
        if other is not None and other.read_status().state is EngineState.READY and not self._rests(other):
            _stop(other)


def _put_to_sleep(engine: Engine) -> bool:
    """Frees the engine's memory and keeps it; returns False for one that cannot. No measured test is told of it."""
    try:
        engine.deployment.sleep(1)
    except EngineError:
        return False
    return True


def _stop(engine: Engine) -> bool:
    engine.stop()
    return True
