"""``--llmperf-report=out.html`` tells what decided the run, and how to run each test again."""

from __future__ import annotations

import re
import shlex
from html import unescape
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Runs

SUITE = """
@pytest.mark.memory_budget(peak="1 MiB")
@pytest.mark.parametrize("words", ["it's", "a b"])
def test_over(llm_client, words):
    llm_client.generate(words, max_tokens=2)

@pytest.mark.latency_budget(ttft_p99="1 s")
def test_few(llm_client):
    llm_client.generate("x", max_tokens=2)

def test_wrong(llm_client):
    llm_client.generate("x", max_tokens=2)
    assert False, "<b>not</b> so"

@pytest.fixture
def database():
    raise RuntimeError("no database")

def test_prepared(llm_client, database):
    pass
"""


def read_page(pytester: pytest.Pytester) -> str:
    return (pytester.path / "out.html").read_text(encoding="utf-8")


def list_causes(page: str) -> list[tuple[str, str, str]]:
    """State, test and reason of each row of the table of what failed the run."""
    table = page.partition("What failed the run")[2].partition("</table>")[0].replace("<wbr>", "")
    rows = re.findall(r"<b class=\"\w+\">([^<]+)</b><th scope=\"row\">(?:<a [^>]+>)?([^<]+).*?<td>([^<]*)\n", table)
    return [(unescape(state), unescape(test).strip(), unescape(reason)) for state, test, reason in rows]


@pytest.mark.parametrize("options", [(), ("-n2", "-p", "no:terminal")], ids=["", "in workers"])
def test_the_page_tells_each_cause_and_the_command_of_each_test(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    runs(SUITE, "--llmperf-report=out.html", "--llmperf-strict", *options)
    page = read_page(pytester)
    causes = "2 of 3 budgets broken, 1 budget without a verdict, 1 test failed without a budget, 1 error in setup"
    assert f'<h1 class="fail">Failed: {causes}' in page
    states = [(state, test.partition("::")[2]) for state, test, _ in list_causes(page)]
    assert states[2:4] in (
        [("TEST FAILED", "test_wrong"), ("TEST FAILED", "test_prepared")],
        [("TEST FAILED", "test_prepared"), ("TEST FAILED", "test_wrong")],
    )
    assert sorted(states[:2]) == [("FAIL", "test_over[a b]"), ("FAIL", "test_over[it's]")]
    assert states[4] == ("NOT MEASURED", "test_few")
    reasons = {test: reason for _, test, reason in list_causes(page)}
    assert reasons["test_it.py::test_prepared"] == "in setup: RuntimeError: no database"
    assert reasons["test_it.py::test_wrong"].startswith("AssertionError: <b>not</b> so")
    commands = [shlex.split(unescape(text)) for text in re.findall(r"<pre><code>(.*?)</code></pre>", page)]
    assert {words[-1] for words in commands} == {
        *("test_it.py::test_over[it's]", "test_it.py::test_over[a b]", "test_it.py::test_few", "test_it.py::test_wrong")
    }
    assert all(words[0].startswith("PYTEST_ADDOPTS=") and words[1] == "pytest" for words in commands)
    assert all("--llmperf-report=out.html" not in words for words in commands)


def test_the_command_of_a_test_runs_that_test_alone_from_where_the_run_was_started(
    runs: Runs, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytester.makeini("[pytest]\n")
    runs.write(SUITE)
    folder = pytester.mkdir("started here")
    monkeypatch.chdir(folder)
    chosen = ("-k", "over", "--llmperf-report=out.html", "../test_it.py", "--llm-engine", "simulated")
    pytester.runpytest_inprocess(*chosen).assert_outcomes(failed=2, deselected=3)
    page = (folder / "out.html").read_text(encoding="utf-8")
    [command] = re.findall(r"<pre><code>(.*it&#39;.*)</code></pre>", page)
    again = pytester.runpytest_inprocess(*shlex.split(unescape(command))[2:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["FAILED *test_over[[]it's[]] - BudgetExceeded: memory.peak *"])
