"""What users import from pytest_llmperf: complete, typed, documented, and free of pytest until it is needed."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import subprocess
import sys
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import pytest

import pytest_llmperf
from pytest_llmperf import measurement
from pytest_llmperf.metrics.metric import DistributionMetric
from pytest_llmperf.metrics.table import COMPARISON, METRICS, SCOPES
from pytest_llmperf.plugin.markers import functions
from pytest_llmperf.plugin.markers.marks import MARKERS
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from tests.conftest import Runs

HOMES: dict[str, str] = vars(pytest_llmperf)["_HOMES"]
ACCEPTED = Path(__file__).parents[1] / "helpers" / "typed_user.py"
REFUSED = """
import pytest_llmperf
from pytest_llmperf import LLMClient, LLMPerf, NoSuchName, latency_budget, memory_budget  # attr-defined

WRONG: pytest_llmperf.AnotherName  # name-defined


@memory_budget(peek="16 GiB")  # call-arg
@memory_budget(peak=16)  # arg-type
@latency_budget(ttft="300 ms")  # call-arg
def test_marked() -> None: ...


def test_client(llm_client: LLMClient, llm_perf: LLMPerf) -> None:
    llm_client.generate(17)  # arg-type
    llm_client.ask("Once upon a time")  # attr-defined
    assert llm_perf.read("memory.peak") < 2**34  # operator
    assert llm_perf.read("memory.peak").value < 2**34  # operator
    raise pytest_llmperf.BudgetExceeded(17)  # arg-type
"""  # each wrong line ends with the code of mypy's error
MEASUREMENT_CLASSES: dict[str, type] = {
    name: value
    for module in iter_modules(measurement.__path__, f"{measurement.__name__}.")
    for name, value in vars(import_module(module.name)).items()
    if inspect.isclass(value) and is_dataclass(value)
}
USUAL_STATISTICS = ("p50", "p75", "p90", "p95", "p99", "p99_9", "max")


def exported(name: str) -> Any:
    return getattr(pytest_llmperf, name)


def imports_of(tree: ast.AST) -> dict[str, str]:
    """The module of each name that is imported by ``from module import name as name``."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module or "" for node in nodes for alias in node.names}


# ----------------------------------------------------------------------------------------------------------- exports


def test_type_checkers_find_each_name_where_it_is_found_at_run_time() -> None:
    tree = ast.parse(Path(pytest_llmperf.__file__).read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    assert imports_of(ast.Module(block.body, [])) == HOMES
    assert sorted(pytest_llmperf.__all__) == sorted(HOMES) == dir(pytest_llmperf)


@pytest.mark.parametrize("name", HOMES)
def test_each_export_has_a_docstring_of_its_own(name: str) -> None:
    value = exported(name)
    documented = vars(value)["__doc__"] if inspect.isclass(value) else value.__doc__
    assert documented
    assert not documented.startswith(f"{name}("), "made by dataclass"


def test_everything_that_a_measurement_holds_is_exported() -> None:
    pending: list[type] = [pytest_llmperf.Measurement]
    seen: set[type] = set()
    while pending:
        cls = pending.pop()
        seen.add(cls)
        words = {word for field in fields(cls) for word in re.findall(r"\w+", str(field.type))}
        found = {value for name, value in MEASUREMENT_CLASSES.items() if name in words}
        pending += found - seen
    assert pytest_llmperf.RequestTiming in seen
    assert {cls.__name__ for cls in seen} <= set(HOMES)


def test_a_name_that_does_not_exist_cannot_be_imported() -> None:
    with pytest.raises(ImportError, match="cannot import name 'NoSuchName' from 'pytest_llmperf'"):
        exec("from pytest_llmperf import NoSuchName")


def test_the_package_does_not_import_pytest() -> None:
    code = "import sys, pytest_llmperf; print(*{'pytest', 'pluggy'} & sys.modules.keys())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert run.stdout.strip() == ""


# -------------------------------------------------------------------------------------------------------- exceptions


def drawn_bases() -> dict[str, str]:
    """The base class of each exception, as the docstring of the package draws it."""
    bases, above = {}, [(-1, "")]
    for line in (pytest_llmperf.__doc__ or "").splitlines():
        match = re.fullmatch(r"( {4,})([\w.]+)(?: .*)?", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        while above[-1][0] >= depth:
            above.pop()
        bases[name] = above[-1][1]
        above.append((depth, name))
    return bases


def test_the_docstring_draws_the_tree_of_exceptions() -> None:
    drawn = drawn_bases()
    roots = {
        Exception: "Exception",
        pytest.fail.Exception: "pytest.fail.Exception",
        pytest.PytestWarning: "pytest.PytestWarning",
    }
    assert [name for name, base in drawn.items() if not base] == [
        "pytest.fail.Exception",
        "Exception",
        "pytest.PytestWarning",
    ]
    names = {**roots, **{exported(name): name for name in drawn if name in HOMES}}
    actual = {
        names[cls]: next(names[base] for base in cls.__mro__[1:] if base in names) for cls in names if cls not in roots
    }
    assert actual == {name: base for name, base in drawn.items() if base}


def test_the_tree_has_every_exception_that_is_exported() -> None:
    classes = {name for name in HOMES if inspect.isclass(exported(name)) and issubclass(exported(name), BaseException)}
    assert classes == {name for name in drawn_bases() if name in HOMES}


def documented_members(name: str) -> list[str]:
    members = [exported(name)]
    if inspect.isclass(exported(name)):
        members += [member for key, member in vars(exported(name)).items() if not key.startswith("_")]
        members += [vars(exported(name)).get("__call__")]
    return [inspect.getdoc(member) or "" for member in members]


def test_each_exception_that_a_public_call_says_it_raises_is_exported() -> None:
    raised = {
        error
        for name in HOMES
        for text in documented_members(name)
        for section in re.findall(r"^Raises:\n((?: +.*\n?)+)", text, re.MULTILINE)
        for error in re.findall(r"^ {4}(\w+):", section, re.MULTILINE)
    }
    assert {"RequestFailed", "LoadClientDied", "EngineError", "EngineUnavailable"} <= raised
    assert not {error for error in raised if error not in HOMES and not hasattr(builtins, error)}


# ----------------------------------------------------------------------------------------------------------- markers


def keys_of(group: str) -> set[str]:
    keys = set(SCOPES)
    for metric in METRICS.values():
        if metric.group == group:
            statistics = USUAL_STATISTICS if isinstance(metric, DistributionMetric) else ("",)
            keys |= {f"{metric.key}_{statistic}".rstrip("_") for statistic in statistics}
    return keys


@pytest.mark.parametrize("marker", [name for name in MARKERS if name.endswith("_budget")])
def test_a_typed_marker_takes_the_keys_of_the_table(marker: str) -> None:
    group = marker.removesuffix("_budget")
    if group == "quality":  # scores have names of their own, which no table of keys can hold
        taken = set(inspect.signature(functions.quality_budget).parameters) - {"scores"}
        assert taken == {*keys_of(group), *COMPARISON}
        return
    limits = getattr(functions, f"{group.capitalize()}Limits")
    assert set(inspect.get_annotations(limits)) == keys_of(group)


def test_each_marker_has_its_typed_function() -> None:
    assert set(MARKERS) <= set(HOMES)
    assert exported("llm_engines")("vllm").mark == pytest.mark.llm_engines("vllm").mark
    assert exported("llm_cache")("warm").mark == pytest.mark.llm_cache("warm").mark
    for name in MARKERS:
        if name.endswith("_budget"):
            assert exported(name)(engine="x*").mark == getattr(pytest.mark, name)(engine="x*").mark


def test_a_typed_marker_limits_its_test(runs: Runs) -> None:
    result = runs(
        """
        from pytest_llmperf import latency_budget, memory_budget

        @memory_budget(peak="1 MiB")
        def test_beyond(llm_client):
            llm_client.generate("x", max_tokens=2)

        @latency_budget(ttft_p97="1 min", ttft_max="1 min")
        def test_inside(llm_client):
            llm_client.generate("x", max_tokens=2)
        """
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["budgets: 1 PASS, 1 FAIL, 1 NOT MEASURED"])


# ------------------------------------------------------------------------------------------------------ type checkers


@pytest.mark.once
def test_a_type_checker_accepts_a_users_test_file_and_refuses_mistakes_in_it(tmp_path: Path) -> None:
    accepted = ACCEPTED.read_text(encoding="utf-8")
    assert [name for name in pytest_llmperf.__all__ if name not in imports_of(ast.parse(accepted))] == []
    (tmp_path / "accepted.py").write_text(accepted, encoding="utf-8")
    (tmp_path / "refused.py").write_text(REFUSED, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "accepted.py", "refused.py"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S)
    found = re.findall(r"^(\w+\.py):(\d+): error: .*\[([a-z-]+)\]$", run.stdout, re.MULTILINE)
    codes = [(number, re.search(r"  # ([a-z-]+)$", line)) for number, line in enumerate(REFUSED.splitlines(), 1)]
    expected = [("refused.py", str(number), code[1]) for number, code in codes if code]
    assert found == expected, run.stdout + run.stderr
