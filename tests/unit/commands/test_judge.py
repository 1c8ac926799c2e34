"""``pytest-llmperf judge``: the verdicts of stored reports, a line each, with a status that a script can use."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.__main__ import main
from pytest_llmperf.commands.judge import BAD_INPUT, BROKEN
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.units import BYTES, SECONDS
from pytest_llmperf.metrics import table
from pytest_llmperf.metrics.metric import DistributionMetric, SampleSource, ScalarMetric
from pytest_llmperf.reports.compact.report import compact_report
from tests.helpers.simulated_sessions import NODEID, make_entry, make_report, measure_session
from tests.helpers.streams import limits, measured, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Judged = tuple[int, list[str], list[str]]
    Judge = Callable[..., Judged]

OWN = (
    ScalarMetric(
        name="memory.mean",
        quantity=BYTES,
        better="lower",
        formula="mean of the samples",
        source=SampleSource.HOST_SAMPLES,
        compute=lambda measurement, _metric: Reading(2.0**30),
    ),
    DistributionMetric(
        name="latency.longest_gap",
        quantity=SECONDS,
        better="lower",
        formula="the longest gap between two chunks of an answer",
        source=SampleSource.REQUESTS,
        values=lambda request: [2 * max(request.chunk_gaps)] if request.chunk_gaps else [],
    ),
)
GOOD = limits("latency", ttft_p50="1 s")
TIGHT = limits("latency", ttft_p50="1 ms")


@pytest.fixture
def judge(capsys: pytest.CaptureFixture[str]) -> Judge:
    """Runs the command; gives its status and the lines of its output and of its errors."""

    def run(*arguments: object) -> Judged:
        status = main(["judge", *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out.splitlines(), output.err.splitlines()

    return run


def forget_own_metrics() -> None:
    for metric in OWN:
        table._registered.pop(metric.name, None)


@pytest.fixture
def own_metrics() -> Iterator[None]:
    for metric in OWN:
        table.register_metric(metric)
    yield
    forget_own_metrics()


def write(path: Path, asked: Sequence[Any] = GOOD, **fields: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    result = make_entry(fields.pop("measurement", None) or measure_session(1), asked, **fields)
    path.write_text(json.dumps(compact_report(make_report(result))), encoding="utf-8")
    return path


@pytest.fixture
def budgets(tmp_path: Path) -> Callable[[str], Path]:
    def make(text: str) -> Path:
        path = tmp_path / "llmperf.toml"
        path.write_text(f"[[budget]]\n{text}\n", encoding="utf-8")
        return path

    return make


def test_without_budgets_the_verdicts_are_those_of_the_run(judge: Judge, tmp_path: Path) -> None:
    good, bad = write(tmp_path / "good.json"), write(tmp_path / "bad.json", TIGHT)
    status, lines, errors = judge(good)
    assert (status, lines, errors) == (
        0,
        [f"{good}: 1 test, budgets: 1 PASS", "1 report, 1 test, budgets: 1 PASS"],
        [],
    )
    status, lines, errors = judge(good, bad)
    assert (status, errors) == (BROKEN, [])
    assert lines[1:3][0] == f"{bad}: 1 test, budgets: 1 FAIL"
    assert lines[2].startswith(f"  FAIL {NODEID} - latency.ttft_p50 ")
    assert lines[3] == "2 reports, 2 tests, budgets: 1 PASS, 1 FAIL"


@pytest.mark.parametrize(
    ("text", "status", "counts"),
    [
        ('tests = "*"\nlatency.ttft_p50 = "150 ms"', BROKEN, "1 FAIL"),
        ('tests = "*"\nlatency.ttft_p50 = "400 ms"\nmemory.peak = "2 GiB"', 0, "2 PASS"),
        ('tests = "*"\nthroughput.output = "1000 tok/s"', BROKEN, "1 FAIL"),
        ('tests = "*"\ndevice = "NVIDIA*"\nmemory.peak = "2 GiB"', 0, "1 NO BUDGET"),
        ('tests = "*"\nenergy.total = "2 J"', 0, "1 NOT MEASURED"),
    ],
)
def test_the_budgets_of_a_file_replace_them(
    judge: Judge, budgets: Any, tmp_path: Path, text: str, status: int, counts: str
) -> None:
    found, lines, _ = judge(write(tmp_path / "r.json"), "--budgets", budgets(text))
    assert (found, lines[-1]) == (status, f"1 report, 1 test, budgets: {counts}")


@pytest.mark.usefixtures("own_metrics")
@pytest.mark.parametrize(
    ("limit", "status", "counts"),
    [
        ('memory.mean = "2 GiB"', 0, "1 PASS"),
        ('memory.mean = "1 MiB"', BROKEN, "1 FAIL"),
        ('latency.longest_gap_p50 = "1 s"', 0, "1 PASS"),
        ('latency.longest_gap_p50 = "1 ms"', BROKEN, "1 FAIL"),
        ('latency.longest_gap = "1 s"', BAD_INPUT, ""),
        ('latency.shortest_gap_p50 = "1 s"', BAD_INPUT, ""),
    ],
)
def test_metrics_of_the_project_are_known_from_its_reports(
    judge: Judge, tmp_path: Path, budgets: Callable[[str], Path], limit: str, status: int, counts: str
) -> None:
    report = write(tmp_path / "report.json")
    forget_own_metrics()
    found, lines, errors = judge(report, "--budgets", budgets(f'tests = "*"\n{limit}'))
    assert (found, len(errors)) == (status, 1 if status == BAD_INPUT else 0)
    assert not counts or lines[-1] == f"1 report, 1 test, budgets: {counts}"


def test_a_budget_without_a_verdict_fails_in_strict_mode(judge: Judge, budgets: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", measurement=measured(stream(error="HTTP 500: boom")))
    given = ("--budgets", budgets('tests = "*"\nlatency.ttft_p50 = "150 ms"'))
    assert judge(path, *given)[0] == 0
    status, lines, _ = judge(path, *given, "--strict")
    assert status == BROKEN
    assert lines[1].startswith(f"  INVALID {NODEID} - latency.ttft_p50 INVALID: 1 of 1 requests failed")


def test_what_is_too_close_fails_only_where_asked(judge: Judge, budgets: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json", limits("latency", ttft_p50="210 ms"))
    status, lines, _ = judge(path)
    assert (status, lines[-1]) == (0, "1 report, 1 test, budgets: 1 INCONCLUSIVE")
    assert judge(path, "--inconclusive=fail")[0] == BROKEN


def test_bad_input_is_told_and_the_others_are_judged(judge: Judge, budgets: Any, tmp_path: Path) -> None:
    good, broken, other = write(tmp_path / "good.json"), tmp_path / "broken.json", tmp_path / "other.json"
    broken.write_text('{"schema": 3, "te', encoding="utf-8")
    other.write_text('{"schema": 3, "tests": [{}], "session": {}, "metrics": {}, "created": ""}', encoding="utf-8")
    status, lines, errors = judge(broken, good, tmp_path / "missing.json", other)
    assert status == BAD_INPUT
    assert [
        str(path) in line for path, line in zip((broken, tmp_path / "missing.json", other), errors, strict=True)
    ] == [True] * 3
    assert lines[-1] == "1 report, 1 test, budgets: 1 PASS; 3 reports could not be read"
    status, _, errors = judge(good, "--budgets", budgets('tests = "*"\nlatency.ttft = "1 s"'))
    assert status == BAD_INPUT
    assert "'ttft' needs a percentile" in errors[0]
    assert judge(good, "--budgets", tmp_path / "none.toml")[0] == BAD_INPUT


def test_a_status_that_is_not_known_is_told(judge: Judge, tmp_path: Path) -> None:
    path = write(tmp_path / "r.json")
    path.write_text(path.read_text(encoding="utf-8").replace('"PASS"', '"SPLENDID"'), encoding="utf-8")
    status, _, errors = judge(path)
    assert status == BAD_INPUT
    assert "it has not the shape of a report" in errors[0]


def test_nothing_to_judge_is_no_success(judge: Judge, budgets: Any, tmp_path: Path) -> None:
    status, _, errors = judge(write(tmp_path / "r.json", ()))
    assert (status, errors) == (BAD_INPUT, ["no budget was judged: the tests of these reports have none"])
    status, _, errors = judge(tmp_path / "r.json", "--budgets", budgets('tests = "other*"\nmemory.peak = "1 GiB"'))
    assert status == BAD_INPUT
    assert errors[0] == "llmperf.toml: [[budget]] 1: tests = 'other*' matches no test of these reports"


def test_a_folder_stands_for_the_reports_in_it(judge: Judge, tmp_path: Path) -> None:
    for name in ("store/main/1.json", "store/main/2.json", "store/.draft/3.json", "store/x.txt"):
        write(tmp_path / name)
    status, lines, _ = judge(tmp_path / "store")
    assert (status, lines[-1]) == (0, "2 reports, 2 tests, budgets: 2 PASS")


def test_all_verdicts_are_given_as_json(judge: Judge, budgets: Any, tmp_path: Path) -> None:
    status, lines, _ = judge(
        write(tmp_path / "r.json"), "--json", "--budgets", budgets('tests = "*"\nlatency.ttft_p50 = "150 ms"')
    )
    found = json.loads("\n".join(lines))
    assert status == BROKEN
    assert found["counts"] == {"FAIL": 1}
    [verdict] = found["reports"][0]["tests"][0]["verdicts"]
    assert (verdict["status"], verdict["name"], verdict["limit"]) == ("FAIL", "latency.ttft_p50", 0.15)
