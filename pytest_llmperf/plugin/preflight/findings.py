"""What a run has to say beside its verdicts: budgets that no test reads, options that have no effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Findings:
    """Sentences for the end of the summary, each once. Those that are errors make the run fail."""

    def __init__(self) -> None:
        self._found: dict[str, bool] = {}

    def add(self, text: str, *, error: bool) -> None:
        """Adds a sentence; one that is an error once stays one."""
        self._found[text] = self._found.get(text, False) or error

    def add_wire(self, wire: Iterable[tuple[str, bool]]) -> None:
        """Adds what :meth:`to_wire` gave in another process."""
        for text, error in wire:
            self.add(text, error=error)

    def to_wire(self) -> list[list[str | bool]]:
        """The sentences as plain data."""
        return [[text, error] for text, error in self._found.items()]

    @property
    def fail(self) -> bool:
        """Whether one of them is an error."""
        return any(self._found.values())

    @property
    def errors(self) -> list[str]:
        """The sentences that are errors."""
        return [text for text, error in self._found.items() if error]

    @property
    def lines(self) -> list[str]:
        """A line for each, errors first."""
        warnings = [text for text, error in self._found.items() if not error]
        return [*(f"error: {text}" for text in self.errors), *(f"warning: {text}" for text in warnings)]
