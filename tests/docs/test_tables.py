"""What the pages list is what the code has: tables made from it are fresh, and the others are compared with it."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from pytest_llmperf.budgets.limit import BudgetError, parse_limits
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.engines import registry
from pytest_llmperf.engines.api.engine import Engine
from pytest_llmperf.engines.lifecycle.server_deployment import ServerDeployment
from pytest_llmperf.engines.ollama.options import (
    DEFAULT_CONTEXT,
    FOR_EVER,
    KEEP_ALIVE,
    NUM_CTX,
    SERVER_ARGUMENTS,
    STARTUP_OPTIONS,
)
from pytest_llmperf.measurement.memory_trace import Attribution
from pytest_llmperf.metrics.statistics import minimum_samples
from pytest_llmperf.plugin import session
from pytest_llmperf.plugin.fixtures import LLMPerf
from pytest_llmperf.plugin.options import OPTIONS
from pytest_llmperf.traffic.client.dialect import Dialect
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.load.schedule import ScheduleOptions
from pytest_llmperf.traffic.workloads.files.file_workload import workload_file
from pytest_llmperf.traffic.workloads.workload import workload
from scripts.docs_tables import BLOCK, REFERENCE, TABLES, fixtures_table, read_fixtures, with_tables
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").glob("*.md"))
TEXT = REFERENCE.read_text(encoding="utf-8")


def _section(heading: str, page: str = TEXT) -> str:
    """The text from a heading to the next one of any level."""
    _, _, rest = page.partition(f"\n{heading}\n")
    assert rest, f"there is no section {heading}"
    return re.split(r"^#+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def _rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table whose first cell is ``header``."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def _names(rows: list[list[str]]) -> list[str]:
    """The words in backticks of the first cells."""
    return [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]


def test_tables_made_from_the_code_are_fresh() -> None:
    assert {block["name"] for block in BLOCK.finditer(TEXT)} == set(TABLES)
    assert with_tables(TEXT) == TEXT, "run scripts/docs-tables"


def test_a_stale_table_is_noticed() -> None:
    assert with_tables(TEXT.replace("| `--llmperf-disable` |", "| `--llmperf-unable` |")) == TEXT


def test_the_fixtures_that_make_a_test_measured_are_those_of_the_table() -> None:
    listed = set(_names(_rows(fixtures_table(), "fixture")))
    assert listed - set(session.MEASURED_FIXTURES) == {"llm_engine_args"}
    assert set(session.MEASURED_FIXTURES) <= listed


def test_the_reference_explains_every_verdict() -> None:
    rows = {row[0]: row[2] for row in _rows(_section("## Verdicts"), "verdict")}
    assert set(rows) == {str(status) for status in Status}
    strict = {name for name, fails in rows.items() if "--llmperf-strict" in fails}
    assert strict == {str(status) for status in Status if status.without_verdict}
    assert [name for name, fails in rows.items() if fails == "yes"] == ["FAIL"]


def test_the_settings_of_ollama_are_those_it_takes() -> None:
    rows = _rows(_section("### `ollama`"), "setting")
    assert sorted(_names(rows)) == sorted([*STARTUP_OPTIONS, KEEP_ALIVE, *SERVER_ARGUMENTS])
    defaults = {row[0].strip("`"): row[1].strip("`") for row in rows}
    assert defaults[KEEP_ALIVE] == FOR_EVER
    assert str(DEFAULT_CONTEXT) in defaults[NUM_CTX]


@pytest.mark.parametrize(
    ("function", "header"), [(workload, "argument of `workload`"), (ScheduleOptions, "argument of `run`")]
)
def test_the_arguments_of_loads_are_those_they_take(function: Callable[..., object], header: str) -> None:
    arguments = list(inspect.signature(function).parameters)
    assert sorted(_names(_rows(_section("### Load"), header))) == sorted(arguments)


def test_the_signature_of_workload_file_is_the_one_it_has() -> None:
    (written,) = re.findall(r"`workload_file\(([^)]*)\)`", TEXT)
    arguments = inspect.signature(workload_file).parameters.values()
    expected = ["path", "*"]
    expected += [f"{a.name}={a.default}" for a in arguments if a.default is not inspect.Parameter.empty]
    assert written.split(", ") == expected


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_numbers_of_samples_are_those_that_a_percentile_needs(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    stated = re.findall(r"\bp(\d+(?:\.\d+)?) (?:needs )?(\d+)\b(?! ms)", text)
    assert [(p, n) for p, n in stated if minimum_samples(float(p)) != int(n)] == []


def test_contributing_has_every_room_of_the_package() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = {name.rstrip("/") for row in _rows(page, "room") for name in re.findall(r"`([\w/]+)/`", row[0])}
    assert listed == set(_rooms(ROOT / "pytest_llmperf"))


def _rooms(package: Path) -> list[str]:
    """The folders with code, by their paths in the package; one for all engines, whose folders are their names."""
    folders = {str(file.parent.relative_to(package)) for file in package.rglob("*.py")} - {"."}
    engines = {f"engines/{name}" for name in registry.BUILT_IN}
    return [folder for folder in folders if not any(folder == one or folder.startswith(f"{one}/") for one in engines)]


def test_the_ways_of_attribution_are_those_of_the_table() -> None:
    page = (ROOT / "docs" / "measurement.md").read_text(encoding="utf-8")
    assert _names(_rows(page, "attribution")) == [name for name in get_args(Attribution) if name != "tree"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_option_that_a_page_names_exists(page: Path) -> None:
    known = {option.flag for option in OPTIONS} | {option.negative_flag for option in OPTIONS if option.negation}
    named = set(re.findall(r"(?<![\w-])--llm(?:perf)?-[a-z-]+[a-z]", page.read_text(encoding="utf-8")))
    assert sorted(named - known) == []


BUDGET = re.compile(
    r"(?P<group>memory|throughput|latency|energy|quality)_budget(?:\((?P<inside>[^)]*)\)|` \| (?P<row>.*) \|)"
)
OF_USERS = {"mean", "longest_gap_max"}  # the metrics of the reference's own example


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_budget_that_a_page_writes_is_understood(page: Path) -> None:
    for found in BUDGET.finditer(page.read_text(encoding="utf-8")):
        values = re.findall(r"(\w+)=\"([^\"]+)\"", found["inside"] or found["row"] or "")
        limits = {key: value for key, value in values if key not in OF_USERS}
        if limits:
            parse_limits(found["group"], limits, page.name)


def test_a_wrong_budget_is_noticed() -> None:
    (found,) = BUDGET.finditer('`@memory_budget(peak="16 gib")`')
    with pytest.raises(BudgetError):
        parse_limits(found["group"], dict(re.findall(r"(\w+)=\"([^\"]+)\"", found["inside"])), "a page")


def test_readme_and_reference_have_every_engine() -> None:
    names = set(registry.BUILT_IN)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `--llm-engine=(\w+)", readme, re.MULTILINE)) == names
    assert {name for name in names if f"\n### `{name}`\n" in TEXT} == names


@pytest.mark.parametrize(
    ("fixture", "owner"), [("llm_engine", Engine), ("llm_client", LLMClient), ("llm_perf", LLMPerf)]
)
def test_what_a_fixture_is_said_to_have_it_has(fixture: str, owner: type) -> None:
    (text,) = (text for name, _, text in read_fixtures() if name == fixture)
    named = re.findall(r"``(\w+)(?:\([^`]*\))?``", text.partition(".")[2] or text)
    has = {*dir(owner), *inspect.get_annotations(owner), *re.findall(r"self\.(\w+) = ", inspect.getsource(owner))}
    assert named
    assert sorted(set(named) - has) == []


def test_what_an_engine_of_ones_own_is_made_of_exists() -> None:
    page = (ROOT / "docs" / "own-engine.md").read_text(encoding="utf-8")
    methods = re.findall(r"`(\w+)\(", " ".join(row[0] for row in _rows(page, "method")))
    assert methods
    assert sorted(set(methods) - set(dir(ServerDeployment))) == []
    assert sorted(_names(_rows(page, "field"))) == sorted(field.name for field in fields(Dialect))


def _help(*arguments: str) -> str:
    command = [sys.executable, "-m", "pytest_llmperf", *arguments, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


def test_the_commands_of_the_reference_are_those_of_the_program() -> None:
    for command, meaning in _rows(_section("### Kept engines"), "command"):
        words = re.findall(r"[a-z]+", command.partition("[")[0].replace("pytest-llmperf", ""))
        text = _help(*words)
        assert [flag for flag in re.findall(r"--[a-z]+", meaning) if flag not in text] == []


def test_each_kind_of_empty_green_has_its_tests_and_each_test_file_its_kind() -> None:
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    named = [name for row in _rows(_section("## What a green run proves", page), "kind") for name in row[2].split()]
    written = {f"`{path.name}`" for path in (ROOT / "tests" / "plugin" / "silent_green").glob("test_*.py")}
    assert sorted(named) == sorted(set(named))
    assert set(named) == written
