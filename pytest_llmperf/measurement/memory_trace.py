"""The memory of an engine over time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.window import Window

Attribution = Literal["tree", "pids", "nspid", "exclusive", "rise", "device", "unified"]
"""How memory was attributed to the engine, the surest way first.

``tree``: host memory of its processes. On a device: ``pids``, the driver lists its processes; ``nspid``, it lists them
under the pids of another namespace; ``exclusive``, no other process was on the device when it started: level less the
level then; ``rise``, others were: the same, with what they took since; ``device``, the whole level of the device;
``unified``, the host's memory less its level then, because the device computes in it and has none of its own.
"""

_BY_PROCESS: tuple[Attribution, ...] = ("tree", "pids", "nspid")


@dataclass(frozen=True)
class MemoryTrace:
    """The engine's memory over a window.

    Attributes:
        samples: pairs of time in ns and bytes, with one sample before the window and one after it.
        source: what was read and how often, in words.
        before_bytes: the last level before the window; None if there is no sample from then.
        settled_bytes: the stable level after the window; None if it was not waited for or did not settle.
        settled_reason: why it did not settle; empty if it did, or was not waited for.
        max_gap_ns: the longest time between two samples.
        fault: why the samples cannot be trusted; empty if they can.
        missing: why the samples do not tell the engine's memory; empty if they do.
        attribution: how the memory was attributed to the engine.
    """

    samples: tuple[tuple[int, int], ...]
    source: str
    before_bytes: int | None = None
    settled_bytes: int | None = None
    settled_reason: str = ""
    max_gap_ns: int = 0
    fault: str = ""
    missing: str = ""
    attribution: Attribution = "tree"

    @property
    def peak_bytes(self) -> int | None:
        """The largest sample; None without any."""
        return max((value for _, value in self.samples), default=None)

    def set_apart(self, others: Sequence[str]) -> MemoryTrace:
        """The trace with word of ``others``, what the engine's server holds beside its model.

        It is missing the engine's memory if that was not attributed by process, which counts the others as well.
        """
        if not others:
            return self
        text = ", ".join(others)
        if self.attribution in _BY_PROCESS:
            return replace(self, source=f"{self.source}; not counted: {text}, which the server holds as well")
        mixed = f"the server also holds {text}, and the processes on the device cannot be told apart"
        return replace(self, missing=self.missing or mixed)

    def cut(self, window: Window) -> MemoryTrace:
        """The part inside ``window``, with one sample on either side of it."""
        kept, before = select_around(self.samples, window)
        return replace(
            self,
            samples=kept,
            before_bytes=before,
            settled_bytes=None,
            settled_reason="",
            max_gap_ns=_max_gap(kept),
        )


def select_around(samples: Sequence[tuple[int, int]], window: Window) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """The samples inside a window with one on either side, and the level before it (None without a sample there)."""
    first = max((i for i, (t, _) in enumerate(samples) if t <= window.start_ns), default=0)
    stop = next((i + 1 for i, (t, _) in enumerate(samples) if t >= window.end_ns), len(samples))
    kept = tuple(samples[first:stop])
    return kept, kept[0][1] if kept and kept[0][0] <= window.start_ns else None


def _max_gap(samples: tuple[tuple[int, int], ...]) -> int:
    return max((b[0] - a[0] for a, b in itertools.pairwise(samples)), default=0)
