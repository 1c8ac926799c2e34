"""Reports that are read back: judged again, stored, compared, exported. A wrong one is refused in one line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given

from pytest_llmperf.__main__ import main
from pytest_llmperf.baselines.errors import StoreError
from pytest_llmperf.baselines.names import make_file_name
from pytest_llmperf.baselines.store import Store
from pytest_llmperf.baselines.stored_run import digest_text, parse_run
from pytest_llmperf.reports.compact.report import compact_report, expand_report
from pytest_llmperf.reports.report_file import ReportError, read_report
from tests.fuzz.refusals import read_or_refuse
from tests.fuzz.strategies import json_texts, nested
from tests.helpers.simulated_sessions import make_entry, make_report, measure_session
from tests.helpers.stored_reports import FINGERPRINT, make_test
from tests.helpers.stored_reports import make_report as make_small_report
from tests.helpers.streams import limits

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMITS = limits("latency", ttft_p50="1 s", itl_p99="1 ms") + limits("throughput", output="1 tok/s")
FULL: dict[str, Any] = json.loads(json.dumps(make_report(make_entry(measure_session(1, count=30), LIMITS))))
SMALL = make_small_report(
    make_test(), make_test("test_chat.py::test_slow", {"memory.peak": 2.0**30, "latency.ttft_p95": None})
)
GOOD = [compact_report(FULL), compact_report(SMALL)]
BUDGETS = """[[budget]]
tests = "*"
latency.ttft_p50 = "1 ms"
latency.ttft_p97_5 = "300 ms"
throughput.output = ["50 tok/s", "-5 %"]
memory.peak = "1 GiB"
cost.total = "1 EUR"
"""
reports = json_texts(GOOD, ("value", "counts", "histogram", "without", "parts", "verdicts", "interval"))
DEEP = nested("[", "]")


def with_value(report: dict[str, Any], value: Any, *path: Any) -> bytes:
    """The report with another value at a place."""
    changed = copy.deepcopy(report)
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(changed).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("reports")
    (found / "llmperf.toml").write_text(BUDGETS, encoding="utf-8")
    return found


def test_good_ones_are_read_as_they_were() -> None:
    assert [expand_report(json.loads(json.dumps(one))) for one in GOOD] == [FULL, SMALL]


@given(content=reports)
@example(content=DEEP)
@example(content=with_value(GOOD[0], "0001-01-01T00:00:00+23:59", "created"))
@example(content=with_value(GOOD[0], float("inf"), "tests", 0, "measurement", "rounds"))
def test_any_report_is_judged_again_or_refused_in_one_line(
    content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "report.json"
    path.write_bytes(content)
    report, refusal = read_or_refuse(lambda: read_report(path), ReportError)
    assert "\n" not in refusal
    assert report is not None or str(path) in refusal
    for options in ((), ("--budgets", str(folder / "llmperf.toml")), ("--json", "--strict")):
        assert main(["judge", str(path), *options]) in (0, 1, 2)
        said = capsys.readouterr()
        assert all(line.isprintable() for line in said.err.splitlines())


@given(content=reports)
@example(content=DEEP)
@example(content=with_value(GOOD[1], "0001-01-01T00:00:00+23:59", "created"))
def test_any_stored_run_is_read_or_refused_in_one_line(content: bytes) -> None:
    text = content.decode(errors="replace")
    run, refusal = read_or_refuse(lambda: parse_run(text, Path("x.json"), "main", FINGERPRINT), StoreError)
    assert "\n" not in refusal
    assert run is None or (run.fingerprint == FINGERPRINT and run.tests)


def store_runs(folder: Path, contents: Sequence[bytes]) -> Path:
    """A store with good runs and these, each under a name that fits its content."""
    store = Store(folder / "store")
    store.remove(store.list_files("main", FINGERPRINT))
    for day in range(4):
        store.save("main", {**SMALL, "created": f"2026-07-0{day + 1}T06:30:00Z"})
    for content in contents:
        text = content.decode(errors="replace")
        name = make_file_name(
            parse_run(json.dumps(GOOD[1]), Path("x"), "main", FINGERPRINT).created, "", digest_text(text)
        )
        (folder / "store" / "main" / FINGERPRINT / name).write_text(text, encoding="utf-8", newline="\n")
    return folder / "store"


@given(content=reports)
@example(content=DEEP)
def test_a_store_with_any_file_in_it_serves_every_command(
    content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(store_runs(folder, [content]))
    for command in (
        ("store", "list"),
        ("store", "show", "main"),
        ("history", "latency.ttft_p50"),
        ("audit",),
        ("suggest",),
        ("store", "export", "--format", "csv"),
    ):
        assert main([*command, "--store", store]) in (0, 1, 2)
        assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())


@given(content=reports)
def test_a_good_report_is_compared_with_any_other(
    content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, other = folder / "good.json", folder / "other.json"
    good.write_text(json.dumps(GOOD[0]), encoding="utf-8")
    other.write_bytes(content)
    assert main(["compare", str(good), str(other)]) in (0, 1, 2)
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
