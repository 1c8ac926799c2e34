"""The memory levels of one test that its engines have settled at: loaded and unasked, and after an unload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.memory import read_settled

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.measurement.measurement import Measurement


class SettledLevels:
    """One settled level: that of all engines of a test together, and of each alone."""

    def __init__(self) -> None:
        self._of_each: dict[Engine, Reading] = {}
        self._of_all: Reading | None = None

    @property
    def is_noted(self) -> bool:
        """Whether there is a reading, or the reason why there is none."""
        return self._of_all is not None

    def forget(self) -> None:
        """Forgets what was noted."""
        self._of_each.clear()
        self._of_all = None

    def note(self, settled: Measurement, engines: Sequence[Engine], of: Iterable[Engine]) -> None:
        """Takes the levels of a measurement of these ``engines``, once memory has settled.

        The level of all engines replaces an earlier one; of single engines only those in ``of`` get one.
        """
        chosen = tuple(of)
        for engine, part in zip(engines, settled.parts, strict=False):
            if engine in chosen:
                self._of_each[engine] = read_settled(part)
        self._of_all = read_settled(settled)

    def note_missing(self, engines: Sequence[Engine], reason: str) -> None:
        """Notes why these engines have no such level, in one sentence."""
        self._of_all = Reading.missing(reason)
        self._of_each.update(dict.fromkeys(engines, self._of_all))

    def read(self, engine: Engine | None) -> Reading | None:
        """The level of one of several engines, or with None of all engines of the test; None if none was noted."""
        return self._of_all if engine is None else self._of_each.get(engine)
