"""A pytest run that measures nothing does not pay for the plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HEAVY = (
    *("psutil", "h11", "pynvml", "numpy", "xllamacpp", "asyncio", "urllib.request", "http.client", "ssl", "tomllib"),
    "subprocess",
    *(f"pytest_llmperf.{name}" for name in ("metrics", "measurement", "budgets", "engines.api", "telemetry")),
    *(f"pytest_llmperf.{name}" for name in ("system", "traffic", "reports", "plugin.measuring", "plugin.outcomes")),
)
# pytest parses the metadata of packages when it looks for the plugin's entry point: here each run does.
LISTS_MODULES = """
import sys
from importlib.metadata import metadata

metadata("pytest")

def test_lists_modules():
    print("modules:", *sys.modules)
"""


def modules_of_a_bare_run(pytester: pytest.Pytester, *options: str) -> set[str]:
    pytester.makepyfile(test_bare=LISTS_MODULES)
    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=1)
    return set(next(line for line in result.outlines if "modules: " in line).split())


def test_a_run_without_measured_tests_imports_nothing_heavy(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    without = modules_of_a_bare_run(pytester)
    added = modules_of_a_bare_run(pytester, "-p", "llmperf") - without
    assert "pytest_llmperf.plugin" in added
    assert not added & set(HEAVY)
    others = {name for name in added if not name.startswith("pytest_llmperf")}
    assert others <= {"platform", "__future__"}
