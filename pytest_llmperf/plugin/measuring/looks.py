"""The looks at a test that goes on until its budgets are decided: what each has decided, and how many are left."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.judge import judge, may_be_decided
from pytest_llmperf.budgets.verdict import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.budgets.compared import Compare
    from pytest_llmperf.budgets.interval import Confidence
    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.measurement import Measurement

_DECIDED = (Status.PASS, Status.FAIL)


@dataclass(frozen=True)
class Allowance:
    """How far a test may go until its budgets are decided.

    Attributes:
        looks: how often its budgets may be judged, the judgement at its end included.
        seconds: how long it may take; what would end later is not begun.
    """

    looks: int
    seconds: float


class Looks:
    """Judges the budgets of one test, as often as the test looks at what it has so far, and at its end.

    What a look has decided stays decided, as the error at each look is part of that of all looks together. A look at a
    load that grows decides for the test as it is then: once the test has sent more, it no longer counts.

    """

    def __init__(
        self,
        limits: Sequence[Limit],
        confidence: Confidence,
        allowance: Allowance,
        *,
        is_sequential: bool,
        compare: Compare | None = None,
    ) -> None:
        self._limits = limits
        self._confidence = confidence
        self._compare = compare
        self._allowance = allowance
        self._is_sequential = is_sequential
        self._count = 0
        self._start_ns = 0
        self._decided: dict[tuple[str, bool], Verdict] = {}
        self._by_growth: dict[tuple[str, bool], Verdict] = {}
        self._requests_grown = 0

    def open(self) -> None:
        """Forgets all looks: the test begins now."""
        self._count = 0
        self._start_ns = time.monotonic_ns()
        self._decided.clear()
        self._by_growth.clear()

    @property
    def count(self) -> int | None:
        """How often the test has looked; None for one that is judged at its end alone."""
        return self._count if self._is_sequential else None

    def has_room(self, further_seconds: float) -> bool:
        """Whether the allowance has another look, after a further part of the test that takes about so long."""
        spent = (time.monotonic_ns() - self._start_ns) / 1e9
        return self._count + 1 < self._allowance.looks and spent + further_seconds <= self._allowance.seconds

    def begin_growth(self) -> None:
        """Begins to look at a load that grows: from now on each verdict has the error of one look among many."""
        self._is_sequential = True
        self._by_growth.clear()

    def look_at_round(self, measurement: Measurement) -> bool:
        """Judges what all rounds so far have given; returns whether another one may decide a budget."""
        verdicts = self._look(measurement)
        _note_decided(self._decided, verdicts)
        return may_be_decided(verdicts)

    def look_at_growth(self, measurement: Measurement, engine: str) -> bool:
        """Judges the test with what a load has sent so far; returns whether more of it may decide a budget.

        ``engine`` is the label of the engine that is asked, if the test has several: budgets of others do not count.
        """
        self._requests_grown = len(measurement.requests)
        verdicts = self._look(measurement)
        _note_decided(self._by_growth, verdicts)
        return may_be_decided([verdict for verdict in verdicts if verdict.engine in ("", engine)])

    def _look(self, measurement: Measurement) -> list[Verdict]:
        self._count += 1
        return self.judge(measurement)

    def judge(self, measurement: Measurement) -> list[Verdict]:
        """The verdict on each budget, with what earlier looks have decided."""
        confidence = self._confidence.at_each_look() if self._is_sequential else self._confidence
        decided = dict(self._decided)
        if len(measurement.requests) == self._requests_grown:
            decided = {**self._by_growth, **decided}
        verdicts = judge(self._limits, measurement, confidence, self._compare)
        return [_keep_decided(verdict, decided) for verdict in verdicts]


def _keep_decided(verdict: Verdict, decided: dict[tuple[str, bool], Verdict]) -> Verdict:
    """The verdict, or the one of an earlier look that decided it; in either case with what the first decision cost."""
    earlier = decided.get((verdict.title, verdict.relative))
    if earlier is None:
        return verdict
    if verdict.status is Status.INCONCLUSIVE:
        return earlier
    return replace(verdict, engine_seconds=earlier.engine_seconds) if verdict.status is earlier.status else verdict


def _note_decided(decided: dict[tuple[str, bool], Verdict], verdicts: Sequence[Verdict]) -> None:
    decided.update(((verdict.title, verdict.relative), verdict) for verdict in verdicts if verdict.status in _DECIDED)
