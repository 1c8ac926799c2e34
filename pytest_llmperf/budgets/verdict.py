"""The verdict on one budget, and its texts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.units import (
    SECONDS,
    SHARE,
    Quantity,
    as_written,
    format_apart,
    format_change,
    format_value,
)

if TYPE_CHECKING:
    from pytest_llmperf.budgets.interval import Interval
    from pytest_llmperf.budgets.limit import Limit


class Status(StrEnum):
    """The outcome of one budget. INCONCLUSIVE: the value is too close to its limit to tell on which side it lies."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_MEASURED = "NOT MEASURED"
    INVALID = "INVALID"
    NO_BUDGET = "NO BUDGET"
    NO_BASELINE = "NO BASELINE"

    @property
    def without_verdict(self) -> bool:
        """Whether the budget could not be judged, which fails a test under ``--llmperf-strict``."""
        return self in (Status.NOT_MEASURED, Status.INVALID, Status.NO_BUDGET, Status.NO_BASELINE)


@dataclass(frozen=True)
class Verdict:
    """One budget, judged. ``name`` is the metric as limited (``latency.ttft_p95``); values are in its base unit.

    ``quantity`` and ``better`` are those of the metric. ``interval`` says where the true value lies; None for a value
    that is exact. ``how`` says how the value was measured, ``reason`` why there is no PASS. ``engine`` is the label of
    the engine that it is of, if the test had several and the budget names one, else empty. ``needs_more`` says that
    more evidence may decide it. ``engine_seconds`` is what it cost: the engine's time up to the look that decided it,
    or in the whole test; None if that is not known. A NO BUDGET verdict has no limit; it has no name and no metric
    either if no limit of the test applies.

    A ``relative`` limit is one against ``baseline``, the value that the measured one is compared with. Then ``limit``
    is what the baseline allows in the base unit, None without a baseline; ``limit_text`` is the share as written
    (``+10 %``), and ``interval`` holds the noise of both sides. ``p_value`` is the probability that a build exactly at
    its limit looks so bad; None if it was not computed.
    """

    status: Status
    name: str
    metric: str
    quantity: Quantity = SHARE
    better: Literal["lower", "higher"] = "lower"
    limit: float | None = None
    limit_text: str = ""
    measured: float | None = None
    interval: Interval | None = None
    how: str = ""
    reason: str = ""
    engine: str = ""
    needs_more: bool = False
    engine_seconds: float | None = None
    relative: bool = False
    baseline: float | None = None
    p_value: float | None = None

    @property
    def title(self) -> str:
        """``latency.ttft_p95``, or ``vllm: latency.ttft_p95`` for one engine of several."""
        return f"{self.engine}: {self.name}" if self.engine else self.name

    @property
    def margin(self) -> float | None:
        """The room that is left, positive inside the budget and negative beyond it; None if there is no value or limit.

        A share of the limit, so that ``-0.08`` is 8 % beyond it. Inside a lower limit it is the share of the measured
        value that may be lost, so that it never exceeds 1 either and may be compared with the room in upper limits.
        """
        if self.limit is None or self.measured is None:
            return None
        higher = self.better == "higher"
        room = self.measured - self.limit if higher else self.limit - self.measured
        whole = self.measured if higher and room > 0 else self.limit
        if whole == 0:
            return 0.0 if room == 0 else None
        return room / whole

    @property
    def measured_text(self) -> str:
        """The measured value in the units of the limit, with enough digits to differ from it; ``–`` without a value."""
        if self.measured is None:
            return "–"
        if self.limit is None:
            return format_value(self.measured, self.quantity)
        return format_apart(self.measured, self.limit, as_written(self.quantity, self.limit_text))

    @property
    def interval_text(self) -> str:
        """``268 to 303`` in the unit of the measured value, ``at least 268 ms``; empty for a value that is exact."""
        if self.measured is None or self.interval is None:
            return ""
        if self.interval.low == self.interval.high == self.measured:
            return ""
        low, high = self._format_bound(self.interval.low), self._format_bound(self.interval.high)
        if low and high:
            units = {text.rpartition(" ")[2] for text in (low, high, self.measured_text)}
            return f"{low} to {high}" if len(units) > 1 else f"{low.rpartition(' ')[0]} to {high.rpartition(' ')[0]}"
        return f"at least {low}" if low else f"at most {high}" if high else "not bounded"

    def _format_bound(self, bound: float | None) -> str:
        """In the units of the limit, with enough digits to differ from it; empty for None."""
        if bound is None:
            return ""
        if self.limit is None:
            return format_value(bound, self.quantity)
        return format_apart(bound, self.limit, as_written(self.quantity, self.limit_text))

    @property
    def change(self) -> float | None:
        """How much the measured value differs from the baseline, as a share of it; None without either, or for 0."""
        return self._change_of(self.measured)

    def _change_of(self, value: float | None) -> float | None:
        return None if value is None or not self.baseline else value / self.baseline - 1

    @property
    def change_text(self) -> str:
        """``+4.1 % (+2.8 to +5.5)``: the change against the baseline and where the true one lies; empty without one."""
        if self.change is None:
            return ""
        changed = format_change(self.change)
        if self.interval is None or self.interval.low == self.interval.high == self.measured:
            return changed
        low, high = self._change_of(self.interval.low), self._change_of(self.interval.high)
        if low is not None and high is not None:
            return f"{changed} ({format_change(low).removesuffix(' %')} to {format_change(high).removesuffix(' %')})"
        if low is None and high is None:
            return f"{changed} (not bounded)"
        bound = f"at most {format_change(high)}" if high is not None else f"at least {format_change(low or 0.0)}"
        return f"{changed} ({bound})"

    @property
    def measured_with_interval(self) -> str:
        """``281 ms (268 to 303)``, or the value alone if it is exact; for a relative limit the change."""
        if self.change_text:
            return self.change_text
        return f"{self.measured_text} ({self.interval_text})" if self.interval_text else self.measured_text

    @property
    def margin_text(self) -> str:
        """``-8.1 %`` for a peak 8.1 % over its limit; for a limit of zero the room itself, ``-3.00 MiB``."""
        if self.margin is not None:
            return format_change(self.margin)
        if self.limit is None or self.measured is None:
            return "–"
        amount = format_value(abs(self.measured), as_written(self.quantity, self.limit_text))
        return f"-{amount}" if self.measured > 0 else f"+{amount}"

    @property
    def cost_text(self) -> str:
        """The engine's time that the verdict took, ``3.21 s``; ``–`` if it is not known."""
        return "–" if self.engine_seconds is None else format_value(self.engine_seconds, SECONDS)

    def sentence(self) -> str:
        """One line: ``memory.peak 17.3 GiB > 16 GiB (margin -8.1 %)``, or the status and its reason."""
        if self.status is not Status.FAIL or self.measured is None or self.limit is None:
            value = f" {self.measured_with_interval}" if self.status is Status.INCONCLUSIVE else ""
            return f"{self.title}{value} {self.status}: {self.reason}" if self.name else f"{self.status}: {self.reason}"
        sign = ">" if self.better == "lower" else "<"
        if self.relative:
            return f"{self.title} {self.measured_with_interval} {sign} {self.limit_text}{self._beside_baseline}"
        margin = f" (margin {self.margin_text})" if self.limit else ""
        return f"{self.title} {self.measured_with_interval} {sign} {self.limit_text}{margin}"

    @property
    def _beside_baseline(self) -> str:
        """``: 343 ms against 300 ms``; empty without a baseline."""
        if self.baseline is None or self.measured is None:
            return ""
        measured = format_apart(self.measured, self.baseline, self.quantity)
        return f": {measured} against {format_apart(self.baseline, self.measured, self.quantity)}"


def make_verdict(
    status: Status,
    limit: Limit,
    reason: str = "",
    *,
    measured: float | None = None,
    interval: Interval | None = None,
    how: str = "",
) -> Verdict:
    """The verdict on a limit. One against a baseline has no ``limit`` and no ``baseline`` yet."""
    return Verdict(
        status,
        limit.name,
        limit.metric,
        quantity=limit.quantity,
        better=limit.definition.better,
        limit=None if limit.relative else limit.value,
        limit_text=limit.text,
        measured=measured,
        interval=interval,
        how=how,
        reason=reason,
        relative=limit.relative,
    )
