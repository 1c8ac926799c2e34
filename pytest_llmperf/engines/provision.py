"""The running engines of one session."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.lifecycle.deaths import Deaths
from pytest_llmperf.engines.tested import why_untested

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine, EngineListener
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.registry import EngineRegistry


# After so many deaths of one kind in a row, with no test lived through in between, an engine is not started again.
MOST_DEATHS = 2


class Provisioner:
    """Starts each engine once, remembers a start that failed, and starts one again that has ended by itself.

    One that ends in the same way again and again is given up.

    Its engines come from ``registry``, and tell ``listener`` of their life, also when a test restarts or unloads one.
    """

    def __init__(self, registry: EngineRegistry, progress: Progress, listener: EngineListener | None = None) -> None:
        self._registry = registry
        self._progress = progress
        self._listener = listener
        self._running: dict[tuple[object, ...], Engine] = {}
        self._retired: set[tuple[object, ...]] = set()
        self._failed: dict[tuple[object, ...], EngineError] = {}
        self._deaths = Deaths()
        self._starts: dict[tuple[object, ...], str] = {}
        self._numbers = itertools.count()

    def acquire(self, spec: EngineSpec) -> Engine:
        """The engine of this spec, started or woken if need be, and ready.

        Raises:
            EngineError: it cannot be started. A start that failed is not tried again: the same error is raised at once.
        """
        if spec.key in self._failed:
            raise self._failed[spec.key].with_traceback(None)
        self._retired.discard(spec.key)
        engine = self._running.get(spec.key)
        if engine is None:
            self._stop_retired()
        try:
            if engine is None:
                engine = self._registry.create(spec, self._listener)
                engine.start(self._progress)
                self._note_start(engine)
                if untested := why_untested(engine.name, engine.version):
                    self._progress(untested)
            else:
                self._make_ready(engine)
        except EngineError as error:
            self._failed[spec.key] = error
            self._running.pop(spec.key, None)
            raise
        self._running[spec.key] = engine
        return engine

    def _note_start(self, engine: Engine) -> None:
        """Gives this start a name: in a run whose processes share the engine, one that all of them know."""
        shared = f"{engine.pids} {engine.startup_time}"
        self._starts[engine.spec.key] = shared if engine.spec.run else str(next(self._numbers))

    def _make_ready(self, engine: Engine) -> None:
        status = engine.read_status()
        if status.state is EngineState.ENDED:
            self._give_up_on_deaths(engine, status.reason)
            self._progress(f"{status.reason}; starting it again")
            engine.revive(self._progress)
            self._note_start(engine)
        elif status.state is not EngineState.READY:
            asleep = status.state is EngineState.ASLEEP
            self._progress(f"{status.reason}; {'waking it' if asleep else 'loading it again'}")
            engine.wake()

    def _give_up_on_deaths(self, engine: Engine, reason: str) -> None:
        """Keeps the log of an engine that has ended, and gives it up if it did so in the same way before.

        Raises:
            EngineError: it ended in the same way too often.
        """
        deaths = self.note_death(engine, reason)
        if not deaths:
            return
        path = engine.deployment.keep_log()
        if deaths >= MOST_DEATHS:
            tail = engine.deployment.log_tail()
            engine.stop()
            raise EngineError(f"{reason}, {deaths} times in a row: it is not started again", tail, path)

    def note_death(self, engine: Engine, reason: str) -> int:
        """Takes note that an engine has ended; returns how often it has by itself, in the same way and in a row.

        One that was stopped here, or is not ours, is not counted. May be called several times for one death.
        """
        if engine.deployment.attached or engine.state is EngineState.ENDED:
            return 0
        return self._deaths.add(engine, self._starts.get(engine.spec.key, ""), reason)

    def note_survival(self, engine: Engine) -> None:
        """Takes note that the engine has lived through a test: earlier deaths no longer count."""
        self._deaths.forget(engine)

    def forget_failure(self, spec: EngineSpec) -> None:
        """Lets a start that failed be tried again, as what was in its way is gone."""
        self._failed.pop(spec.key, None)

    def find_running(self, spec: EngineSpec) -> Engine | None:
        """The engine of this spec, in whatever state it is; None if it was not started."""
        return self._running.get(spec.key)

    def retire(self, spec: EngineSpec) -> None:
        """Lets the engine of this spec run on until another one starts: of several, one runs at a time."""
        if spec.key in self._running:
            self._retired.add(spec.key)

    def end(self, spec: EngineSpec) -> None:
        """Ends the engine of this spec now, with those that were to end when another one starts."""
        self.retire(spec)
        self._stop_retired()

    def _stop_retired(self) -> None:
        """Those that others share are left to them."""
        while self._retired:
            engine = self._running.pop(self._retired.pop())
            if engine.spec.run:
                engine.detach()
            else:
                engine.stop()

    def wake(self) -> None:
        """Wakes those that were left asleep, for others who share them; one that does not wake is stopped."""
        for engine in self._running.values():
            if engine.state is EngineState.ASLEEP and engine.read_status().state is EngineState.ASLEEP:
                try:
                    engine.wake()
                except EngineError as error:
                    self._progress(str(error))
                    engine.stop()

    def close(self) -> None:
        """Stops all engines, except those kept for the next session.

        The first error is raised after the last was stopped.
        """
        errors: list[BaseException] = []
        for engine in list(self._running.values()):
            try:
                engine.detach()
            except Exception as error:
                errors.append(error)
        self._running.clear()
        if errors:
            raise errors[0]

    @property
    def running(self) -> tuple[Engine, ...]:
        """Those that were started in this session, or found running."""
        return tuple(self._running.values())
