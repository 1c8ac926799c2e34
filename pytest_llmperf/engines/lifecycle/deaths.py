"""How often in a row the engines of a run ended by themselves in the same way."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle import shared_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.engines.api.engine import Engine

# What differs between two deaths of one kind.
_PID = re.compile(r"\bpid \d+|\bpid=\d+")


class Deaths:
    """Counts deaths by engine. Those of a shared engine are counted over all processes of its run, each once."""

    def __init__(self) -> None:
        self._lists: dict[tuple[object, ...], list[Any]] = {}

    def add(self, engine: Engine, start: str, reason: str) -> int:
        """Notes that the engine that began with ``start`` has ended; returns how often it did so in a row.

        ``start`` tells one start of an engine from every other. A death for another reason begins a new count.
        """
        with self._open(engine) as deaths:
            # The cause, where it is known, is the same whether its process has ended by now or only its core.
            words = _PID.sub("", reason.partition(": ")[2] or reason)
            if [start, words] not in deaths:
                if deaths and deaths[-1][1] != words:
                    deaths.clear()
                deaths.append([start, words])
            return len(deaths)

    def forget(self, engine: Engine) -> None:
        """Begins anew: the engine has lived through a test."""
        with self._open(engine) as deaths:
            deaths.clear()

    @contextlib.contextmanager
    def _open(self, engine: Engine) -> Iterator[list[Any]]:
        """The deaths of this engine, which the block may change.

        Where the folder of the run was removed, this process counts those that it sees itself.
        """
        deaths = self._lists.setdefault(engine.spec.key, [])
        with contextlib.ExitStack() as stack:
            if engine.spec.run:
                asked = {"engine": [str(part) for part in engine.spec.key]}
                with contextlib.suppress(EngineError):
                    deaths = stack.enter_context(shared_run.open_list(engine.spec.run, asked, "deaths"))
            yield deaths
