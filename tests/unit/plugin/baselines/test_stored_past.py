"""What the runs of a store say of a test, and why they say nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.baselines.store import Store
from pytest_llmperf.plugin.baselines.stored_past import PastRuns
from pytest_llmperf.reports.result import SCHEMA

if TYPE_CHECKING:
    from pathlib import Path

L4 = [{"kind": "cuda", "name": "NVIDIA L4", "uuid": "GPU-1"}]
A10G = [{"kind": "cuda", "name": "NVIDIA A10G", "uuid": "GPU-2"}]
METRIC = "latency.ttft_p95"


def engine(fingerprint: str = "a" * 16, **other: Any) -> dict[str, Any]:
    return {
        "name": "vllm", "version": "0.31.2", "version_class": "0", "model": "m", "label": "vllm:m", "devices": L4,
        "digest": None, "quantisation": None, "arguments": {}, "fingerprint": fingerprint, **other,
    }  # fmt: skip


def entry(nodeid: str = "test_it.py::test_chat", value: float | None = 0.3, **other: Any) -> dict[str, Any]:
    readings = {} if value is None else {METRIC: {"value": value, "samples": 12}}
    measurement = {
        "engine": engine(), "readings": readings, "workload": {"digest": "w" * 16}, "parts": [],
        **other.pop("measurement", {}),
    }  # fmt: skip
    return {"nodeid": nodeid, "outcome": "passed", "verdicts": [], "measurement": measurement, **other}


def verdict(status: str, measured: float = 0.3, metric: str = METRIC) -> dict[str, Any]:
    return {"name": metric, "engine": "", "status": status, "measured": measured}


class Stored:
    """A store of runs that were reported a minute apart."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._minute = 0

    def save(self, *tests: dict[str, Any], name: str = "main", **facts: Any) -> None:
        created = f"2026-11-{1 + self._minute // 60:02}T10:{self._minute % 60:02}:00Z"
        self._minute += 1
        session = {"git": {"commit": f"{self._minute:040x}"}, **facts}
        report = {
            "schema": SCHEMA,
            "created": created,
            "session": session,
            "metrics": {},
            "counts": {},
            "tests": [*tests],
        }
        assert Store(self.path).save(name, report)


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / ".llmperf")


def values(stored: Stored, test: dict[str, Any] | None = None, metric: str = METRIC) -> list[float]:
    return [one.value for one in PastRuns(stored.path, "main").find(test or entry(), metric).values]


def why_none(stored: Stored, test: dict[str, Any] | None = None) -> str:
    past = PastRuns(stored.path, "main").find(test or entry(), METRIC)
    assert not past.values
    return past.why_none


def test_the_newest_come_first_and_the_oldest_kept_is_the_anchor(stored: Stored) -> None:
    for at in range(25):
        stored.save(entry(value=1.0 + at))
    past = PastRuns(stored.path, "main").find(entry(), METRIC)
    assert [one.value for one in past.values] == [25.0 - at for at in range(20)]
    assert past.values[0].samples == 12
    assert past.anchor is not None
    assert (past.anchor.value, past.anchor.name) == (1.0, "2026-11-01, 00000000")


def test_runs_of_other_tests_do_not_push_a_test_out(stored: Stored) -> None:
    for at in range(6):
        stored.save(entry(value=1.0 + at))
    for _ in range(30):
        stored.save(entry("test_it.py::test_other"))
    assert values(stored) == [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("other", "used"),
    [
        ({"verdicts": [verdict("INVALID")]}, False),
        ({"verdicts": [verdict("FAIL")], "outcome": "failed", "failed_by": "budget"}, True),
        ({"verdicts": [verdict("INVALID", metric="memory.peak")]}, True),
        ({"outcome": "failed", "failed_by": "test"}, False),
        ({"verdicts": [verdict("FAIL")], "outcome": "failed", "failed_by": "test"}, False),
        ({"verdicts": [verdict("INCONCLUSIVE")], "outcome": "failed", "failed_by": "test"}, False),
        ({"verdicts": [verdict("INCONCLUSIVE")], "outcome": "failed", "failed_by": "budget"}, True),
        ({"verdicts": [verdict("NO BASELINE")], "outcome": "failed", "failed_by": "budget"}, True),
        ({"verdicts": [verdict("PASS")], "failed_by": "teardown"}, False),
        ({"outcome": "skipped", "is_whole": False}, False),
        ({"value": None}, False),
        ({"measurement": {"workload": {"digest": "x" * 16}}}, False),
        ({"measurement": {"workload": None}}, True),
    ],
)
def test_only_values_that_hold_are_used(stored: Stored, other: dict[str, Any], used: bool) -> None:
    stored.save(entry(**other))
    assert bool(values(stored)) is used


def test_what_only_a_verdict_holds_is_read_from_it(stored: Stored) -> None:
    stored.save(entry(verdicts=[verdict("PASS", 7.0, "throughput.goodput")]))
    assert values(stored, metric="throughput.goodput") == [7.0]


@pytest.mark.parametrize("there", ["test_chat", "test_chat[vllm:m]", "test_chat@group", "test_chat[vllm]"])
@pytest.mark.parametrize("here", ["test_chat", "test_chat[vllm:m]", "test_chat[vllm:m]@group"])
def test_a_test_is_the_same_with_and_without_the_label_of_its_engine(stored: Stored, here: str, there: str) -> None:
    stored.save(entry(f"test_it.py::{there}"))
    assert values(stored, entry(f"test_it.py::{here}")) == [0.3]


@pytest.mark.parametrize(("here", "there"), [("test_a[1]", "test_a[2]"), ("test_a[1-vllm]", "test_a[2]"), ("a", "b")])
def test_other_tests_are_others(stored: Stored, here: str, there: str) -> None:
    stored.save(entry(f"test_it.py::{there}"))
    assert why_none(stored, entry(f"test_it.py::{here}")) == (
        "no run of main has this test: --llmperf-save=main stores one"
    )


def test_a_parameter_beside_the_label_is_kept(stored: Stored) -> None:
    stored.save(entry("test_it.py::test_a[vllm:m-1]", 1.0), entry("test_it.py::test_a[vllm:m-2]", 2.0))
    assert values(stored, entry("test_it.py::test_a[2]")) == [2.0]


def test_of_several_engines_each_has_its_own_value(stored: Stored) -> None:
    def both(old: float, new: float) -> dict[str, Any]:
        parts = [
            {"label": label, "engine": engine(digit * 16), "readings": {METRIC: {"value": value, "samples": 3}}}
            for label, digit, value in (("old", "b", old), ("new", "c", new))
        ]
        return entry(measurement={"parts": parts})

    stored.save(both(1.0, 2.0))
    found = {label: PastRuns(stored.path, "main").find(both(0, 0), METRIC, label).values for label in ("old", "new")}
    assert {label: past[0].value for label, past in found.items()} == {"old": 1.0, "new": 2.0}


# ------------------------------------------------------------------------------------------------------ not comparable


def test_without_any_run_it_says_how_to_store_one(stored: Stored) -> None:
    assert why_none(stored) == "no run is stored as main in .llmperf: --llmperf-save=main stores one"


@pytest.mark.parametrize(
    ("other", "text"),
    [
        ({"devices": A10G}, "NVIDIA A10G / NVIDIA L4"),
        ({"devices": [*L4, *L4]}, "2 × NVIDIA L4 / NVIDIA L4"),
        ({"devices": []}, "no device / NVIDIA L4"),
        ({"version_class": "1"}, "version class 1 / 0"),
        ({"digest": "f" * 64}, "digest ffffffffffff / none"),
        ({"arguments": {"dtype": "half"}}, "dtype half / none"),
        ({"quantisation": "Q4_1", "model": "n"}, "model n / m; quantisation Q4_1 / none"),
    ],
)
def test_what_differs_is_named_here_first(stored: Stored, other: dict[str, Any], text: str) -> None:
    stored.save(entry())
    stored.save(entry(measurement={"engine": engine("b" * 16, name="x", model="y", quantisation="z", devices=[])}))
    here = entry(measurement={"engine": engine("d" * 16, **other)})
    assert why_none(stored, here) == f"not comparable with main: {text}"


def test_another_workload_is_not_comparable(stored: Stored) -> None:
    stored.save(entry(measurement={"workload": {"digest": "x" * 16}}))
    assert why_none(stored) == "not comparable with main: the test asks for another workload than its runs did"


def test_a_store_that_cannot_be_read_is_no_baseline(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    past = PastRuns(tmp_path / "file", "main").find(entry(), METRIC)
    assert str(tmp_path / "file") in past.why_none
