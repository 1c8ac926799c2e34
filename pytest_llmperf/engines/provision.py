"""Which engines run: each is started once, a failed start is remembered, a crashed one is started afresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_llmperf.engines.api.engine import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.registry import create

if TYPE_CHECKING:
    from collections.abc import Callable


class EngineWatcher(Protocol):
    """Who wants to know of engines that come and go. What it raises, an ``EngineError``, is as if the engine failed."""

    def before_start(self, engine: Engine) -> None: ...
    def on_start(self, engine: Engine) -> None: ...
    def on_stop(self, engine: Engine) -> None: ...
    def on_idle(self, engine: Engine) -> None: ...


class Provisioner:
    """The engines of one session.

    ``watcher`` is told before the processes of an engine come, when they have, before they go, and of unloading.
    """

    def __init__(self, progress: Progress, watcher: EngineWatcher) -> None:
        self._progress = progress
        self._watcher = watcher
        self._running: dict[tuple[object, ...], Engine] = {}
        self._failed: dict[tuple[object, ...], EngineError] = {}

    def acquire(self, spec: EngineSpec) -> Engine:
        """The running engine of this spec; started if need be, or once more if it has ended by itself, and ready.

        Raises:
            EngineError: it cannot be started. A start that failed is not tried again: the same error is raised at once.
        """
        if spec.key in self._failed:
            raise self._failed[spec.key].with_traceback(None)
        try:
            engine = self._running.get(spec.key)
            if engine is None:
                engine = create(spec)
                self._introduce(engine)
                engine.before_start(engine)
                engine.start(self._progress)
                engine.on_start(engine)
            elif reason := engine.gone():
                self._progress(f"{reason}; starting it again")
                engine.revive(self._progress)
            elif lapse := engine.lapse():
                self._progress(f"{engine.name} {lapse}")
                engine.wake()
        except EngineError as error:
            self._failed[spec.key] = error
            self._running.pop(spec.key, None)
            raise
        self._running[spec.key] = engine
        return engine

    def _introduce(self, engine: Engine) -> None:
        engine.before_start, engine.on_idle = self._watcher.before_start, self._watcher.on_idle
        engine.on_start, engine.on_stop = self._watcher.on_start, self._watcher.on_stop

    def release(self, spec: EngineSpec) -> None:
        """Stops the engine of this spec, if it runs; one that others share is left to them."""
        engine = self._running.pop(spec.key, None)
        if engine is not None:
            self._end(engine, engine.leave if engine.spec.run else engine.stop)

    def wake(self) -> None:
        """Wakes those that were left asleep, for others who share them; one that does not wake is stopped."""
        for engine in self._running.values():
            if engine.asleep and not engine.gone():
                try:
                    engine.wake()
                except EngineError as error:
                    self._progress(str(error))
                    engine.stop()

    def close(self) -> None:
        """Stops all of them, but for those that shall be kept for the next session.

        The first error is raised after the last was stopped.
        """
        errors: list[BaseException] = []
        for engine in list(self._running.values()):
            try:
                self._end(engine, engine.leave)
            except Exception as error:
                errors.append(error)
        self._running.clear()
        if errors:
            raise errors[0]

    def _end(self, engine: Engine, how: Callable[[], None]) -> None:
        try:
            engine.on_stop(engine)
        finally:
            how()

    @property
    def running(self) -> tuple[Engine, ...]:
        return tuple(self._running.values())
