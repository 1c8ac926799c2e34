"""A measured value beside its baseline: what a relative limit is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_llmperf.budgets.interval import Confidence, Interval
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.reading import Missing, Reading


@dataclass(frozen=True)
class Compared:
    """What a value is compared with.

    Attributes:
        baseline: the value that it is compared with, in the base unit.
        allowed: what the limit allows there, in the base unit.
        interval: where the truth of the value lies, wider by the noise between it and the baseline; None if both are
            exact.
        how: what the baseline is, in words.
        reason: why there is no PASS, unless ``is_within`` explains it.
        is_within: whether the noise of the session itself is what leaves the verdict open, so that more units help.
        p_value: the probability that a build exactly at its limit looks so bad; None if that is not known.
    """

    baseline: float
    allowed: float
    interval: Interval | None
    how: str = ""
    reason: str = ""
    is_within: bool = False
    p_value: float | None = None


class Compare(Protocol):
    """Finds the baseline of a value and compares both."""

    @property
    def sides(self) -> int:
        """How often each limit is compared: with the last runs and with the anchor are two."""

    def __call__(
        self,
        limit: Limit,
        reading: Reading,
        interval: Interval | None,
        measurement: Measurement,
        engine: str,
        confidence: Confidence,
    ) -> Compared | Missing:
        """What the value of a reading is compared with under a relative limit, or why there is no baseline.

        Args:
            interval: where its truth lies by the evidence of this session alone; None if it is exact.
            measurement: that of the whole test.
            engine: the label of the engine that it is of, if the test had several and the limit names one; else empty.
        """
