"""The tables of metrics in the reference are those of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_llmperf.metrics.table import GROUPS, METRICS

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(?P<key>\w+)` \| `(?P<unit>[^`|]+)` \| (?P<formula>[^|]+?) \|", re.MULTILINE)


def rows(group: str) -> list[tuple[str, str, str]]:
    """Key, unit and formula of each row in the section of a marker."""
    _, _, rest = REFERENCE.partition(f"### `{group}_budget`\n")
    section = re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return [(row["key"], row["unit"], row["formula"]) for row in ROW.finditer(section)]


@pytest.mark.parametrize("group", GROUPS)
def test_the_reference_has_key_unit_and_formula_of_every_metric(group: str) -> None:
    metrics = [metric for metric in METRICS.values() if metric.group == group]
    assert rows(group) == [(metric.key, metric.quantity.base, metric.formula) for metric in metrics]
