"""A metric of the project that is read from a metrics page, as ``llmperf.toml`` defines it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement import units
from pytest_llmperf.measurement.pages.series import PageSeries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.measurement.units import Quantity

Kind = Literal["counter", "gauge", "histogram"]
_TAKES: dict[str, tuple[str, ...]] = {
    "counter": ("rise", "rate"),
    "gauge": ("max", "min", "mean", "last"),
    "histogram": ("mean",),
}
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
_KEYS = ("series", "kind", "take", "per", "unit", "better")
_KNOWN_UNITS = (
    units.BYTES,
    units.SECONDS,
    units.TOKENS_PER_SECOND,
    units.TOKENS_PER_STEP,
    units.REQUESTS_PER_SECOND,
    units.JOULES,
    units.JOULES_PER_TOKEN,
    units.WATTS,
    units.SHARE,
    units.NATS,
)


@dataclass(frozen=True)
class PageMetric:
    """What of a page is a metric.

    Attributes:
        name: that of the metric, ``throughput.cache_hits``.
        series: the series that it is read from; those of a counter or of a histogram are added up.
        kind: of these series.
        take: of a counter ``rise`` or ``rate``, of a gauge ``max``, ``min``, ``mean`` or ``last``, of a histogram
            ``mean`` or a percentile, ``p95``.
        quantity: what it is a value of.
        scale: what a value of the page is multiplied with to be in the base unit of the quantity.
        better: which direction is better.
        per: of a counter, the counter by whose rise its own is divided; None without one.
    """

    name: str
    series: PageSeries
    kind: Kind
    take: str
    quantity: Quantity
    scale: float
    better: Literal["lower", "higher"]
    per: PageSeries | None = None

    @property
    def percentile(self) -> float | None:
        """Of a histogram, 95.0 of ``p95``; None for its mean, and for other kinds."""
        found = _PERCENTILE.fullmatch(self.take) if self.kind == "histogram" else None
        return float(found[1]) if found else None

    @property
    def formula(self) -> str:
        """What is computed, for people."""
        of = f"{self.take} of {self.series.text}"
        return of if self.per is None else f"{of} / rise of {self.per.text}"

    @property
    def counters(self) -> tuple[PageSeries, ...]:
        """The series that may only rise."""
        if self.kind == "gauge":
            return ()
        if self.kind == "histogram":
            return tuple(self.series.rename(suffix) for suffix in ("_count", "_sum", "_bucket"))
        return (self.series,) if self.per is None else (self.series, self.per)


def parse_definition(name: str, table: object) -> PageMetric:
    """Parses the table of one metric: ``{series = "...", kind = "gauge", take = "max", unit = "1", better = "lower"}``.

    Raises:
        ValueError: one line that names the key and what would be right.
    """
    if not isinstance(table, dict):
        raise ValueError("is not a table of series, kind, take, unit and better")
    for key in table:
        if key not in _KEYS:
            close = get_close_matches(str(key), _KEYS, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; it takes {', '.join(_KEYS)}"
            raise ValueError(f"unknown key {key!r}{hint}")
    kind = _parse_choice("kind", table, tuple(_TAKES))
    quantity, scale = _parse_unit(_require("unit", table))
    if "per" in table and _require("unit", table) == "%":
        raise ValueError("unit='%' makes a hundredth of what per gives, which is a share: write unit='1'")
    per = PageSeries.parse(_require("per", table)) if "per" in table else None
    take = _parse_take(kind, table, has_per=per is not None)
    better = _parse_choice("better", table, ("lower", "higher"))
    series = PageSeries.parse(_require("series", table))
    return PageMetric(name, series, kind, take, quantity, scale, better, per)  # type: ignore[arg-type]


def _require(key: str, table: Mapping[str, object]) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key}={value!r} is not a text" if key in table else f"{key} is missing")
    return value.strip()


def _parse_choice(key: str, table: Mapping[str, object], known: tuple[str, ...]) -> str:
    value = _require(key, table)
    if value not in known:
        raise ValueError(f"{key}={value!r} is none of {', '.join(known)}")
    return value


def _parse_take(kind: str, table: Mapping[str, object], *, has_per: bool) -> str:
    take = _require("take", table) if "take" in table or kind != "counter" else "rise"
    percentile = _PERCENTILE.fullmatch(take) if kind == "histogram" else None
    if percentile is not None and float(percentile[1]) > 0:
        return take
    if take not in _TAKES[kind]:
        known = [*_TAKES[kind], *(["a percentile such as p95"] if kind == "histogram" else [])]
        raise ValueError(f"take={take!r} is not what a {kind} has: {', '.join(known)}")
    if has_per and take != "rise":
        raise ValueError("per divides the rise of a counter by that of another: it needs kind='counter', take='rise'")
    return take


def _parse_unit(text: str) -> tuple[Quantity, float]:
    """The quantity of values in a unit, and the size of the unit in its base; any other word is a unit of its own."""
    if text == units.SHARE.base:
        return units.SHARE, 1.0
    for quantity in _KNOWN_UNITS:
        if text in quantity.units:
            return quantity, quantity.units[text]
    if not re.fullmatch(r"[^\W\d]\S{0,15}", text):
        raise ValueError(f"unit={text!r} is not a unit: write one such as 'ms', '%', 'tok/s', or a word of your own")
    return units.find_quantity(text), 1.0
