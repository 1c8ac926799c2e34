"""Stored runs in the formats of other tools."""

from __future__ import annotations

import csv
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.export import (
    CSV_COLUMNS,
    list_values,
    to_bencher,
    to_csv,
    to_github_action_benchmark,
    to_openmetrics,
)
from pytest_llmperf.baselines.store import Store
from tests.helpers.stored_reports import (
    COMMIT,
    FINGERPRINT,
    FIRST_DAY,
    METRICS,
    OTHER,
    make_engine,
    make_report,
    make_test,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_llmperf.baselines.export import ExportedValue

TEST = 'test_chat.py::test_fast[a "quoted\\ name]'
VALUES = {"latency.ttft_p50": 0.25, "latency.ttft_p95": None, "throughput.output": 800.0, "memory.peak": 2.0**34}
SERIES = f"{TEST} (vllm:Qwen/Qwen3-0.6B, NVIDIA L4)"
JUDGED = {"name": "latency.ttft_p50", "interval": {"low": 0.2, "high": 0.3}, "engine": ""}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.save("main", make_report({**make_test(TEST, VALUES), "verdicts": [JUDGED]}, driver="570.1"))
    return store


def values_of(store: Store, **asked: Any) -> list[ExportedValue]:
    return list_values(store.fingerprints("main").values(), **asked)


def test_only_what_has_a_value_and_is_asked_for_is_exported(store: Store) -> None:
    assert [v.reading for v in values_of(store)] == ["latency.ttft_p50", "memory.peak", "throughput.output"]
    assert [v.reading for v in values_of(store, metric_globs=["latency.*", "memory.*"])] == [
        "latency.ttft_p50",
        "memory.peak",
    ]
    assert values_of(store, test_glob="other*") == []


def test_github_action_benchmark_has_a_list_for_each_direction(store: Store) -> None:
    smaller, bigger = (json.loads(text) for text in to_github_action_benchmark(values_of(store)))
    [run] = store.find_runs("main", FINGERPRINT)
    extra = f"vllm 0.31.2, Qwen/Qwen3-0.6B, NVIDIA L4, run {run.identity}"
    assert smaller == [
        {"name": f"{SERIES} latency.ttft_p50", "unit": "s", "value": 0.25, "range": "0.2 to 0.3", "extra": extra},
        {"name": f"{SERIES} memory.peak", "unit": "B", "value": 2**34, "extra": extra},
    ]
    assert bigger == [{"name": f"{SERIES} throughput.output", "unit": "tok/s", "value": 800.0, "extra": extra}]


def test_bencher_has_a_benchmark_for_each_test_and_a_measure_for_each_metric(store: Store) -> None:
    assert json.loads(to_bencher(values_of(store))) == {
        SERIES: {
            "latency.ttft_p50": {"value": 0.25, "lower_value": 0.2, "upper_value": 0.3},
            "memory.peak": {"value": 2.0**34},
            "throughput.output": {"value": 800.0},
        }
    }


def test_engines_that_read_alike_are_told_apart(store: Store) -> None:
    store.save("main", make_report(make_test(TEST, VALUES, make_engine(OTHER, arguments={"ctx_size": 1}))))
    benchmarks = json.loads(to_bencher(values_of(store)))
    assert list(benchmarks) == [
        f"{TEST} (vllm:Qwen/Qwen3-0.6B, NVIDIA L4 {FINGERPRINT})",
        f"{TEST} (vllm:Qwen/Qwen3-0.6B, NVIDIA L4 {OTHER})",
    ]


def test_csv_has_a_row_for_each_value(store: Store) -> None:
    rows = list(csv.DictReader("".join(to_csv(values_of(store))).splitlines()))
    assert [row["metric"] for row in rows] == ["latency.ttft_p50", "memory.peak", "throughput.output"]
    [run] = store.find_runs("main", FINGERPRINT)
    assert rows[0] == {
        "name": "main",
        "fingerprint": FINGERPRINT,
        "run": run.identity,
        "created": "2026-07-01T06:30:00+00:00",
        "commit": COMMIT,
        "dirty": "False",
        "branch": "main",
        "host": "runner-1",
        "driver": "570.1",
        "engine": "vllm",
        "version": "0.31.2",
        "model": "Qwen/Qwen3-0.6B",
        "devices": "NVIDIA L4",
        "settings": "",
        "test": TEST,
        "outcome": "passed",
        "metric": "latency.ttft_p50",
        "value": "0.25",
        "unit": "s",
        "better": "lower",
        "samples": "12",
    }
    assert list(rows[0]) == list(CSV_COLUMNS)


def test_csv_of_a_run_without_git_and_engine(store: Store) -> None:
    test = make_test("bare", {"memory.peak": 1.0})
    test["measurement"]["engine"] = None
    [path] = store.save("main", make_report(test, commit=""))
    [row] = csv.DictReader("".join(to_csv(list_values(store.find_runs("main", path.parent.name)))).splitlines())
    assert [row[column] for column in ("commit", "dirty", "engine", "model", "value")] == ["", "", "", "", "1.0"]


# ------------------------------------------------------------------------------------------------------- OpenMetrics

FAMILY = re.compile(r"# (TYPE|UNIT|HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)")
SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{(.*)\} (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)')


def parse_openmetrics(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """The samples of each family, by the rules of OpenMetrics 1.0 that concern gauges and infos."""
    *lines, end, rest = text.split("\n")
    assert (end, rest) == ("# EOF", ""), "it ends with # EOF and a line feed"
    families: dict[str, list[tuple[dict[str, str], float]]] = {}
    facts: dict[tuple[str, str], str] = {}
    for line in lines:
        if fact := FAMILY.fullmatch(line):
            assert (fact[1], fact[2]) not in facts, "each fact is stated once"
            assert fact[2] not in families or not families[fact[2]], "facts stand before the samples"
            facts[fact[1], fact[2]] = fact[3]
            families.setdefault(fact[2], [])
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample, line
        family = sample[1].removesuffix("_info")
        assert family == list(families)[-1], "the samples of a family stand together"
        assert sample[1] == family + "_info" * (facts["TYPE", family] == "info")
        labels = LABEL.findall(sample[2])
        assert "".join(f'{key}="{value}",' for key, value in labels) == f"{sample[2]},"
        assert len(dict(labels)) == len(labels)
        families[family].append((dict(labels), float(sample[3])))
    for (what, name), fact_text in facts.items():
        assert what != "TYPE" or fact_text in ("gauge", "info")
        assert what != "UNIT" or name.endswith(f"_{fact_text}"), "a family is named by its unit"
    for samples in families.values():
        keys = [tuple(sorted(labels.items())) for labels, _ in samples]
        assert len(set(keys)) == len(keys), "no two samples have the same labels"
    return families


def test_openmetrics_has_a_family_for_each_metric(store: Store) -> None:
    families = parse_openmetrics(to_openmetrics(values_of(store)))
    assert {name: [value for _, value in samples] for name, samples in families.items()} == {
        "llmperf_latency_ttft_seconds": [0.25],
        "llmperf_memory_peak_bytes": [2.0**34],
        "llmperf_throughput_output_tokens_per_second": [800.0],
        "llmperf_run": [1.0],
        "llmperf_run_time_seconds": [FIRST_DAY.timestamp()],
    }
    [(labels, _)] = families["llmperf_latency_ttft_seconds"]
    assert labels["test"] == TEST.replace("\\", "\\\\").replace('"', '\\"')
    assert labels["statistic"] == "p50"
    assert (labels["engine"], labels["devices"]) == ("vllm:Qwen/Qwen3-0.6B", "NVIDIA L4")
    assert not {"run", "commit", "version"} & set(labels), "a new run would begin a new series"
    [(facts, _)] = families["llmperf_run"]
    assert (facts["commit"], facts["version"], facts["fingerprint"]) == (COMMIT, "0.31.2", FINGERPRINT)


def test_openmetrics_of_several_tests_engines_and_statistics(store: Store) -> None:
    two = {"latency.ttft_p50": 0.1, "latency.ttft_p95": 0.2}
    store.save(
        "main", make_report(make_test("a", two), make_test("b", two), make_test("a", two, make_engine(OTHER)), day=1)
    )
    families = parse_openmetrics(to_openmetrics(values_of(store)))
    assert [len(samples) for samples in families.values()] == [6, 2, 2]


def test_openmetrics_of_units_and_names_that_are_not_ours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "latency.cost", {"unit": "€/1k tok", "better": "lower", "formula": 'a\nb "c" \\'})
    store.save("main", make_report(make_test("a", {"latency.cost": 1.5, "latency.un-known": 2.0}), day=1))
    families = parse_openmetrics(to_openmetrics(values_of(store)))
    assert list(families)[:2] == ["llmperf_latency_cost_1k_tok", "llmperf_latency_un_known_ratio"]


def test_openmetrics_without_values_is_still_whole() -> None:
    assert parse_openmetrics(to_openmetrics([])) == {}
