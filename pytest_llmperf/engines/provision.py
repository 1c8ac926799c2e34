"""Which engines run: each is started once, a failed start is remembered, a crashed one is started afresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.engines.base import Engine, EngineError, EngineSpec, Progress
from pytest_llmperf.engines.registry import create

if TYPE_CHECKING:
    from collections.abc import Callable


class Provisioner:
    """The engines of one session. ``on_start`` and ``on_stop`` are told of each engine whose processes came or go."""

    def __init__(
        self, progress: Progress, on_start: Callable[[Engine], None], on_stop: Callable[[Engine], None]
    ) -> None:
        self._progress = progress
        self._on_start = on_start
        self._on_stop = on_stop
        self._running: dict[tuple[object, ...], Engine] = {}
        self._failed: dict[tuple[object, ...], EngineError] = {}

    def acquire(self, spec: EngineSpec) -> Engine:
        """The running engine of this spec; started if need be, or once more if it has ended by itself, and awake.

        Raises:
            EngineError: it cannot be started. A start that failed is not tried again: the same error is raised at once.
        """
        if spec.key in self._failed:
            raise self._failed[spec.key].with_traceback(None)
        try:
            engine = self._running.get(spec.key)
            if engine is None:
                engine = create(spec)
                engine.on_start, engine.on_stop = self._on_start, self._on_stop
                engine.start(self._progress)
                self._on_start(engine)
            elif reason := engine.gone():
                self._progress(f"{reason}; starting it again")
                engine.revive(self._progress)
            elif engine.asleep:
                self._progress(f"{engine.name} was left asleep; waking it")
                engine.wake()
        except EngineError as error:
            self._failed[spec.key] = error
            self._running.pop(spec.key, None)
            raise
        self._running[spec.key] = engine
        return engine

    def release(self, spec: EngineSpec) -> None:
        """Stops the engine of this spec, if it runs."""
        engine = self._running.pop(spec.key, None)
        if engine is not None:
            self._end(engine, engine.stop)

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
            self._on_stop(engine)
        finally:
            how()

    @property
    def running(self) -> tuple[Engine, ...]:
        return tuple(self._running.values())
