"""What was found, collected for the block that ends the report and can be pasted into the documentation."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Figures:
    """Rows of (what, figure), and what went wrong."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, figure: str) -> None:
        self.rows.append((what, figure))
        print(f"{what}: {figure}", flush=True)

    def wrong(self, problem: str) -> None:
        self.problems.append(problem)
        print(f"PROBLEM: {problem}", flush=True)

    def block(self) -> str:
        """A table in Markdown."""
        lines = ["| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in self.rows)]
        lines += [f"| problem | {problem} |" for problem in self.problems]
        return "\n".join(lines)


def median_and_p99(values: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile by nearest rank."""
    ordered = sorted(values)
    return statistics.median(ordered), ordered[-(len(ordered) // 100) - 1]


def mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"
