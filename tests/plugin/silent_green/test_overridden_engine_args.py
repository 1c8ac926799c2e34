"""``llm_engine_args`` overridden in a folder, module or class: its tests have their own engine, in every order."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from tests.conftest import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Runs

# The engine answers with as many tokens as its settings say, so a test knows on which engine it ran.
ROOT = """
import pytest

@pytest.fixture(scope="session")
def llm_engine_args():
    return {"output_tokens": 3, "ttft": "1 ms", "tpot": "1 ms"}
"""
SUB = """
import pytest

@pytest.fixture(scope="session")
def llm_engine_args(llm_engine_args):
    return {**llm_engine_args, "output_tokens": 5}
"""
ASKS = """
def test_asks(llm_client, llm_base_url):
    assert llm_client.generate("x", max_tokens=16).timing.output_tokens == NUMBER
    assert llm_base_url == llm_client.base_url
"""
APP = """

@pytest.fixture(scope="session")
def app(llm_engine):
    return llm_engine.base_url

@pytest.fixture(autouse=True)
def check_app(app, llm_engine):
    assert app == llm_engine.base_url
"""


def write(folder: Path, name: str, source: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(dedent(source), encoding="utf-8")


def asks(number: int) -> str:
    return ASKS.replace("NUMBER", str(number))


@pytest.fixture
def project(pytester: pytest.Pytester) -> Path:
    """A project whose root, one folder and one module of it have different settings."""
    module = asks(7) + SUB.replace("5", "7")
    write(pytester.path, "conftest.py", ROOT)
    write(pytester.path, "test_root.py", asks(3))
    write(pytester.path / "sub", "conftest.py", SUB)
    write(pytester.path / "sub", "test_sub.py", asks(5))
    write(pytester.path, "test_own.py", module)
    return pytester.path


PLACES = ["test_root.py", "sub", "test_own.py"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("order", [PLACES, PLACES[::-1]], ids=" ".join)
def test_each_place_has_its_engine_in_every_order(pytester: pytest.Pytester, runs: Runs, order: list[str]) -> None:
    result = pytester.runpytest_inprocess(SIMULATED, *order)
    result.assert_outcomes(passed=3)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("options", [["-n2"], ["-p", "randomly", "-p", "no:cacheprovider"]], ids=" ".join)
def test_so_it_is_beside_other_plugins(pytester: pytest.Pytester, runs: Runs, options: list[str]) -> None:
    pytest.importorskip("xdist" if options == ["-n2"] else "pytest_randomly")
    pytester.runpytest_subprocess(SIMULATED, *options).assert_outcomes(passed=3)


@pytest.mark.usefixtures("project")
def test_it_is_so_on_each_of_several_engines(pytester: pytest.Pytester, runs: Runs) -> None:
    result = pytester.runpytest_inprocess(f"{SIMULATED}:one", f"{SIMULATED}:two", "-v", "test_root.py", "sub")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines_random([f"*::test_asks?simulated:{name}? PASSED*" for name in ("one", "two")])


@pytest.mark.usefixtures("project")
def test_the_names_of_the_tests_stay_as_they_are(pytester: pytest.Pytester, runs: Runs) -> None:
    result = pytester.runpytest_inprocess(SIMULATED, "--collect-only", "-q")
    result.stdout.fnmatch_lines_random(["test_root.py::test_asks", "sub/test_sub.py::test_asks"])


CLASSES = """
import pytest

class TestShort:
    @pytest.fixture(scope="session")
    def llm_engine_args(self):
        return {"output_tokens": 2, "ttft": "1 ms", "tpot": "1 ms"}

    def test_it(self, llm_client):
        assert llm_client.generate("x", max_tokens=16).timing.output_tokens == 2

class TestOthers:
    def test_it(self, llm_client):
        assert llm_client.generate("x", max_tokens=16).timing.output_tokens == 3
"""


@pytest.mark.parametrize("order", [["TestShort", "TestOthers"], ["TestOthers", "TestShort"]], ids=" ".join)
def test_a_class_has_its_own_settings(pytester: pytest.Pytester, runs: Runs, order: list[str]) -> None:
    write(pytester.path, "conftest.py", ROOT)
    write(pytester.path, "test_it.py", CLASSES)
    result = pytester.runpytest_inprocess(SIMULATED, *(f"test_it.py::{name}" for name in order))
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("order", [["test_root.py", "sub"], ["sub", "test_root.py"]], ids=" ".join)
def test_settings_made_of_a_fixture_that_a_folder_overrides(
    pytester: pytest.Pytester, runs: Runs, order: list[str]
) -> None:
    write(
        pytester.path,
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def length():
            return 3

        @pytest.fixture(scope="session")
        def llm_engine_args(length):
            return {"output_tokens": length, "ttft": "1 ms", "tpot": "1 ms"}
        """,
    )
    write(pytester.path, "test_root.py", asks(3))
    write(pytester.path / "sub", "conftest.py", SUB.replace("llm_engine_args(llm_engine_args)", "length()"))
    conftest = (pytester.path / "sub" / "conftest.py").read_text(encoding="utf-8")
    write(pytester.path / "sub", "conftest.py", conftest.replace('{**llm_engine_args, "output_tokens": 5}', "5"))
    write(pytester.path / "sub", "test_sub.py", asks(5))
    pytester.runpytest_inprocess(SIMULATED, *order).assert_outcomes(passed=2)


@pytest.mark.parametrize("order", [["test_root.py", "sub"], ["sub", "test_root.py"]], ids=" ".join)
def test_a_folder_may_override_the_engine_itself(pytester: pytest.Pytester, runs: Runs, order: list[str]) -> None:
    write(pytester.path, "conftest.py", ROOT)
    write(pytester.path, "test_root.py", asks(3))
    write(
        pytester.path / "sub",
        "conftest.py",
        """
        import pytest

        @pytest.fixture(scope="session")
        def llm_engine(llm_engine_factory):
            return llm_engine_factory("simulated", args={"output_tokens": 5, "ttft": "1 ms", "tpot": "1 ms"})
        """,
    )
    # The address, and what an app makes of it, are of session scope and stand above.
    with (pytester.path / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(APP)
    write(pytester.path / "sub", "test_sub.py", asks(5))
    pytester.runpytest_inprocess(SIMULATED, *order).assert_outcomes(passed=2)


TEST_CASE = """
import unittest
import pytest

@pytest.mark.usefixtures("llm_engine")
class TestCase(unittest.TestCase):
    def test_it(self):
        pass
"""


def test_tests_that_cannot_have_an_engine_of_their_own_are_errors_that_name_both_settings(
    pytester: pytest.Pytester, runs: Runs
) -> None:
    write(pytester.path, "conftest.py", ROOT)
    write(pytester.path, "test_root.py", asks(3))
    write(pytester.path / "sub", "conftest.py", SUB)
    write(pytester.path / "sub", "test_case.py", TEST_CASE)
    result = pytester.runpytest_inprocess(SIMULATED, "test_root.py", "sub")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["FAILED *EngineUnavailable: llm_engine runs with llm_engine_args={'output_tokens': 3,*: 5,*"]
    )


ASKS_WHILE_IT_RUNS = """
import pytest

@pytest.fixture
def client(request):
    return request.getfixturevalue("llm_client")

def test_asks(client):
    assert client.generate("x", max_tokens=16).timing.output_tokens == NUMBER
"""


@pytest.mark.parametrize("order", [["test_root.py", "sub", "test_root2.py"], ["sub", "test_root.py"]], ids=" ".join)
def test_an_engine_that_is_asked_for_by_getfixturevalue_is_never_that_of_another_place(
    pytester: pytest.Pytester, runs: Runs, order: list[str]
) -> None:
    write(pytester.path, "conftest.py", ROOT)
    for name in ("test_root.py", "test_root2.py"):
        write(pytester.path, name, ASKS_WHILE_IT_RUNS.replace("NUMBER", "3"))
    write(pytester.path / "sub", "conftest.py", SUB)
    write(pytester.path / "sub", "test_sub.py", ASKS_WHILE_IT_RUNS.replace("NUMBER", "5"))
    result = pytester.runpytest_inprocess(SIMULATED, *order)
    result.assert_outcomes(passed=len(order) - 1, errors=1)
    result.stdout.fnmatch_lines(["ERROR *EngineUnavailable: llm_engine runs with llm_engine_args of *, and this test*"])


def test_one_of_several_engines_is_not_asked_for_by_getfixturevalue(pytester: pytest.Pytester, runs: Runs) -> None:
    write(pytester.path, "test_it.py", ASKS_WHILE_IT_RUNS.replace("NUMBER", "16"))
    result = pytester.runpytest_inprocess("--llm-engine=simulated:one", "--llm-engine=simulated:two")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ERROR *EngineUnavailable: this test would run on one of the several engines only, *"])
