"""The result of one test, and its wire form for the way between processes.

The wire form is built of exact builtin types only: pytest-xdist refuses everything else, subclasses included.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmperf.budgets.interval import Interval
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.units import find_quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FailedBy = Literal["", "budget", "test", "teardown"]
SCHEMA = 3
"""The version of the shape of a report and of a result in its wire form."""


@dataclass(frozen=True)
class TestResult:
    """Everything that a report may say of one test.

    Attributes:
        nodeid: pytest's.
        verdicts: one for each budget that was judged.
        measurement: in the wire form of ``reports/wire/measurement.py``; empty if nothing was measured.
        outcome: pytest's of the call: ``passed``, ``failed`` or ``skipped``.
        failed_by: what failed the test: ``budget``, its own ``test`` function, or the ``teardown`` of its fixtures, the
            first of these; empty if nothing did.
        duration_s: of the call phase, in seconds.
        pairs: of a test that ran on two engines by turns, what each turn gave, as plain data; empty for other tests.
        engine: in a run of several, the label of the one that it ran on, as it stands in its id; else empty.
        is_whole: whether its body ran to the end. It did not if the test failed by itself.
        file: where the test is defined, from the root of the project; empty where pytest knows no place.
        line: of its definition in that file, decorators included, counted from 1; None where pytest knows none.
    """

    __test__ = False

    nodeid: str
    verdicts: tuple[Verdict, ...]
    measurement: Mapping[str, Any]
    outcome: str = ""
    duration_s: float = 0.0
    pairs: Mapping[str, Any] = field(default_factory=dict)
    engine: str = ""
    is_whole: bool = True
    failed_by: FailedBy = ""
    file: str = ""
    line: int | None = None

    @property
    def place(self) -> str:
        """``test_chat.py:12``; empty where pytest knows no place."""
        return f"{self.file}:{self.line}" if self.file and self.line is not None else ""

    def with_outcome(self, outcome: str, duration_s: float, failed_by: FailedBy = "test") -> TestResult:
        """The same result with what is known once the test's call has ended; ``failed_by`` counts if it failed."""
        why: FailedBy = (self.failed_by or failed_by) if outcome == "failed" else ""
        return replace(self, outcome=outcome, duration_s=duration_s, failed_by=why)


def to_wire(result: TestResult) -> dict[str, Any]:
    """The result as plain data, of exact builtin types only."""
    return {
        "schema": SCHEMA,
        "nodeid": result.nodeid,
        "outcome": result.outcome,
        "duration_s": float(result.duration_s),
        "failed_by": result.failed_by,
        "verdicts": [_verdict_to_wire(v) for v in result.verdicts],
        "measurement": dict(result.measurement),
        **({"pairs": dict(result.pairs)} if result.pairs else {}),
        **({"engine": str(result.engine)} if result.engine else {}),
        **({} if result.is_whole else {"is_whole": False}),
        **({"file": str(result.file), "line": int(result.line)} if result.file and result.line is not None else {}),
    }


def from_wire(data: Mapping[str, Any]) -> TestResult:
    """The result that :func:`to_wire` made the data of; what is empty may have been left out, as reports do.

    Raises:
        KeyError: a part is missing.
    """
    return TestResult(
        nodeid=data["nodeid"],
        outcome=data["outcome"],
        duration_s=data["duration_s"],
        verdicts=tuple(_verdict_from_wire(v) for v in data["verdicts"]),
        measurement=data["measurement"],
        pairs=data.get("pairs", {}),
        engine=data.get("engine", ""),
        is_whole=data.get("is_whole", True),
        failed_by=data.get("failed_by", ""),
        file=data.get("file", ""),
        line=data.get("line"),
    )


def _verdict_to_wire(verdict: Verdict) -> dict[str, Any]:
    return {
        "status": str(verdict.status.value),
        "name": verdict.name,
        "metric": verdict.metric,
        "unit": verdict.quantity.base,
        "better": verdict.better,
        "limit": None if verdict.limit is None else float(verdict.limit),
        "limit_text": str(verdict.limit_text),
        "measured": None if verdict.measured is None else float(verdict.measured),
        "interval": None if verdict.interval is None else _interval_to_wire(verdict.interval),
        "how": str(verdict.how),
        "reason": str(verdict.reason),
        "engine": str(verdict.engine),
        "engine_seconds": None if verdict.engine_seconds is None else float(verdict.engine_seconds),
        "relative": bool(verdict.relative),
        "baseline": None if verdict.baseline is None else float(verdict.baseline),
        "p_value": None if verdict.p_value is None else float(verdict.p_value),
    }


def _interval_to_wire(interval: Interval) -> dict[str, Any]:
    return {
        "low": None if interval.low is None else float(interval.low),
        "high": None if interval.high is None else float(interval.high),
        "units": int(interval.units),
        "effective": float(interval.effective),
        "unit": str(interval.unit),
    }


def _verdict_from_wire(data: Mapping[str, Any]) -> Verdict:
    return Verdict(
        status=Status(data["status"]),
        name=data["name"],
        metric=data["metric"],
        quantity=find_quantity(data["unit"]),
        better=data["better"],
        limit=data["limit"],
        limit_text=data.get("limit_text", ""),
        measured=data["measured"],
        interval=_interval_from_wire(data.get("interval")),
        how=data.get("how", ""),
        reason=data.get("reason", ""),
        engine=data["engine"],
        engine_seconds=data.get("engine_seconds"),
        relative=data["relative"],
        baseline=data.get("baseline"),
        p_value=data.get("p_value"),
    )


def _interval_from_wire(data: Mapping[str, Any] | None) -> Interval | None:
    if data is None:
        return None
    return Interval(data.get("low"), data.get("high"), data["units"], data["effective"], data.get("unit", ""))


def count_statuses(results: Sequence[TestResult]) -> dict[Status, int]:
    """The number of budgets with each status; every status is a key."""
    found = Counter(verdict.status for result in results for verdict in result.verdicts)
    return {status: found[status] for status in Status}


def shows_cost(results: Sequence[TestResult]) -> bool:
    """Whether one of the tests went on until its budgets were decided, so that what each verdict cost is shown."""
    return any(result.measurement.get("looks") is not None for result in results)


def find_part(measurement: Mapping[str, Any], engine: str) -> Mapping[str, Any]:
    """The part of a measurement that has this label; the whole measurement if there is none, or the label is empty."""
    parts: Sequence[Mapping[str, Any]] = measurement.get("parts", ()) if engine else ()
    return next((part for part in parts if part["label"] == engine), measurement)


def sort_tightest_first(verdicts: Sequence[tuple[TestResult, Verdict]]) -> list[tuple[TestResult, Verdict]]:
    """Broken budgets first, then by the room that is left, then those without a number."""
    return sorted(verdicts, key=lambda pair: (pair[1].margin is None, pair[1].margin or 0.0))


def find_variant(engine: Mapping[str, Any]) -> str:
    """The label that the run gave to an engine in its wire form; empty if it gave none."""
    label: str = engine["label"]
    return "" if label == f"{engine['name']}:{engine['model']}" else label
