"""Metrics that are added to the table."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.units import BYTES, SECONDS
from pytest_llmperf.metrics import table
from pytest_llmperf.metrics.metric import (
    DistributionMetric,
    Objective,
    SampleSource,
    ScalarMetric,
)
from pytest_llmperf.metrics.table import METRICS, list_keys, read, register_metric
from tests.helpers.streams import measured, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

MEAN = ScalarMetric(
    name="memory.mean",
    quantity=BYTES,
    better="lower",
    formula="mean of the samples",
    source=SampleSource.MEMORY_SAMPLES,
    compute=lambda measurement, metric: Reading(5.0, metric.formula),
)
SECOND_CHUNK = DistributionMetric(
    name="latency.second_chunk",
    quantity=SECONDS,
    better="lower",
    formula="arrival of the second chunk − t0",
    source=SampleSource.REQUESTS,
    values=lambda request: [(request.chunks[1].at_ns - request.start_ns) / 1e9],
)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    known = dict(METRICS)
    yield
    for name in set(METRICS) - set(known):
        del table._registered[name]


def test_a_registered_metric_is_read_by_its_name() -> None:
    register_metric(MEAN)
    register_metric(SECOND_CHUNK)
    found = measured(stream(100, 120, output_tokens=2))
    assert read("memory.mean", found) == Reading(5.0, "mean of the samples")
    assert read("latency.second_chunk_max", found).value == 0.12
    assert list_keys("memory")[-1] == "mean"
    assert list_keys("latency")[-1] == "second_chunk_pNN"


def test_a_name_is_taken_once() -> None:
    register_metric(MEAN)
    with pytest.raises(ValueError, match=r"there is a metric 'memory\.mean' already"):
        register_metric(replace(MEAN, formula="another"))


@pytest.mark.parametrize("name", ["mean", "memory", "memory.", "money.a", "memory.Mean", "memory.a b", "memory.a.b"])
def test_a_name_is_a_group_and_a_key(name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be the name of a metric: write GROUP\.KEY, GROUP one of memory, "):
        register_metric(replace(MEAN, name=name))


@pytest.mark.parametrize("name", ["memory.device", "memory.engine", "memory.mean_p95", "memory.mean_max"])
def test_a_key_that_means_something_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="means something else"):
        register_metric(replace(MEAN, name=name))


def test_a_metric_without_a_function_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="compute"):
        ScalarMetric(name="memory.mean", quantity=BYTES, better="lower", formula="", source=SampleSource.ENGINE)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="values"):
        DistributionMetric(name="latency.x", quantity=SECONDS, better="lower", formula="", source=SampleSource.REQUESTS)  # type: ignore[call-arg]


def test_a_distribution_is_read_at_a_statistic_only() -> None:
    with pytest.raises(ValueError, match=r"latency\.second_chunk is read at a percentile"):
        SECOND_CHUNK.read(measured())


@pytest.mark.parametrize(
    ("better", "limit", "met"),
    [("lower", 0.02, False), ("lower", 0.03, True), ("higher", 0.02, True), ("higher", 0.021, False)],
)
def test_a_request_meets_an_objective_with_each_of_its_values(
    better: Literal["lower", "higher"], limit: float, met: bool
) -> None:
    gaps = replace(SECOND_CHUNK, better=better, values=lambda request: request.chunk_gaps)
    assert Objective(gaps, limit).is_met_by(stream(100, 120, 150, output_tokens=3)) is met


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^memory.mean: better='less' is neither 'lower' nor 'higher'$"):
        register_metric(replace(MEAN, better="less"))  # type: ignore[arg-type]
    assert "memory.mean" not in METRICS


def test_a_function_that_returns_no_reading_is_named() -> None:
    register_metric(replace(MEAN, compute=lambda measurement, metric: 5.0))  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match=r"^memory.mean was computed as 5.0, which is not a Reading$"):
        read("memory.mean", measured())
