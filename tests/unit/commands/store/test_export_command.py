"""``pytest-llmperf store export``: where the files go, and which runs are in them."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from tests.helpers.stored_reports import make_report, make_test

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_llmperf.baselines.store import Store

    Command = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture(autouse=True)
def runs(store: Store) -> None:
    for day in range(3):
        values = {"latency.ttft_p50": 0.1 * (day + 1), "throughput.output": 100.0 * (day + 1)}
        store.save("main", make_report(make_test("a", values), make_test("b", values), day=day))
    store.save("other", make_report())


def test_two_lists_go_into_a_folder(command: Command, tmp_path: Path) -> None:
    status, out, err = command("store", "export", "--format=github-action-benchmark", "--output=out/lists")
    assert (status, err) == (0, [])
    assert out == ["out/lists/smaller-is-better.json written", "out/lists/bigger-is-better.json written"]
    for name, value in (("smaller", 0.1 * 3), ("bigger", 300.0)):
        items = json.loads((tmp_path / "out" / "lists" / f"{name}-is-better.json").read_text(encoding="utf-8"))
        assert [item["value"] for item in items] == [value] * 2


@pytest.mark.parametrize("to_file", [False, True])
def test_the_newest_run_goes_to_stdout_or_into_a_file(command: Command, tmp_path: Path, to_file: bool) -> None:
    path = tmp_path / "bmf.json"
    output = [f"--output={path}"] if to_file else []
    status, out, err = command("store", "export", "--format=bencher", "--metric=latency.*", "--test=a", *output)
    assert (status, err) == (0, [])
    benchmarks = json.loads(path.read_text(encoding="utf-8") if to_file else "\n".join(out))
    assert list(benchmarks.values()) == [{"latency.ttft_p50": {"value": 0.1 * 3}}]
    assert not to_file or out == [f"{path} written"]


def test_csv_has_all_runs_of_the_name_oldest_first(command: Command) -> None:
    rows = list(csv.DictReader(command("store", "export", "--format=csv", "--test=b", "--metric=throughput.*")[1]))
    assert [(row["name"], row["value"]) for row in rows] == [("main", "100.0"), ("main", "200.0"), ("main", "300.0")]


def test_openmetrics_ends_as_it_must(command: Command) -> None:
    assert command("store", "export", "--format=openmetrics")[1][-1] == "# EOF"


def test_a_file_that_cannot_be_written_is_one_line(command: Command, tmp_path: Path) -> None:
    status, out, [line] = command("store", "export", "--format=csv", f"--output={tmp_path}")
    assert (status, out) == (1, [])
    assert "could not be written: Is a directory" in line
