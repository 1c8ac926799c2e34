"""``--llmperf-against``: each test with budgets runs on two engines by turns, and the ratio is judged."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.reports.json_report import read_schema
from pytest_llmperf.reports.report_file import read_report

if TYPE_CHECKING:
    from tests.conftest import Runs

PAIR = ("--llm-engine=new=simulated", "--llm-engine=old=simulated", "--llmperf-against=old")
SETTINGS = (
    *("new:tpot=9 ms", "old:tpot=2 ms", "ttft=1 ms"),
    *("memory=24 MiB", "new:model=fresh", "old:model=aged"),
)
ARGUMENTS = [f"--llmperf-engine-arg={text}" for text in SETTINGS]
SUITE = """
import json
import unittest
import urllib.request

from pytest_llmperf import latency_budget, llm_engines, memory_budget, throughput_budget

seen = {}

def note(request, model):
    seen.setdefault(request.node.name, []).append(model)

def ask(url, model):
    body = json.dumps({"model": model, "prompt": "hello", "max_tokens": 2, "stream": True}).encode()
    call = urllib.request.Request(f"{url}/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(call) as answer:
        return json.loads(answer.read().splitlines()[0].removeprefix(b"data: "))["model"]

@throughput_budget(output=("1 tok/s", "-20 %"))
@memory_budget(peak="1 KiB")
@latency_budget(e2e_p95="1 s")
def test_slower(llm_client, request):
    note(request, llm_client.model)
    assert llm_client.generate("hello", max_tokens=6).text

@memory_budget(peak="+20 %")
def test_app(llm_base_url, llm_client, request):
    note(request, ask(llm_base_url, llm_client.model))

class TestHolder:
    @pytest.fixture(autouse=True)
    def hold(self, llm_engine):
        self.engine = llm_engine

    @memory_budget(peak="+20 %")
    def test_engine(self, llm_engine, llm_client_factory, request):
        assert self.engine is llm_engine
        note(request, llm_engine.model)
        llm_client_factory(self.engine).generate("hello", max_tokens=1)

@pytest.fixture(scope="session")
def address(llm_engine):
    return llm_engine.base_url

@memory_budget(peak="+20 %")
def test_fixed_address(address, llm_client):
    ask(address, "fresh")

@memory_budget(peak="+20 %")
def test_client_of_one_engine(llm_client, llm_client_factory, request):
    request.session.kept = getattr(request.session, "kept", None) or request.getfixturevalue("llm_engine")
    llm_client_factory(request.session.kept).generate("hello", max_tokens=1)

@memory_budget(peak="+20 %")
def test_by_name(request):
    request.getfixturevalue("llm_client").generate("hello", max_tokens=1)

class Case(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def give(self, llm_client):
        self.client = llm_client

    @memory_budget(peak="+20 %")
    def test_case(self):
        self.client.generate("hello", max_tokens=1)

@latency_budget(startup="+10 %")
def test_start(llm_client):
    llm_client.generate("hello", max_tokens=1)

@memory_budget(peak="+20 %")
@llm_engines("new")
def test_of_one(llm_client):
    llm_client.generate("hello", max_tokens=1)

@memory_budget(peak="+20 %")
def test_broken(llm_client, request):
    note(request, llm_client.model)
    llm_client.generate("hello", max_tokens=1)
    assert llm_client.model == "fresh"

def test_without_budgets(llm_client, request):
    note(request, llm_client.model)
    llm_client.generate("hello", max_tokens=1)

def test_what_ran():
    for name in ("test_slower", "test_app", "test_engine"):
        models = seen[name]
        assert models.count("fresh") == models.count("aged") >= 3, (name, models)
        assert all(set(models[at : at + 2]) == {"fresh", "aged"} for at in range(0, len(models), 2))
    assert seen["test_without_budgets"] == ["fresh"]
"""


@pytest.fixture(scope="module")
def _run(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {}


@pytest.fixture
def suite(runs: Runs, pytester: pytest.Pytester, _run: dict[str, Any]) -> dict[str, Any]:
    """The output of a run of the whole suite and its tests in the JSON report by name; all tests share one run."""
    if not _run:
        reports = ("--llmperf-report=out.json", "--llmperf-report=out.md", "--junitxml=out.xml")
        result = runs.plain(SUITE, *PAIR, *ARGUMENTS, "--llmperf-seed=7", *reports, "-ra")
        report, _run["md"], _run["xml"] = (
            (pytester.path / f"out.{suffix}").read_text(encoding="utf-8") for suffix in ("json", "md", "xml")
        )
        _run["report"] = json.loads(report)
        _run["text"] = result.stdout.str()
        _run["outcomes"] = result.parseoutcomes()
        _run["tests"] = {test["nodeid"].rpartition("::")[2]: test for test in read_report(report)["tests"]}
    return _run


def verdicts(suite: dict[str, Any], test: str) -> dict[str, Any]:
    return {verdict["name"]: verdict for verdict in suite["tests"][test]["verdicts"]}


def test_the_ratio_is_judged_with_the_tolerance_of_its_relative_limit(suite: dict[str, Any]) -> None:
    found = verdicts(suite, "test_slower")
    rate, peak, e2e = (found[name] for name in ("throughput.output", "memory.peak", "latency.e2e_p95"))
    assert (rate["status"], rate["limit_text"]) == ("FAIL", "-20 %")
    assert rate["measured"] < rate["baseline"] / 1.5
    assert (peak["status"], peak["limit_text"]) == ("PASS", "+10 %")
    assert (e2e["status"], e2e["reason"]) == ("NOT MEASURED", "p95 needs 130 requests, 24 pairs gave 24")
    assert suite["outcomes"]["failed"] == 2
    figures = r"new [\d.]+ tok/s, old [\d.]+ tok/s, -\d+\.\d % \(-[\d.]+ to -[\d.]+\), \d+ pairs"
    assert re.search(rf"A/B \S*test_slower throughput.output: {figures}: FAIL \(limit -20 %\)", joined(suite["text"]))


def joined(text: str) -> str:
    return " ".join(text.split())


def test_the_same_bodies_run_on_both_engines_and_on_the_other_next(suite: dict[str, Any]) -> None:
    """Inside, the suite compares what answered its client, its app and the engine that a test holds."""
    assert "FAILED test_it.py::test_what_ran" not in suite["text"]
    for name in ("test_app", "test_engine"):
        assert [one["status"] for one in suite["tests"][name]["verdicts"]] == ["PASS"]


def test_the_report_has_each_pair_and_whose_turn_was_first(suite: dict[str, Any]) -> None:
    pairs = suite["tests"]["test_app"]["pairs"]
    assert (pairs["new"], pairs["old"], pairs["seed"], pairs["swapped"]) == ("new", "old", 7, False)
    assert len(pairs["values"]["memory.peak"]) == len(pairs["first"]) == 3
    assert set(pairs["first"]) == {"new", "old"}
    assert all(pair["new"] > 2**20 < pair["old"] and not pair["reason"] for pair in pairs["values"]["memory.peak"])
    assert suite["tests"]["test_without_budgets"].get("pairs") is None


def test_the_reports_for_people_and_machines_tell_the_change(suite: dict[str, Any]) -> None:
    pytest.importorskip("jsonschema").Draft202012Validator(read_schema()).validate(suite["report"])
    assert re.search(r"- A/B test\\_it.py::test\\_app memory.peak: new [\d.]+ MiB, old [\d.]+ MiB, ", suite["md"])
    properties = dict(re.findall(r'<property name="([^"]+)" value="([^"]*)"', suite["xml"]))
    assert properties["llmperf.against"] == "old"
    assert properties["llmperf.memory.peak.change.evidence"] == "3 pairs"


@pytest.mark.parametrize(
    ("test", "status", "reason"),
    [
        ("test_fixed_address", "INVALID", "no request of the test reached"),
        ("test_client_of_one_engine", "INVALID", "in the turn of old 1 request went to another engine"),
        ("test_by_name", "NOT MEASURED", "it does not name llm_client or llm_engine among its arguments"),
        ("test_case", "NOT MEASURED", "a unittest.TestCase is set up for one call"),
        ("test_start", "NOT MEASURED", "it is known from one start of each engine"),
        ("test_of_one", "NOT MEASURED", "it runs on new only, not on old"),
    ],
)
def test_what_cannot_be_compared_says_why(suite: dict[str, Any], test: str, status: str, reason: str) -> None:
    (verdict,) = suite["tests"][test]["verdicts"]
    assert verdict["status"] == status
    assert reason in verdict["reason"]
    assert f"{verdict['name']} {status}: " in joined(suite["text"])


def test_a_test_that_fails_by_itself_says_on_which_engine(suite: dict[str, Any]) -> None:
    assert "llmperf: the test ran on old, in pair 1" in suite["text"]
    assert suite["tests"]["test_broken"]["outcome"] == "failed"


def test_the_cost_is_said_before_the_first_pair(suite: dict[str, Any]) -> None:
    text = joined(suite["text"])
    assert "A/B of new against old: 3 to 24 pairs of turns of each test with budgets" in text
    assert "A/B of new against old: 3 to 24 pairs of turns of 10 tests; both engines are loaded" in text
    assert "--llmperf-seed=7 gives the same order" in text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (PAIR[1:], "--llmperf-against=old compares one engine with another: give --llm-engine=LABEL=ENGINE twice"),
        ([*PAIR, "--llm-engine=simulated"], "this run has new, old, simulated"),
        ([*PAIR, "--llmperf-against=older"], "--llmperf-against=older is no label of an engine of this run"),
        ([*PAIR, "--llmperf-rounds=3"], "--llmperf-rounds=3 has no effect with --llmperf-against"),
        ([*PAIR, "--llmperf-compare=main"], "--llmperf-compare=main has no effect with --llmperf-against"),
        ([*PAIR, "--llmperf-save"], "--llmperf-save has no effect with --llmperf-against"),
        (["--llm-engine=simulated", "--llmperf-seed=3"], "--llmperf-seed=3 has no effect without --llmperf-against"),
        ([*PAIR, "--llmperf-seed=-1"], "--llmperf-seed=-1 must be 0 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(runs: Runs, options: list[str], problem: str) -> None:
    result = runs.plain("def test_one(llm_client): ...", *options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert problem in result.stderr.str()


def test_workers_share_both_engines(runs: Runs, pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    source = """
    from pytest_llmperf import memory_budget

    @pytest.mark.parametrize("number", [1, 2])
    @memory_budget(peak="+30 %")
    def test_one(llm_client, number):
        llm_client.generate("hello", max_tokens=1)
    """
    result = runs.plain(source, *PAIR, *ARGUMENTS, "-n2", "--llmperf-report=out.json")
    result.assert_outcomes(passed=2)
    tests = read_report(pytester.path / "out.json")["tests"]
    assert [[verdict["status"] for verdict in test["verdicts"]] for test in tests] == [["PASS"], ["PASS"]]
    assert len({test["pairs"]["seed"] for test in tests}) == 1
