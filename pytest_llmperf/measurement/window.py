"""A span of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """From ``start_ns`` to ``end_ns``, both in ns of ``time.monotonic_ns()``; ``name`` is empty for a whole test."""

    start_ns: int
    end_ns: int
    name: str = ""

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return (self.end_ns - self.start_ns) / 1e9
