"""``pytest-llmperf compare``: what changed between two reports, and whether it may be compared at all."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.__main__ import main
from pytest_llmperf.commands.compare import BAD_INPUT, BROKEN
from pytest_llmperf.reports.compact.report import compact_report
from tests.helpers.simulated_sessions import NODEID, make_entry, make_report, measure_session
from tests.helpers.streams import L4, measured, stream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Compare = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def compare(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Compares two reports; gives the status and the lines of output and errors."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(old: dict[str, Any], new: dict[str, Any], *options: str) -> tuple[int, list[str], list[str]]:
        paths = tmp_path / "a.json", tmp_path / "b.json"
        for path, report in zip(paths, (old, new), strict=True):
            path.write_text(json.dumps(compact_report(report) if "tests" in report else report), encoding="utf-8")
        status = main(["compare", *map(str, paths), *options])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err.splitlines()

    return run


def report(seed: int = 1, slower: float = 1.0, nodeid: str = NODEID, **fields: Any) -> dict[str, Any]:
    facts = fields.pop("session", {})
    return make_report(make_entry(measure_session(seed, slower, **fields), nodeid=nodeid), **facts)


OLD, SLOWER = report(), report(2, 1.3)


def test_numbers_stand_side_by_side_with_their_change(compare: Compare) -> None:
    status, lines, errors = compare(OLD, SLOWER)
    assert (status, errors) == (0, [])
    text = "\n".join(lines)
    assert NODEID in lines
    row = next(line for line in lines if "latency.ttft_p50" in line).split()
    assert [part for part in row if part.startswith("+")]
    assert "memory.peak" in text
    assert "One session each" in lines[-1]


@pytest.mark.parametrize(
    ("new", "limit", "status"),
    [(SLOWER, "+10 %", BROKEN), (SLOWER, "100 %", 0), (report(1), "+20%", 0), (report(3, 0.5), "+10 %", 0)],
)
def test_a_limit_is_for_the_worse_direction_of_each(compare: Compare, new: Any, limit: str, status: int) -> None:
    found, lines, _ = compare(OLD, new, "--limit", limit)
    assert found == status
    verdicts = {
        line.split()[0]: line.split()[-1] for line in lines if line.startswith("  ") and line.split()[-1].isupper()
    }
    assert (verdicts["latency.tpot_p50"] == "FAIL") == (status == BROKEN)
    assert (verdicts["throughput.output"] == "FAIL") == (status == BROKEN)
    assert verdicts["memory.peak"] == "PASS"


def test_another_device_is_not_comparable_and_still_shown(compare: Compare) -> None:
    status, lines, _ = compare(OLD, report(2, engine=L4))
    assert status == 0
    [line] = [line for line in lines if "not comparable" in line]
    assert "AMD EPYC 7B13 / NVIDIA L4" in line
    assert "name llamacpp / vllm" in line
    assert any("latency.ttft_p50" in line for line in lines)
    assert compare(OLD, report(2, engine=L4), "--limit", "+500 %")[0] == BROKEN


def test_another_workload_is_not_comparable(compare: Compare) -> None:
    other = make_report(make_entry(measured(stream(100, 110, output_tokens=2, asked_tokens=2))))
    other["tests"][0]["measurement"]["workload"]["digest"] = "0" * 16
    assert "what the test asked for differs" in "\n".join(compare(OLD, other)[1])


def test_what_differs_beside_the_numbers_is_said(compare: Compare) -> None:
    git = {"commit": "a" * 40, "branch": None, "dirty": False}
    newer = report(2, session={"python": "3.13.0", "driver": "560", "git": {**git, "dirty": True}})
    _, lines, _ = compare(report(session={"git": git}), newer)
    [line] = [line for line in lines if line.startswith("differ: ")]
    assert line == (
        "differ: commit aaaaaaaaaaaa / aaaaaaaaaaaa with changes; driver unknown / 560; python 3.12.1 / 3.13.0"
    )


def test_an_invalid_side_is_said_and_breaks_a_limit(compare: Compare) -> None:
    session = measure_session(2)
    bad = make_report(make_entry(replace(session, faults=("the engine restarted",))))
    status, lines, _ = compare(OLD, bad, "--limit", "+50 %")
    assert status == BROKEN
    [line] = [line for line in lines if line.startswith("  INVALID: ")]
    assert "latency.ttft_p50" in line
    assert line.endswith(": the engine restarted")


def test_a_number_that_is_no_longer_measured_breaks_a_limit(compare: Compare) -> None:
    silent = make_report(make_entry(replace(measure_session(2), requests=(), memory=None)))
    silent["tests"][0]["measurement"]["workload"] = OLD["tests"][0]["measurement"]["workload"]
    status, lines, _ = compare(OLD, silent, "--limit", "+500 %")
    assert status == BROKEN
    assert {line.split()[0] for line in lines if line.endswith("NOT MEASURED")} >= {"memory.peak", "latency.ttft_p50"}
    assert compare(OLD, silent)[0] == 0


def test_a_percentile_of_too_few_requests_breaks_no_limit(compare: Compare) -> None:
    session = measure_session(1)
    fewer = make_report(make_entry(replace(session, requests=session.requests[:100])))
    assert compare(OLD, fewer, "--limit", "+500 %")[0] == 0


def test_a_test_that_failed_by_itself_is_not_comparable(compare: Compare) -> None:
    failed = report(2)
    failed["tests"][0]["failed_by"] = "test"
    status, lines, _ = compare(OLD, failed, "--limit", "+500 %")
    assert status == BROKEN
    assert "  not comparable: the test failed by itself in B" in lines


def test_tests_of_one_report_only_are_named(compare: Compare) -> None:
    status, lines, errors = compare(OLD, report(2, nodeid="tests/test_new.py::test_new"))
    assert status == BAD_INPUT
    assert lines[-2:] == [f"only in A: {NODEID}", "only in B: tests/test_new.py::test_new"]
    assert errors == ["the reports have no test in common that both have measured"]


def test_changes_are_given_as_json(compare: Compare) -> None:
    _, lines, _ = compare(OLD, SLOWER, "--json", "--all")
    [test] = json.loads("\n".join(lines))["tests"]
    numbers = {number["name"]: number for number in test["numbers"]}
    found = numbers["latency.tpot_p50"]
    assert found["low"] < found["change"] < found["high"]
    assert found["change"] == pytest.approx(found["new"] / found["old"] - 1)
    assert "latency.e2e_max" in numbers


def test_bad_input_is_told(compare: Compare) -> None:
    status, _, errors = compare(OLD, SLOWER, "--limit", "fast")
    assert status == BAD_INPUT
    assert errors[0].startswith("--limit='fast' is not a share")
    assert compare({"schema": 1}, SLOWER)[0] == BAD_INPUT
    damaged = report(2)
    damaged["tests"][0]["measurement"]["validity"] = [7]
    status, _, errors = compare(OLD, damaged)
    assert status == BAD_INPUT
    assert "one of them has not the shape of a report" in errors[0]
