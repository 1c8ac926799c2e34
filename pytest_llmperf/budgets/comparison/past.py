"""What earlier runs have measured of one metric of one test."""

from __future__ import annotations

from dataclasses import dataclass, replace

_LARGEST = 1e100
"""Beyond it, and below its inverse, no unit has a value that was measured."""


def is_comparable(value: float) -> bool:
    """Whether another value can be compared with this one: it is finite, and of a size that something can have."""
    return -_LARGEST <= value <= _LARGEST and not 0 < value < 1 / _LARGEST


@dataclass(frozen=True)
class PastValue:
    """The value of one earlier run, in the base unit of its metric.

    Attributes:
        samples: how many observations it is computed from; None if that is not known.
        name: the run, for people: its date and its commit.
    """

    value: float
    samples: int | None = None
    name: str = ""


@dataclass(frozen=True)
class Past:
    """The values to compare with, newest first, or the reason why there are none.

    Attributes:
        values: those of the last runs; empty for the reason in ``why_none``.
        anchor: that of a run which stays the same while the last ones move on, so that a slow drift is seen; None if
            there is none.
        why_none: one sentence; it begins with ``not comparable`` if there are runs of something else only.
        baseline: the name under which the runs were saved.
    """

    values: tuple[PastValue, ...] = ()
    anchor: PastValue | None = None
    why_none: str = ""
    baseline: str = "main"

    def keep_comparable(self) -> Past:
        """Without the values that nothing can be compared with."""
        kept = tuple(one for one in self.values if is_comparable(one.value))
        anchor = self.anchor if self.anchor is not None and is_comparable(self.anchor.value) else None
        none_kept = f"no run of {self.baseline} has a value that can be compared" if self.values and not kept else ""
        return replace(self, values=kept, anchor=anchor, why_none=self.why_none or none_kept)
