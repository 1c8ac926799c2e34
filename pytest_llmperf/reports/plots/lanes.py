"""The requests of a test as lanes over time: waiting, prefill and decode, with a cross at the end of a failed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.measurement.units import SECONDS, format_value
from pytest_llmperf.reports.plots.svg import Canvas, measure_text, shorten, trace_across, trace_crosses
from pytest_llmperf.reports.plots.time_axis import RIGHT, WIDTH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.reports.plots.scale import Scale

_MOST_LANES = 60
_MOST_HEIGHT = 96
_LANE = 9


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


def measure_lanes(lanes: Sequence[Lane]) -> int:
    """How high the lanes are together, in units of a canvas."""
    rows = max(_stack(lanes)) + 1
    return rows * _find_height(rows)


def _find_height(rows: int) -> int:
    return max(1, min(_LANE, _MOST_HEIGHT // rows))


def draw_lanes(canvas: Canvas, time: Scale, measurement: Mapping[str, Any], lanes: Sequence[Lane], top: float) -> str:
    """Draws the lanes from the height ``top`` on, and tells of all requests in a sentence."""
    rows = _stack(lanes)
    height = _find_height(max(rows) + 1)
    placed = [(top + height * (row + 0.5), lane) for lane, row in zip(lanes, rows, strict=True)]
    placed.sort(key=lambda pair: (pair[0], pair[1].sent))
    thick = max(1, height - 2)
    waits = [(time.place(lane.sent), time.place(lane.began), y) for y, lane in placed if lane.began > lane.sent]
    firsts = [
        (time.place(lane.began), time.place(lane.end if lane.first is None else lane.first), y) for y, lane in placed
    ]
    decodes = [(time.place(lane.first), time.place(lane.end), y) for y, lane in placed if lane.first is not None]
    canvas.add_path("w", trace_across(waits))
    canvas.add_path("p", trace_across(firsts), max(1, thick // 2))
    canvas.add_path("d", trace_across(decodes), thick)
    failures = [(time.place(lane.end), y) for y, lane in placed if lane.failed]
    canvas.add_path("X", trace_crosses(failures, min(7, max(3, height - 1))))
    total, failed = measurement["lanes_of"], measurement["requests"]["failed"]
    counted = f"{total:,} request{'' if total == 1 else 's'}"
    parted = f"{len(lanes)} of {counted}" if len(lanes) < total else ""
    crossed = f"✗ {failed:,} of {total:,} failed" if failed else ""
    _name(canvas, parted or counted, crossed, top + 8, is_parted=bool(parted) and max(rows) > 0)
    slowest = format_value(max(lane.end - lane.sent for lane in lanes), SECONDS)
    at_once = f", up to {max(rows) + 1} at once" if max(rows) else ""
    drawn = at_once if len(lanes) == total else f", {len(lanes)} of them drawn"
    return f"{counted}{drawn}, {failed:,} failed, the longest took {slowest}."


def _name(canvas: Canvas, counted: str, failed: str, y: float, *, is_parted: bool) -> None:
    """The number of requests at the right, and how many of them failed; below it if that is long.

    ``is_parted`` says that not all of several rows are drawn: then the number is always there, as rows do not show what
    ran at once.
    """
    room = WIDTH - RIGHT - 5
    if not failed or is_parted or measure_text(failed) > room:
        fits = measure_text(counted) <= room
        canvas.add_text(counted if fits else counted.removesuffix(" requests"), "", (RIGHT + 5, y))
        y += 13
    if failed:
        canvas.add_text(shorten(failed, WIDTH - RIGHT - 5), "x", (RIGHT + 5, y))


def draw_key() -> str:
    """What the lanes mean, for a place on the page that all tests share."""
    canvas = Canvas(WIDTH, 16)
    y = 8
    canvas.add_path("w", trace_across([(4, 30, y)]))
    canvas.add_text("queue", "k", (36, y + 4))
    canvas.add_path("p", trace_across([(84, 110, y)]), 3)
    canvas.add_text("prefill", "k", (116, y + 4))
    canvas.add_path("d", trace_across([(172, 198, y)]), 7)
    canvas.add_text("decode", "k", (204, y + 4))
    canvas.add_path("X", trace_crosses([(264, y)], 7))
    canvas.add_text("failed", "k", (274, y + 4))
    return canvas.render(
        "Key of the requests", "A thin line is the queue, a wider one prefill, a bar decode, a cross a failure."
    )
