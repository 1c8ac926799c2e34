"""What a test gave on one engine: the values of its metrics, each with what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.units import as_written, find_quantity, format_value
from pytest_llmperf.reports.main_metrics import format_recorded, read_records
from pytest_llmperf.reports.matrix.matrix import INVALID, NONE, Cell
from pytest_llmperf.reports.wire.readings import find_metric, find_metric_name, find_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.measurement.units import Quantity


@dataclass(frozen=True)
class Side:
    """A test on one engine.

    Attributes:
        measurement: in its wire form; of a test with several engines that of this engine alone.
        verdicts: those on this measurement.
        limited: the names of the metrics that the test limits, for this engine or for all of its engines together.
        cut_short: why its values are not those of the whole test, in one sentence; empty if they are.
    """

    measurement: Mapping[str, Any]
    verdicts: Sequence[Verdict]
    limited: Sequence[str]
    cut_short: str = ""

    @property
    def records(self) -> dict[str, tuple[float, str]]:
        """Value and unit of what the test recorded itself, by name; the last of each name."""
        return read_records(self.measurement)

    def has(self, name: str) -> bool:
        """Whether there is a value of this metric."""
        return self._find_value(name) is not None

    def find_better(self, name: str) -> str:
        """Which direction of a metric is better; empty if it is not known here."""
        verdict = next((one for one in self.verdicts if one.name == name), None)
        if verdict is not None:
            return verdict.better
        try:
            return find_metric(self.measurement, name)["better"]
        except KeyError:
            return ""

    def make_cell(self, name: str, limit_text: str = "") -> Cell:
        """The value of a metric, in the units of a limit that was written like this."""
        value = self._find_value(name)
        if value is None:
            return Cell(None, sign=NONE, reason=self._find_reason(name))
        why = self._why_invalid(name)
        return Cell(value, self._format(name, value, limit_text), sign=INVALID if why else "", reason=why)

    def make_recorded_cell(self, name: str) -> Cell:
        """The value that the test recorded under a name."""
        if name not in self.records:
            return Cell(None, sign=NONE, reason=f"the test recorded no {name}")
        value, unit = self.records[name]
        sign = INVALID if self.cut_short else ""
        return Cell(value, format_recorded(value, unit), sign=sign, reason=self.cut_short)

    def _find_value(self, name: str) -> float | None:
        judged = next((one.measured for one in self._on(name) if one.measured is not None), None)
        if judged is not None:
            return judged
        reading = self.measurement.get("readings", {}).get(name)
        return None if reading is None else float(reading["value"])

    def _on(self, name: str) -> Iterable[Verdict]:
        return (one for one in self.verdicts if one.name == name)

    def _find_reason(self, name: str) -> str:
        judged = next((one.reason for one in self._on(name) if one.reason), "")
        if judged or not self.measurement.get("missing"):
            return judged or "not measured"
        return (
            find_reason(self.measurement, name)
            or find_reason(self.measurement, find_metric_name(name))
            or "not measured"
        )

    def _why_invalid(self, name: str) -> str:
        if self.cut_short:
            return self.cut_short
        if judged := next((one.reason for one in self._on(name) if one.status is Status.INVALID), ""):
            return judged
        # Whether an objection undoes a verdict depends on its limit. What is compared has none, and shows either.
        metric = find_metric_name(name)
        found = (one for one in self.measurement.get("validity") or () if metric in one["metrics"])
        return next((one["reason"] for one in found), "")

    def find_unit(self, name: str) -> str:
        """The base unit of a metric that has a value."""
        return self._find_quantity(name).base

    def _format(self, name: str, value: float, limit_text: str) -> str:
        return format_value(value, as_written(self._find_quantity(name), limit_text))

    def _find_quantity(self, name: str) -> Quantity:
        verdict = next(iter(self._on(name)), None)
        return verdict.quantity if verdict else find_quantity(find_metric(self.measurement, name)["unit"])
