"""Budgets that no test reads: an error of a strict run, a line at the end of any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conftest import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Runs

SOURCE = """
@pytest.mark.memory_budget(peak="2 GiB")
def test_answers(llm_client):
    llm_client.generate("x", max_tokens=2)

def test_other():
    pass
"""
STRICT = "--llmperf-strict"
GONE = '[[budget]]\ntests = "{tests}"\nmemory.peak = "2 GiB"\n'


def budget_file(pytester: pytest.Pytester, tests: str, folder: str = ".") -> None:
    path = pytester.path / folder
    path.mkdir(exist_ok=True)
    (path / "llmperf.toml").write_text(GONE.format(tests=tests), encoding="utf-8")


def check(result: pytest.RunResult, line: str, *, error: bool) -> None:
    assert result.ret == (pytest.ExitCode.TESTS_FAILED if error else pytest.ExitCode.OK), result.stdout.str()
    result.stdout.fnmatch_lines([f"{'error' if error else 'warning'}: {line}"])


# ------------------------------------------------------------------------------------------------- tables of the file


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    "tests",
    ["test_it.py::test_gone", "*::test_Answers", "test_it.py", r".\\\\test_it.py::*", "./test_it.py::*", "tests/*"],
)
def test_a_table_that_matches_no_test(pytester: pytest.Pytester, runs: Runs, tests: str, strict: bool) -> None:
    budget_file(pytester, tests)
    result = runs(SOURCE, *[STRICT] * strict)
    check(result, "llmperf.toml: *budget* 1: tests = * matches no test; *'test_it.py::test_answers'", error=strict)
    result.assert_outcomes(passed=2)


def test_ci_is_strict(pytester: pytest.Pytester, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    budget_file(pytester, "*::test_gone")
    assert runs(SOURCE).ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "options", [["-m", "not slow"], ["--deselect=test_it.py::test_other"], ["-n2"], ["--llmperf-disable"]], ids=" ".join
)
def test_a_run_that_collects_every_test_knows_it(pytester: pytest.Pytester, runs: Runs, options: list[str]) -> None:
    if "-n2" in options:
        pytest.importorskip("xdist")
    budget_file(pytester, "*::test_gone")
    result = runs.in_subprocess(SOURCE, STRICT, *options)
    check(result, "llmperf.toml: * matches no test*", error=True)
    assert result.stdout.str().count("matches no test") == 1


@pytest.mark.parametrize(
    "options",
    [["-k", "answers"], ["test_it.py"], ["test_it.py::test_answers"], ["--ignore=test_more.py"]],
    ids=" ".join,
)
def test_a_run_of_a_part_of_the_tests_only_warns(pytester: pytest.Pytester, runs: Runs, options: list[str]) -> None:
    budget_file(pytester, "*::test_gone")
    pytester.makepyfile(test_more="def test_gone(): pass\ndef test_more(): pass" if "-k" not in options else "")
    check(runs(SOURCE, STRICT, *options), "llmperf.toml: * matches no test*", error=False)


def test_after_a_failure_a_run_of_the_failed_tests_only_warns(pytester: pytest.Pytester, runs: Runs) -> None:
    budget_file(pytester, "test_more.py::test_it")
    pytester.makepyfile(test_more="def test_it(llm_engine): pass")
    runs(SOURCE + "    assert False\n")
    check(runs(SOURCE, STRICT, "--lf"), "llmperf.toml: * matches no test*", error=False)


@pytest.mark.parametrize(
    ("tests", "error"), [("sub/test_gone.py::*", True), ("other/test_it.py::*", False), ("*::test_gone", False)]
)
def test_a_folder_on_the_command_line_is_the_whole_of_that_folder(
    pytester: pytest.Pytester, runs: Runs, tests: str, error: bool
) -> None:
    budget_file(pytester, tests)
    runs.write("def test_x(): pass")
    (pytester.mkdir("sub") / "test_sub.py").write_text("def test_x(): pass", encoding="utf-8")
    check(runs.plain("def test_x(): pass", STRICT, "sub"), "llmperf.toml: * matches no test*", error=error)


@pytest.mark.parametrize("options", [["."], []])
def test_all_of_the_tests_are_there_with_testpaths_and_with_the_root(
    pytester: pytest.Pytester, runs: Runs, options: list[str]
) -> None:
    budget_file(pytester, "*::test_gone")
    pytester.makeini("[pytest]\ntestpaths = sub\n")
    (pytester.mkdir("sub") / "test_sub.py").write_text("def test_x(): pass", encoding="utf-8")
    check(runs.plain("def test_x(): pass", STRICT, *options), "llmperf.toml: * matches no test*", error=True)


def test_a_module_that_was_skipped_may_have_the_tests(pytester: pytest.Pytester, runs: Runs) -> None:
    budget_file(pytester, "test_vllm.py::test_it")
    pytester.makepyfile(test_vllm="import pytest\npytest.importorskip('no_such_package')\ndef test_it(): pass")
    check(runs(SOURCE, STRICT), "llmperf.toml: * matches no test*", error=False)


@pytest.mark.parametrize("tests", ["test_it.py::test_other", "*", "*::TestIt::test_it[[]a[]]", "*::test_answers"])
def test_a_table_that_matches_a_test_is_no_mistake(pytester: pytest.Pytester, runs: Runs, tests: str) -> None:
    budget_file(pytester, tests)
    source = "class TestIt:\n    @pytest.mark.parametrize('x', ['a'])\n    def test_it(self, x, llm_engine): pass\n"
    result = runs(SOURCE.replace("test_other()", "test_other(llm_engine)") + source, STRICT)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*matches no test*")


def test_a_table_whose_test_was_deselected_is_no_mistake(pytester: pytest.Pytester, runs: Runs) -> None:
    budget_file(pytester, "test_it.py::test_other")
    result = runs(SOURCE, STRICT, "-k", "answers")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*matches no test*")


def test_a_test_of_a_group_of_workers_has_its_budget(pytester: pytest.Pytester, runs: Runs) -> None:
    pytest.importorskip("xdist")
    budget_file(pytester, "test_it.py::test_grouped")
    source = """
    @pytest.mark.xdist_group("one")
    def test_grouped(llm_client):
        llm_client.generate("x", max_tokens=2)
    """
    result = runs.in_subprocess(source, STRICT, "-n1", "--dist=loadgroup")
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


ORDER = """
[[budget]]
tests = "test_it.py::test_answers"
memory.peak = "1 B"
memory.growth = "1 GiB"

[[budget]]
tests = "*"
memory.peak = "2 GiB"
"""


@pytest.mark.parametrize("options", [[STRICT], [], [STRICT, "-k", "answers"]], ids=" ".join)
def test_a_limit_that_a_later_table_beats_everywhere(pytester: pytest.Pytester, runs: Runs, options: list[str]) -> None:
    (pytester.path / "llmperf.toml").write_text(ORDER, encoding="utf-8")
    result = runs(SOURCE.replace('@pytest.mark.memory_budget(peak="2 GiB")', ""), *options, "--deselect=::test_other")
    line = "llmperf.toml: *budget* 1: memory.peak = '1 B' applies to no test: *budget* 2 comes later and *"
    check(result, line, error=options == [STRICT])
    result.stdout.no_fnmatch_line("*memory.growth = *applies to no test*")


def test_a_later_table_that_is_for_some_tests_only_beats_the_general_one(pytester: pytest.Pytester, runs: Runs) -> None:
    first, second = ORDER.strip().split("\n\n")
    (pytester.path / "llmperf.toml").write_text(f"{second}\n{first}".replace("1 B", "2 GiB"), encoding="utf-8")
    result = runs(SOURCE.replace("test_other()", "test_other(llm_client)"), STRICT)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*applies to no test*")


# -------------------------------------------------------------------------------------------------- files not read


def another_ini(pytester: pytest.Pytester) -> list[str]:
    """The ini file is given by -c, and the budgets lie at the root."""
    budget_file(pytester, "*")
    (pytester.mkdir("ci") / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    return ["-c", "ci/pytest.ini", f"--rootdir={pytester.path}"]


def two_projects(pytester: pytest.Pytester) -> list[str]:
    """A part of the repository has an ini file and budgets of its own, and the tests are run from the root."""
    pytester.makeini("[pytest]\n")
    budget_file(pytester, "*", "sub")
    (pytester.path / "sub" / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (pytester.path / "sub" / "test_sub.py").write_text("def test_sub(): pass", encoding="utf-8")
    return []


def above_the_root(pytester: pytest.Pytester) -> list[str]:
    """The budgets lie at the root of the repository, and only a part with an ini file of its own is run."""
    budget_file(pytester, "*")
    (pytester.mkdir("sub") / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (pytester.path / "sub" / "test_sub.py").write_text("def test_sub(): pass", encoding="utf-8")
    return ["sub"]


def in_pyproject(pytester: pytest.Pytester) -> list[str]:
    """The budgets are written into pyproject.toml."""
    pytester.makepyprojecttoml('[[tool.llmperf.budget]]\ntests = "*"\nmemory.peak = "1 GiB"\n')
    return []


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("layout", "line"),
    [
        (another_ini, "llmperf.toml is not read: budgets of this run come from ci/llmperf.toml"),
        (two_projects, "sub/llmperf.toml is not read: budgets of this run come from llmperf.toml"),
        (above_the_root, "../llmperf.toml is not read: budgets of this run come from llmperf.toml"),
        (in_pyproject, "pyproject.toml: [[][[]tool.llmperf.budget[]][]] is not read: write * into llmperf.toml"),
    ],
)
def test_a_file_with_budgets_that_is_not_read(
    pytester: pytest.Pytester, runs: Runs, layout: Callable[[pytest.Pytester], list[str]], line: str, strict: bool
) -> None:
    options = layout(pytester)
    check(runs.plain("def test_x(): pass", *options, *[STRICT] * strict), line, error=strict)


def test_a_part_with_budgets_of_its_own_does_not_need_those_of_the_whole(pytester: pytest.Pytester, runs: Runs) -> None:
    options = above_the_root(pytester)
    budget_file(pytester, "*::test_sub", "sub")
    result = runs.plain("def test_x(): pass", *options, STRICT, "--llmperf-disable")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*is not read*")


# ----------------------------------------------------------------------------------------- markers that are not read


CONFTEST = 'import pytest\npytestmark = [pytest.mark.memory_budget(peak="1 B"), pytest.mark.skip]\n'


@pytest.mark.parametrize("options", [[], [STRICT], [STRICT, "--import-mode=importlib"]], ids=" ".join)
@pytest.mark.parametrize("name", ["conftest.py", "perf/conftest.py", "perf/__init__.py", "perf/sub/__init__.py"])
def test_pytestmark_where_pytest_ignores_it(
    pytester: pytest.Pytester, runs: Runs, name: str, options: list[str]
) -> None:
    folder = pytester.path / "perf" / "sub"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "test_sub.py").write_text("def test_sub(): pass", encoding="utf-8")
    (pytester.path / name).write_text(CONFTEST, encoding="utf-8")
    result = pytester.runpytest_inprocess(SIMULATED, *options)
    line = f"{name}: pytest ignores pytestmark in this file, so @memory_budget limits no test: *"
    check(result, line, error=STRICT in options)


HELPERS = {
    "check_memory": '@pytest.mark.memory_budget(peak="1 B")\ndef check_memory(llm_client): pass',
    "Memory": '@pytest.mark.memory_budget(peak="1 B")\nclass Memory:\n    def test_it(self): pass',
    "TestIt::check": 'class TestIt:\n    @pytest.mark.memory_budget(peak="1 B")\n    def check(self): pass\n    '
    "def test_it(self): pass",
}  # fmt: skip


@pytest.mark.parametrize("name", HELPERS)
def test_a_budget_on_what_is_no_test(runs: Runs, name: str) -> None:
    source = f"{HELPERS[name]}\n\ndef test_plain(): pass\n"
    check(runs.plain(source, STRICT), f"test_it.py::{name} has @memory_budget, *no budget of it is read", error=True)


@pytest.mark.parametrize("name", ["pytestmarks", "pytest_mark", "PytestMark"])
@pytest.mark.parametrize("indent", ["", "    "])
def test_a_misspelled_pytestmark(runs: Runs, name: str, indent: str) -> None:
    budget = f"{indent}{name} = [pytest.mark.memory_budget(peak='1 B')]\n"
    source = f"{budget}def test_it(): pass" if not indent else f"class TestIt:\n{budget}    def test_it(self): pass"
    check(
        runs.plain(source, STRICT), f"test_it.py*: {name} has @memory_budget, and pytest reads pytestmark*", error=True
    )


def test_a_marker_under_a_name_of_its_own_is_a_decorator(runs: Runs) -> None:
    source = "small = pytest.mark.memory_budget(peak='2 GiB')\nmark = [1, small]\n@small" + SOURCE.replace(
        '@pytest.mark.memory_budget(peak="2 GiB")', ""
    ).lstrip("\n").join(["\n", ""])
    result = runs(source, STRICT)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


def test_a_base_class_passes_its_budget_on(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        class Base:
            def test_it(self, llm_client):
                llm_client.generate("x", max_tokens=2)

        class TestIt(Base):
            pass
        """,
        STRICT,
    )
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["budgets: 1 PASS"])


ADDED = """
@pytest.fixture
def limit(request):
    request.node.add_marker(pytest.mark.memory_budget(peak="1 B"))

def test_it(limit, llm_client):
    llm_client.generate("x", max_tokens=2)

def test_itself(request, llm_client):
    llm_client.generate("x", max_tokens=2)
    request.node.add_marker(pytest.mark.memory_budget(peak="1 B"))

@pytest.mark.memory_budget(peak="10 GiB")
def test_measured(request, llm_client):
    llm_client.generate("x", max_tokens=2)
    request.node.add_marker(pytest.mark.memory_budget(peak="1 B"))
"""


def test_a_budget_that_a_fixture_or_the_test_adds_comes_too_late(runs: Runs) -> None:
    result = runs(ADDED)
    result.assert_outcomes(failed=3)
    for name in ("test_it", "test_itself", "test_measured"):
        result.stdout.fnmatch_lines([f"FAILED *InvalidBudget: {name}: a fixture, or the test itself, added a budget *"])


def test_a_budget_that_a_hook_adds_is_read(pytester: pytest.Pytester, runs: Runs) -> None:
    pytester.makeconftest(
        """
        import pytest

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.memory_budget(peak="1 B"))
        """
    )
    result = runs(ADDED)
    result.stdout.fnmatch_lines(["FAILED *BudgetExceeded: memory.peak *"])


# ------------------------------------------------------------------------------------------------------------ globs


@pytest.mark.parametrize("scope", ["engine='vllm'", "engine='simulated:other*'", "device='NVIDIA H100*'"])
@pytest.mark.parametrize("strict", [True, False])
def test_a_metric_that_only_others_are_limited_on(runs: Runs, scope: str, strict: bool) -> None:
    result = runs(
        f"""
        @pytest.mark.memory_budget(peak="2 GiB")
        @pytest.mark.latency_budget(e2e_max="1 ms", {scope})
        def test_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        *[STRICT] * strict,
    )
    result.assert_outcomes(failed=int(strict), passed=int(not strict))
    result.stdout.fnmatch_lines(["budgets: 1 PASS, 1 NO BUDGET"])
    result.stdout.fnmatch_lines([f"why: latency.e2e_max NO BUDGET: no limit * is for simulated on CPU*{scope}*"])


def test_the_same_in_the_file(pytester: pytest.Pytester, runs: Runs) -> None:
    (pytester.path / "llmperf.toml").write_text(
        '[[budget]]\ntests = "*::test_answers"\nengine = "vllm"\nlatency.e2e_max = "1 ms"\n', encoding="utf-8"
    )
    result = runs(SOURCE, STRICT)
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["FAILED *NoVerdict: latency.e2e_max NO BUDGET: *engine='vllm'*"])


@pytest.mark.parametrize("strict", [True, False])
def test_a_glob_of_an_engine_that_does_not_exist(runs: Runs, strict: bool) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB", engine="simulated")
        @pytest.mark.memory_budget(kv_cache="1 GiB", engine="vlm*")
        def test_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        *[STRICT] * strict,
    )
    result.assert_outcomes(errors=int(strict), passed=int(not strict))
    result.stdout.fnmatch_lines(["*test_it: @memory_budget: engine='vlm[*]' names no engine: * vllm, ollama, *"])


def test_limits_for_one_engine_each_are_no_mistake(runs: Runs) -> None:
    result = runs(
        """
        @pytest.mark.memory_budget(peak="2 GiB", engine="simulated")
        @pytest.mark.memory_budget(peak="4 GiB", kv_cache="1 GiB", engine="vllm")
        @pytest.mark.latency_budget(e2e_max="30 s")
        def test_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        STRICT,
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["budgets: 2 PASS"])


def test_a_limit_for_another_engine_of_the_run_is_no_mistake(runs: Runs) -> None:
    result = runs.plain(
        """
        @pytest.mark.memory_budget(peak="2 GiB")
        @pytest.mark.latency_budget(e2e_max="30 s", engine="simulated:two")
        def test_it(llm_client):
            llm_client.generate("x", max_tokens=2)
        """,
        f"{SIMULATED}:one",
        f"{SIMULATED}:two",
        STRICT,
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["budgets: 3 PASS"])


def test_it_is_in_the_reports_too(pytester: pytest.Pytester, runs: Runs) -> None:
    budget_file(pytester, "*::test_gone")
    runs(SOURCE, STRICT, "--llmperf-report=a.json", "--llmperf-report=a.md")
    for name in ("a.json", "a.md"):
        assert "matches no test" in (pytester.path / name).read_text(encoding="utf-8")
