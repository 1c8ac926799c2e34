"""What the JSON schema says of metrics is what their table says."""

from __future__ import annotations

import re

import pytest

from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.table import GROUPS, METRICS
from pytest_llmperf.reports.json_report import read_schema

DEFINITIONS = read_schema()["$defs"]
NAMES = DEFINITIONS["readings"]["propertyNames"]["pattern"]


@pytest.mark.parametrize("name", METRICS)
def test_every_reading_of_a_metric_has_a_name_that_the_schema_takes(name: str) -> None:
    found = [name]
    if isinstance(METRICS[name], DistributionMetric):
        found += [f"{name}_{suffix}" for suffix in ("p50", "p99_9", "min", "mean", "max")]
    assert all(re.search(NAMES, each) for each in found)


def test_the_schema_takes_a_new_metric_of_every_group_and_of_no_other() -> None:
    assert all(re.search(NAMES, f"{group}.a_new_one") for group in GROUPS)
    assert re.findall(r"\w+(?=[|)])", NAMES.partition(")")[0] + ")") == list(GROUPS)


def test_the_schema_names_the_unit_of_every_metric() -> None:
    named = re.split(r"[ ,;]+", DEFINITIONS["unit"]["description"])
    assert {metric.quantity.base for metric in METRICS.values()} <= set(named)


def test_the_schema_knows_both_directions() -> None:
    assert set(DEFINITIONS["verdict"]["properties"]["better"]["enum"]) == {m.better for m in METRICS.values()}
