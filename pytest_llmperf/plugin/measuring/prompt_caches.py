"""The prompt caches of the engines: emptied before each round of a test, or followed where that cannot be done."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.measurement.prompts import PromptCache, PromptHistory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.prompts import Prompt

_MARK = "Q"


def find_cache(engine: Engine) -> tuple[object, ...]:
    """What tells the prompt cache of an engine from others: two engines that are one running server have one."""
    deployment = engine.deployment
    return (deployment.base_url, engine.model) if deployment.attached else engine.spec.key


class SentPrompts:
    """The prompts that were sent to one engine and that its caches may still hold.

    ``path`` is a file in which all workers that use the engine note them; None if there is one process only.
    """

    def __init__(self, path: Path | None) -> None:
        self.history = PromptHistory()
        self._path = path
        self._read_bytes = 0

    def add(self, prompts: Iterable[Prompt]) -> None:
        """Adds prompts of this process."""
        marks = array(_MARK, (number for prompt in prompts for number in prompt.sent_numbers))
        self.history.marks.update(marks)
        if self._path is not None and marks:
            # Where its folder was removed, no further test of the run is measured.
            with contextlib.suppress(FileNotFoundError), self._path.open("ab") as file:
                file.write(marks.tobytes())

    def update(self) -> None:
        """Adds what other workers have noted since the last time."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_bytes)
                noted = file.read()
        except FileNotFoundError:  # no worker has noted any yet
            return
        whole = len(noted) - len(noted) % array(_MARK).itemsize
        self._read_bytes += whole
        self.history.marks.update(array(_MARK, noted[:whole]))


class PromptCaches:
    """The caches of all engines of a session. ``folder`` is that of the run whose workers share them; "" if none do.

    Threads may note prompts while a test runs.
    """

    def __init__(self, folder: str) -> None:
        self._lock = threading.Lock()
        self._folder = folder
        self._sent: dict[tuple[object, ...], SentPrompts] = {}
        self._emptied: set[Engine] = set()

    def forget(self, engine: Engine) -> None:
        """Notes that an engine was started: its caches are empty, unless it is a server that ran before."""
        if not engine.deployment.attached:
            self._sent.pop(find_cache(engine), None)

    def remember(self, engine: Engine, prompts: Iterable[Prompt | None]) -> None:
        """Notes prompts that were sent to an engine. One whose cache can be emptied has no use for that."""
        if engine not in self._emptied:
            with self._lock:
                self._sent_to(engine).add(prompt for prompt in prompts if prompt is not None)

    def remember_all(self, sent: Iterable[tuple[Engine, Prompt | None]]) -> None:
        """Notes prompts, each with the engine that it was sent to."""
        prompts: dict[Engine, list[Prompt | None]] = {}
        for engine, prompt in sent:
            prompts.setdefault(engine, []).append(prompt)
        for engine, of_engine in prompts.items():
            self.remember(engine, of_engine)

    def empty(self, engine: Engine) -> PromptCache:
        """Empties the caches of an engine; returns what they hold now."""
        try:
            if engine.state is EngineState.READY:
                engine.deployment.empty_prompt_cache()
        except EngineError as error:
            if engine in self._emptied:
                return PromptCache(fault=f"the prompts of earlier tests may be in the engine's cache: {error}")
            with self._lock:
                sent = self._sent_to(engine)
                sent.update()
                return PromptCache(reason=str(error), earlier=PromptHistory(set(sent.history.marks)))
        self._emptied.add(engine)
        self._sent.pop(find_cache(engine), None)
        return PromptCache(emptied=True)

    def _sent_to(self, engine: Engine) -> SentPrompts:
        cache = find_cache(engine)
        if cache not in self._sent:
            key = hashlib.sha256(repr(cache).encode()).hexdigest()[:16]
            self._sent[cache] = SentPrompts(Path(self._folder, f"prompts-{key}") if self._folder else None)
        return self._sent[cache]
