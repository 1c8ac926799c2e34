"""The code in the docs runs, and the reference leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pytest_llmperf
from pytest_llmperf.metrics import table
from pytest_llmperf.plugin import hookspecs
from pytest_llmperf.plugin.markers.marks import MARKERS
from pytest_llmperf.plugin.options import OPTIONS
from pytest_llmperf.reports.files.formats import FORMATS
from tests.conftest import ASYNCIO

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
OPTIONS_OF_A_RUN = ("--llm-engine=simulated", *ASYNCIO)
BLOCK = re.compile(r"^```(?P<language>python|toml)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[tuple[Path, str]]:
    return [
        (page, match["code"])
        for page in PAGES
        for match in BLOCK.finditer(page.read_text(encoding="utf-8"))
        if match["language"] == language
    ]


@pytest.mark.parametrize("number", range(len(_blocks("python"))))
def test_each_python_block_passes_as_it_stands_with_its_budgets_judged(
    number: int, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By this pytest-benchmark would know a worker.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    page, code = _blocks("python")[number]
    tests = len(re.findall(r"^(?:async )?def test_", code, re.MULTILINE))
    assert tests, f"a block without a test in {page.name} is run by nobody"
    pytester.makepyfile(code.replace('against="q8"', 'against="simulated"'))
    neighbours = ("-p", "benchmark") if "(benchmark" in code else ()
    result = pytester.runpytest(*OPTIONS_OF_A_RUN, *neighbours)
    result.assert_outcomes(passed=tests)
    if "_budget(" in code:
        # A limit against a baseline has nothing to be compared with here.
        ending = ", * NO BASELINE" if re.search(r'"[+-]\d+ %"', code) else ""
        result.stdout.fnmatch_lines([f"budgets: * PASS{ending}"])


def test_the_budget_file_of_the_pages_is_understood(pytester: pytest.Pytester) -> None:
    """The tutorial has budgets, the reference prices: together they are one file."""
    text = "\n".join(text for _, text in _blocks("toml"))
    (pytester.path / "llmperf.toml").write_text(
        text.replace('engine = "llamacpp"', 'engine = "simulated"'), encoding="utf-8"
    )
    pytester.makepyfile("def test_one(llm_client): llm_client.chat('Hello', max_tokens=2)")
    result = pytester.runpytest(*OPTIONS_OF_A_RUN)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])


def test_the_reference_and_the_help_name_every_format_of_report() -> None:
    text = next(option.help for option in OPTIONS if option.flag == "--llmperf-report")
    row = next(line for line in REFERENCE.splitlines() if line.startswith("| `--llmperf-report=PATH`"))
    assert [suffix for suffix in FORMATS if suffix not in text or f"`{suffix}`" not in row] == []


def test_the_reference_names_everything_that_can_be_imported() -> None:
    section = REFERENCE.partition("\n## Imports\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", section)) >= set(pytest_llmperf.__all__)


def test_the_reference_names_every_hook() -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("pytest_")]
    assert hooks
    assert [name for name in hooks if f"`{name}`" not in REFERENCE] == []


def test_the_reference_names_every_marker_and_metric() -> None:
    missing = [name for name in MARKERS if f"`{name}`" not in REFERENCE and f"@pytest.mark.{name}" not in REFERENCE]
    missing += [metric.name for metric in table.METRICS.values() if f"`{metric.key}`" not in REFERENCE]
    assert not missing
