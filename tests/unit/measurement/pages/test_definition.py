"""Metrics of a project as ``llmperf.toml`` defines them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_llmperf.measurement.pages.definition import parse_definition

GAUGE = {"series": "queue", "kind": "gauge", "take": "max", "unit": "requests", "better": "lower"}
COUNTER = {"series": "hits_total", "kind": "counter", "unit": "1", "better": "higher", "per": "asked_total"}
HISTOGRAM = {"series": "wait_ms", "kind": "histogram", "take": "p99.9", "unit": "ms", "better": "lower"}


@pytest.mark.parametrize(
    ("table", "base", "scale", "formula"),
    [
        (GAUGE, "requests", 1.0, "max of queue"),
        (COUNTER, "1", 1.0, "rise of hits_total / rise of asked_total"),
        ({**GAUGE, "unit": "%"}, "1", 0.01, "max of queue"),
        (HISTOGRAM, "s", 1e-3, "p99.9 of wait_ms"),
        ({**HISTOGRAM, "take": "mean", "unit": "GiB"}, "B", 2.0**30, "mean of wait_ms"),
    ],
)
def test_a_table_says_what_is_read_and_in_which_unit(
    table: dict[str, Any], base: str, scale: float, formula: str
) -> None:
    found = parse_definition("throughput.x", table)
    assert (found.quantity.base, found.scale, found.formula) == (base, scale, formula)
    assert found.percentile == (99.9 if found.take == "p99.9" else None)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("queue", "is not a table of series, kind, take, unit and better"),
        ({**COUNTER, "unit": "%"}, "unit='%' makes a hundredth of what per gives, which is a share: write unit='1'"),
        ({**GAUGE, "serie": "a"}, "unknown key 'serie'; did you mean series?"),
        ({**GAUGE, "kind": "summary"}, "kind='summary' is none of counter, gauge, histogram"),
        ({**GAUGE, "kind": 1}, "kind=1 is not a text"),
        ({**GAUGE, "take": "p95"}, "take='p95' is not what a gauge has: max, min, mean, last"),
        ({**HISTOGRAM, "take": "p0"}, "take='p0' is not what a histogram has: mean, a percentile such as p95"),
        ({**COUNTER, "take": "max"}, "take='max' is not what a counter has: rise, rate"),
        ({**COUNTER, "take": "rate"}, "per divides the rise of a counter by that of another"),
        ({**GAUGE, "per": "asked"}, "per divides the rise of a counter by that of another"),
        ({**GAUGE, "better": "more"}, "better='more' is none of lower, higher"),
        ({**GAUGE, "series": "a b"}, "'a b' is not a series"),
        ({**GAUGE, "unit": "2 s"}, "unit='2 s' is not a unit"),
        *(({k: v for k, v in GAUGE.items() if k != key}, f"{key} is missing") for key in GAUGE),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_key(table: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        parse_definition("throughput.x", table)
