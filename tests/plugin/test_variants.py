"""Variants of one engine in one run: told apart in ids of tests, options, budgets, readings and reports."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pytest_llmperf.reports.report_file import read_report
from tests.conftest import SIMULATED
from tests.helpers.simulated_process import serving

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.conftest import Runs

SOURCE = """
@pytest.fixture(scope="session")
def llm_engine_args():
    return {"tpot": "1 ms", "ttft": "1 ms", "new:ttft": "200 ms", "simulated:output_tokens": 3, "old:output_tokens": 4}

@pytest.mark.latency_budget(ttft_max="30 s", engine="old")
@pytest.mark.latency_budget(ttft_max="40 s", engine="n*")
@pytest.mark.memory_budget(peak="2 GiB", engine="simulated")
def test_both(llm_client, llm_engine, llm_perf):
    llm_client.generate("x", max_tokens=9)
    title = llm_engine.title
    assert llm_perf.read("latency.ttft_max", engine=title).value == llm_perf.read("latency.ttft_max").value
    assert llm_perf.read("latency.ttft_max").value >= {"old": 0.001, "new": 0.2}[title]
    assert llm_engine.spec.args["ttft"] == {"old": "1 ms", "new": "200 ms"}[title]
    assert llm_engine.spec.args["output_tokens"] == {"old": "4", "new": "3"}[title]

@pytest.mark.llm_engines("new", "vllm")
def test_new_only(llm_client):
    llm_client.generate("x", max_tokens=2)
"""
VARIANTS = ("--llm-engine=old=simulated", "--llm-engine=new=simulated:/models/m.gguf")


def test_each_variant_has_its_settings_its_budgets_and_its_rows(runs: Runs, pytester: pytest.Pytester) -> None:
    (pytester.path / "llmperf.toml").write_text(
        '[[budget]]\ntests = "*test_both*"\nengine = "new"\nthroughput.output = "1 tok/s"\n', encoding="utf-8"
    )
    reports = ("--llmperf-report=out.json", "--llmperf-report=out.md", "--junitxml=out.xml")
    result = runs.plain(SOURCE, *VARIANTS, "--llmperf-strict", "-v", *reports)
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "llmperf: engine old=simulated (simulated), new=simulated (/models/m.gguf); *",
            "llmperf: old: simulated ready after *",
            "llmperf: new: warmed up by one request in *",
            "test_it.py::test_both[[]old[]] PASSED*",
            "test_it.py::test_both[[]new[]] PASSED*",
            "test_it.py::test_new_only[[]old[]] SKIPPED (runs on new, vllm only, not on old)*",
            "engine warm-up: old *, new *",
            "old: simulated 1 simulated",
            "new: simulated 1 /models/m.gguf",
            "test_it.py::test_both",
            "  throughput.output * tok/s * tok/s [×!]*",
            "not shown: 1 test that not all of these engines ran",
            "budgets: 5 PASS",
        ]
    )
    tests = read_report(pytester.path / "out.json")["tests"]
    found = {test["nodeid"].rpartition("::")[2]: test["measurement"] for test in tests}
    assert [test["engine"] for test in tests] == ["old", "new", "new"]
    assert {name: one["engine"]["label"] for name, one in found.items()} == {
        "test_both[old]": "old",
        "test_both[new]": "new",
        "test_new_only[new]": "new",
    }
    markdown = (pytester.path / "out.md").read_text(encoding="utf-8")
    assert "Engine: old: simulated 1, simulated" in markdown
    assert "| test | metric | old | new |" in markdown
    cases = {case.get("name"): case for case in ElementTree.parse(pytester.path / "out.xml").iter("testcase")}
    properties = cases["test_both[new]"].iterfind("properties/property")
    assert ("llmperf.label", "new") in [(one.get("name"), one.get("value")) for one in properties]


ATTACHED = """
@pytest.mark.latency_budget(ttft_max="10 s")
def test_two_servers(llm_client, llm_engine):
    assert llm_client.generate("Once upon a time there was a lighthouse", max_tokens=2).text
"""


def test_two_servers_of_one_engine_stand_side_by_side(runs: Runs, pytester: pytest.Pytester, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    labels = [f"--llm-engine={label}=openai" for label in ("old", "new", "again")]
    with (
        serving(tmp_path / "old", model="small", states_cached="false") as old,
        serving(tmp_path / "new", model="large") as new,
    ):
        urls = [f"--llmperf-url=http://127.0.0.1:{old.port}", f"--llmperf-url=new:http://127.0.0.1:{new.port}"]
        result = runs.plain(ATTACHED, *labels, *urls, "--llmperf-strict", "--llmperf-report=out.json")
    # Two labels may be one server. What it has seen by the one is in its cache for the other.
    result.assert_outcomes(passed=2, failed=1)
    why = "latency.ttft_max INVALID: 1 prompt was sent before *"
    result.stdout.fnmatch_lines([f"FAILED *test_two_servers[[]again[]] - NoVerdict: {why}"])
    tests = read_report(pytester.path / "out.json")["tests"]
    engines = [test["measurement"]["engine"] for test in tests]
    assert {one["label"]: one["model"] for one in engines} == {"old": "small", "new": "large", "again": "small"}


def test_a_label_of_the_file_is_known_to_a_run_without_it(runs: Runs, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nllm_engine =\n    old=simulated\n    new=simulated\n")
    source = """
    @pytest.mark.memory_budget(peak="1 KiB", engine="old")
    @pytest.mark.memory_budget(peak="2 GiB")
    def test_budgets(llm_client):
        llm_client.generate("x", max_tokens=2)

    @pytest.mark.llm_engines("old")
    def test_old(llm_client):
        raise NotImplementedError
    """
    runs.plain(source, SIMULATED, "--llmperf-strict").assert_outcomes(passed=1, skipped=1)
