"""The history of a metric: its values in order, changes of level, and the way from the anchor."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.history import read_history
from pytest_llmperf.baselines.store import Store
from tests.helpers.stored_reports import FINGERPRINT, OTHER, make_engine, make_report, make_test

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def fill(
    store: Store, values: Sequence[float | None], metric: str = "latency.ttft_p50", test: str = "a", **engine: Any
) -> None:
    for day, value in enumerate(values):
        store.save("main", make_report(make_test(test, {metric: value}, make_engine(**engine)), day=day))


def level(before: float, after: float, count: int = 15) -> list[float]:
    """So many values about one level, and as many about another, with noise of 1 %."""
    shuffler = random.Random(1)
    return [value * shuffler.gauss(1, 0.01) for value in [before] * count + [after] * count]


def test_values_come_in_order_with_what_tells_their_runs_apart(store: Store) -> None:
    fill(store, [0.3, 0.1, 0.2], version="0.32.0")
    [series] = read_history(store, "main", "latency.ttft_p50")
    assert series.values == [0.3, 0.1, 0.2]
    assert [point.created.day for point in series.points] == [1, 2, 3]
    assert [point.run for point in series.points] == [path.stem for path in store.list_files("main", FINGERPRINT)]
    assert {point.version for point in series.points} == {"0.32.0"}
    assert (series.test, series.reading, series.unit, series.better) == ("a", "latency.ttft_p50", "s", "lower")
    assert series.measured_on == "vllm 0.32.0, Qwen/Qwen3-0.6B, NVIDIA L4"
    assert (series.missing, series.changes) == (0, ())


def test_runs_without_a_value_are_counted(store: Store) -> None:
    fill(store, [0.1, None, 0.2, None])
    [series] = read_history(store, "main", "ttft_p50")
    assert (series.values, series.missing) == ([0.1, 0.2], 2)


def test_costs_in_another_currency_than_the_newest_count_as_missing(store: Store) -> None:
    for day, currency in enumerate(["EUR", "EUR", "USD", "USD"]):
        report = make_report(make_test("a", {"cost.total": 2.0 + day}), day=day)
        unit = {"unit": currency, "better": "lower", "formula": "price x time"}
        store.save("main", {**report, "metrics": {**report["metrics"], "cost.total": unit}})
    store.set_anchor(store.list_files("main", FINGERPRINT)[0])
    [series] = read_history(store, "main", "cost.total")
    assert (series.values, series.unit, series.missing, series.anchor) == ([4.0, 5.0], "USD", 2, None)


def test_each_test_and_fingerprint_has_a_series_of_its_own(store: Store) -> None:
    fill(store, [0.1, 0.2])
    fill(store, [0.3], test="b")
    fill(store, [0.4], fingerprint=OTHER, label="new")
    found = read_history(store, "main", "ttft_p50")
    assert [(series.fingerprint, series.test, series.values) for series in found] == [
        (FINGERPRINT, "a", [0.1, 0.2]),
        (FINGERPRINT, "b", [0.3]),
        (OTHER, "a", [0.4]),
    ]
    assert [series.test for series in read_history(store, "main", "ttft_p50", test_glob="b*")] == ["b"]
    for glob in ("new", "n*w"):
        assert [series.fingerprint for series in read_history(store, "main", "ttft_p50", engine_glob=glob)] == [OTHER]
    assert len(read_history(store, "main", "ttft_p50", engine_glob="vllm")) == 3
    assert read_history(store, "main", "ttft_p50", engine_glob="ollama") == []


@pytest.mark.parametrize(
    ("metric", "before", "after", "is_worse"),
    [
        ("latency.ttft_p50", 0.1, 0.12, True),
        ("latency.ttft_p50", 0.12, 0.1, False),
        ("throughput.output", 800.0, 700.0, True),
        ("throughput.output", 700.0, 800.0, False),
        ("memory.peak", 2.0**34, 2.0**33, False),
    ],
)
def test_a_change_has_a_direction(store: Store, metric: str, before: float, after: float, is_worse: bool) -> None:
    fill(store, level(before, after), metric)
    [series] = read_history(store, "main", metric)
    [change] = series.changes
    assert change.index == 15
    assert change.ratio == pytest.approx(after / before - 1, abs=0.02)
    assert series.is_worse(change.ratio) is is_worse


def test_small_changes_are_left_out(store: Store) -> None:
    fill(store, [100.0] * 15 + [100.5] * 15, "memory.peak")
    assert read_history(store, "main", "memory.peak")[0].changes == ()
    assert len(read_history(store, "main", "memory.peak", smallest_change=0.004)[0].changes) == 1


def test_only_the_newest_runs_are_looked_at(store: Store) -> None:
    fill(store, level(0.1, 0.12))
    [series] = read_history(store, "main", "ttft_p50", last=15)
    assert (len(series.points), series.changes) == (15, ())
    assert series.since_anchor == pytest.approx(0.2, abs=0.03)


def test_slow_drift_is_seen_from_the_anchor(store: Store) -> None:
    shuffler = random.Random(2)
    fill(store, [0.1 * 1.002**run * shuffler.gauss(1, 0.01) for run in range(60)])
    [series] = read_history(store, "main", "ttft_p50")
    assert series.since_anchor == pytest.approx(1.002**55 - 1, abs=0.02)
    assert all(change.after > change.before for change in series.changes)
    store.set_anchor(store.list_files("main", FINGERPRINT)[50])
    [series] = read_history(Store(store.path), "main", "ttft_p50")
    assert series.since_anchor == pytest.approx(1.002**5 - 1, abs=0.02)


def test_a_test_that_is_newer_than_the_anchor_has_none(store: Store) -> None:
    fill(store, [0.1])
    store.save("main", make_report(make_test("new"), day=1))
    [_, series] = read_history(store, "main", "ttft_p50")
    assert (series.test, series.anchor, series.since_anchor) == ("new", None, None)


@pytest.mark.parametrize(
    ("name", "metric", "message"),
    [
        ("mian", "ttft_p50", "no run is stored as 'mian'; there is main"),
        ("main", "ttft_p51", "no stored run has a metric 'ttft_p51'; there is latency.ttft_p50"),
        ("main", "ttft", "no stored run has a metric 'ttft'; there is latency.ttft_p50"),
        ("main", "tpot", "'tpot'; there is energy.peak, latency.ttft_p50, memory.peak"),
        ("main", "peak", "no stored run has a metric 'peak'; there is energy.peak, memory.peak"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(store: Store, name: str, metric: str, message: str) -> None:
    test = make_test("a", {"latency.ttft_p50": 1.0, "memory.peak": 1.0, "energy.peak": 1.0})
    store.save("main", make_report(test))
    with pytest.raises(StoreError, match=message):
        read_history(store, name, metric)


def test_a_series_is_also_plain_data(store: Store) -> None:
    fill(store, level(0.1, 0.12))
    [series] = read_history(store, "main", "ttft_p50")
    plain = json.loads(json.dumps(series.as_plain()))
    assert plain["points"][0]["created"] == "2026-07-01T06:30:00+00:00"
    assert plain["points"][0]["value"] == series.values[0]
    [change] = plain["changes"]
    assert (change["index"], set(change)) == (15, {"index", "before", "after", "p"})
