"""pytest's own TOML tables are strictly typed: each option is read from one, in the type that its kind names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.plugin.options import OPTIONS

if TYPE_CHECKING:
    from pytest_llmperf.plugin.options import Option
    from tests.conftest import Runs

pytestmark = pytest.mark.skipif(pytest.version_tuple < (9,), reason="native TOML configuration came with pytest 9")

TABLES = {"pyproject.toml": "tool.pytest", "pytest.toml": "pytest", ".pytest.toml": "pytest"}
# What takes words of its own; every other option is given a value by its kind.
WORDS = {
    "llm_engine": ["simulated"],
    "llmperf_engine_arg": ["ttft=2 ms", "tpot=1 ms"],
    "llmperf_busy_gpu": "warn",
    "llmperf_dcgm": ["localhost:9400"],
    "llmperf_metrics": ["http://localhost:8000/metrics"],
    "llmperf_report": ["out.json"],
}
KINDS = {"list": [], "string": "", "optional": "", "float": 2.0, "int": 2, "bool": False}


def value_of(option: Option) -> Any:
    return WORDS.get(option.name, option.default if option.default else KINDS[option.kind])


@pytest.mark.parametrize("name", TABLES)
def test_every_option_is_read_from_a_native_table(runs: Runs, pytester: pytest.Pytester, name: str) -> None:
    lines = [f"{option.name} = {json.dumps(value_of(option))}" for option in OPTIONS]
    (pytester.path / name).write_text("\n".join([f"[{TABLES[name]}]", *lines, ""]), encoding="utf-8")
    config = pytester.parseconfigure()
    assert {option.name: config.getini(option.name) for option in OPTIONS} == {
        option.name: value_of(option) for option in OPTIONS
    }


def test_a_run_takes_engine_and_report_from_it(runs: Runs, pytester: pytest.Pytester) -> None:
    names = ("llm_engine", "llmperf_engine_arg", "llmperf_report")
    lines = [f"{name} = {json.dumps(WORDS[name])}" for name in names]
    (pytester.path / "pytest.toml").write_text("\n".join(["[pytest]", *lines, ""]), encoding="utf-8")
    (pytester.path / "llmperf.toml").write_text('[[budget]]\ntests = "*"\nmemory.peak = "1 MiB"\n', encoding="utf-8")
    result = runs.plain("def test_over(llm_client):\n    llm_client.generate('x', max_tokens=2)\n")
    result.assert_outcomes(failed=1)
    assert json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))["counts"]["FAIL"] == 1
