"""The trends over stored runs that the page has, within a size for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_llmperf.reports.page.entries import make_anchor
from pytest_llmperf.reports.page.templates import mark_safe
from pytest_llmperf.reports.plots.trend import draw_trend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

MOST_BYTES = 40_000


@dataclass(frozen=True)
class Trend:
    """The history of one metric of one test, as SVG."""

    nodeid: str
    anchor: str
    measured_on: str
    svg: Markup


@dataclass(frozen=True)
class Trends:
    """The trends that are shown, and how many there are beside them."""

    shown: tuple[Trend, ...]
    more: int


def draw_trends(histories: Sequence[Mapping[str, Any]]) -> Trends | None:
    """The trends in the order of the histories; None without any."""
    shown: list[Trend] = []
    spent = 0
    for history in histories:
        if spent > MOST_BYTES:
            break
        svg = draw_trend(history)
        spent += len(svg.encode())
        test = str(history["test"])
        shown.append(Trend(test, make_anchor(test), str(history["measured_on"]), mark_safe(svg)))
    return Trends(tuple(shown), len(histories) - len(shown)) if shown else None
