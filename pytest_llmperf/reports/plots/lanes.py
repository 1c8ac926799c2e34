"""The requests of a test as lanes over time: waiting, prefill and decode, with a cross at the end of a failed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.plots.svg import trace_across, trace_crosses
from pytest_llmperf.reports.plots.time_axis import RIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.reports.plots.scale import Scale
    from pytest_llmperf.reports.plots.svg import Canvas

_MOST_LANES = 60
_MOST_HEIGHT = 96.0
_LANE = 9.0


class Lane(NamedTuple):
    """One request; times are seconds from the start of the test.

    Attributes:
        sent: when it was sent.
        began: when the engine began with it; equal to ``sent`` if that is not known.
        first: when its first token came; None if none did, or if it is not known.
        end: when it ended.
        failed: whether it did not give a whole answer.
    """

    sent: float
    began: float
    first: float | None
    end: float
    failed: bool


def list_lanes(measurement: Mapping[str, Any]) -> list[Lane]:
    """The requests that are drawn, by the time of their sending."""
    found = [_read_lane(lane) for lane in measurement.get("lanes") or ()]
    return sorted(_choose(found), key=lambda lane: lane.sent)


def _read_lane(lane: Sequence[Any]) -> Lane:
    sent, first, end, ending, waited = lane
    return Lane(sent, sent + (waited or 0.0), first, max(sent, end), ending == "failed")


def _choose(lanes: Sequence[Lane]) -> Sequence[Lane]:
    """All of them, or so many: the failed ones first, then others that lie evenly apart."""
    if len(lanes) <= _MOST_LANES:
        return lanes
    failed = [lane for lane in lanes if lane.failed][: _MOST_LANES // 2]
    others = [lane for lane in lanes if not lane.failed]
    room = min(_MOST_LANES - len(failed), len(others))
    return [*failed, *(others[place * len(others) // room] for place in range(room))]


def _stack(lanes: Sequence[Lane]) -> list[int]:
    """The row of each lane: the first one in which nothing runs at that time, so that rows count what runs at once."""
    ends: list[float] = []
    rows = []
    for lane in lanes:
        row = next((place for place, end in enumerate(ends) if end <= lane.sent), len(ends))
        ends[row : row + 1] = [max(lane.end, lane.sent)]
        rows.append(row)
    return rows


def measure_lanes(measurement: Mapping[str, Any]) -> float:
    """How high the lanes are, in units of a canvas; 0 without a request."""
    lanes = list_lanes(measurement)
    return min(_MOST_HEIGHT, _LANE * (max(_stack(lanes)) + 1)) + 2 if lanes else 0.0


def draw_lanes(canvas: Canvas, time: Scale, measurement: Mapping[str, Any], top: float) -> str:
    """Draws the lanes from the height ``top`` on, and tells of them in a sentence."""
    lanes = list_lanes(measurement)
    rows = _stack(lanes)
    height = min(_LANE, _MOST_HEIGHT / (max(rows) + 1))
    placed = [(lane, top + height * (row + 0.5) + 1) for lane, row in zip(lanes, rows, strict=True)]
    thick = max(1.0, height - 2)
    waiting = [(time.place(lane.sent), time.place(lane.began), y) for lane, y in placed if lane.began > lane.sent]
    prefill = [
        (time.place(lane.began), time.place(lane.end if lane.first is None else lane.first), y) for lane, y in placed
    ]
    decode = [(time.place(lane.first), time.place(lane.end), y) for lane, y in placed if lane.first is not None]
    canvas.add_path("w", trace_across(waiting), 1.5)
    canvas.add_path("p", trace_across(prefill), max(1.0, thick / 2))
    canvas.add_path("d", trace_across(decode), thick)
    canvas.add_path(
        "X", trace_crosses([(time.place(lane.end), y) for lane, y in placed if lane.failed], min(7, height))
    )
    total = measurement.get("lanes_of") or measurement["requests"]["total"]
    failed = measurement["requests"]["failed"]
    canvas.add_text((RIGHT + 5, top + 9), f"{total} request{'' if total == 1 else 's'}")
    if failed:
        canvas.add_text((RIGHT + 5, top + 22), f"✗ {failed} failed", "x")
    slowest = max(lane.end - lane.sent for lane in lanes)
    drawn = "" if len(lanes) == total else f", {len(lanes)} of them drawn"
    at_once = f", up to {max(rows) + 1} at once" if max(rows) else ""
    return f"{total} requests{drawn}{at_once}, {failed} failed, the longest {format_value(slowest, SECONDS)}."
