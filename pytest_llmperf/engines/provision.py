"""The running engines of one session."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.tested import why_untested

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine, EngineListener
    from pytest_llmperf.engines.api.spec import EngineSpec, Progress
    from pytest_llmperf.engines.registry import EngineRegistry


class Provisioner:
    """Starts each engine once, remembers a start that failed, and starts one again that has ended by itself.

    Its engines come from ``registry``, and tell ``listener`` of their life, also when a test restarts or unloads one.
    """

    def __init__(self, registry: EngineRegistry, progress: Progress, listener: EngineListener | None = None) -> None:
        self._registry = registry
        self._progress = progress
        self._listener = listener
        self._running: dict[tuple[object, ...], Engine] = {}
        self._failed: dict[tuple[object, ...], EngineError] = {}

    def acquire(self, spec: EngineSpec) -> Engine:
        """The engine of this spec, started or woken if need be, and ready.

        Raises:
            EngineError: it cannot be started. A start that failed is not tried again: the same error is raised at once.
        """
        if spec.key in self._failed:
            raise self._failed[spec.key].with_traceback(None)
        try:
            engine = self._running.get(spec.key)
            if engine is None:
                engine = self._registry.create(spec, self._listener)
                engine.start(self._progress)
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

    def _make_ready(self, engine: Engine) -> None:
        status = engine.read_status()
        if status.state is EngineState.ENDED:
            self._progress(f"{status.reason}; starting it again")
            engine.revive(self._progress)
        elif status.state is not EngineState.READY:
            asleep = status.state is EngineState.ASLEEP
            self._progress(f"{status.reason}; {'waking it' if asleep else 'loading it again'}")
            engine.wake()

    def release(self, spec: EngineSpec) -> None:
        """Stops the engine of this spec, if it runs; one that others share is left to them."""
        engine = self._running.pop(spec.key, None)
        if engine is None:
            return
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
