"""A value that was read, or the reason why there is none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """One number and how it was measured, or the reason why there is none.

    Attributes:
        value: in the base unit of its metric (bytes, seconds, tok/s, ...); None if it was not measured.
        how: formula and source in words; empty for a missing value.
        reason: why there is no value, in one sentence; empty if there is one.
        samples: how many observations the value is computed from; None if that has no meaning for it.
        needs_more: whether there is no value because of too few observations.
        lacks_baseline: whether there is no value because nothing is there yet to compare with.
    """

    value: float | None
    how: str = ""
    reason: str = ""
    samples: int | None = None
    needs_more: bool = False
    lacks_baseline: bool = False

    @staticmethod
    def missing(reason: str, *, needs_more: bool = False) -> Reading:
        """A reading without a value."""
        return Reading(None, reason=reason, needs_more=needs_more)


@dataclass(frozen=True)
class Missing:
    """In place of a value that is not there: ``reason`` says why, in one sentence."""

    reason: str


@dataclass(frozen=True)
class PageReading:
    """What was read of one metric of a page in a test: its value, or why there is none.

    Attributes:
        reading: in the base unit of the metric.
        fault: why the value cannot be trusted, such as a counter that was set back; empty if it can.
        is_bounded: whether the truth is only known to lie between ``low`` and ``high``, such as the bounds of a bucket;
            if not, the value is exact.
        low, high: in the base unit of the metric; None where nothing bounds that side.
    """

    reading: Reading
    fault: str = ""
    is_bounded: bool = False
    low: float | None = None
    high: float | None = None
