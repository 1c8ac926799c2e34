"""Calls of an app that come while no test is measured are counted and reported, and belong to none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

SOURCE = """
import json, urllib.request

def ask(url):
    body = json.dumps({"prompt": "x", "max_tokens": 2}).encode()
    urllib.request.urlopen(urllib.request.Request(url + "/completions", body)).read()

@pytest.fixture
def warmed_up(llm_client):
    ask(llm_client.base_url)
    yield
    ask(llm_client.base_url)

@pytest.fixture(scope="session", autouse=True)
def last_words(llm_base_url):
    yield
    ask(llm_base_url)

@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_app(warmed_up, llm_client, llm_perf, number):
    ask(llm_client.base_url)
    assert len(llm_perf.measurement.requests) == 1
"""


@pytest.mark.parametrize(("options", "outside"), [((), 9), (("-n2",), 10)], ids=["alone", "two workers"])
def test_calls_of_fixtures_belong_to_no_test(
    runs: Runs, pytester: pytest.Pytester, options: tuple[str, ...], outside: int
) -> None:
    if options:
        pytest.importorskip("xdist")
    result = runs(SOURCE, "--llmperf-report=out.json", *options)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines([f"{outside} calls of the app belong to no test: they came while none was measured"])
    report = read_report(pytester.path / "out.json")
    assert report["session"]["calls_outside_tests"] == outside
    assert [test["measurement"]["requests"]["total"] for test in report["tests"]] == [1, 1, 1, 1]


def test_without_a_relay_nothing_is_said_of_it(runs: Runs, pytester: pytest.Pytester) -> None:
    result = runs("def test_one(llm_client): llm_client.generate('x', max_tokens=1)", "--llmperf-report=out.json")
    result.assert_outcomes(passed=1)
    assert "calls of the app" not in result.stdout.str()
    assert (
        json.loads((pytester.path / "out.json").read_text(encoding="utf-8"))["session"]["calls_outside_tests"] is None
    )
