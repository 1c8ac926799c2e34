"""``quality_budget`` compares engines once a test is over, and limits what the test records of its own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf import read_report

if TYPE_CHECKING:
    import pytest

    from tests.conftest import Runs

TWO = ("--llm-engine=q8=simulated", "--llm-engine=q4=simulated", "--llmperf-engine-arg=q4:logit_sd=0.2")

SUITE = """
    import pytest

    @pytest.mark.quality_budget(agreement="60 %", kl="0.05 nat", against="q8")
    @pytest.mark.latency_budget(e2e_max="1 min")
    def test_near(llm_client, llm_perf):
        llm_client.generate("Hi", max_tokens=2)
        assert len(llm_perf.measurement.requests) == 1

    @pytest.mark.quality_budget(kl="0.001 nat", against="q8", engine="q4")
    def test_far(llm_engine):
        pass

    @pytest.mark.quality_budget(kl="1 nat", against="elsewhere", engine="q4")
    def test_nowhere(llm_engine):
        pass

    @pytest.fixture
    def recorder(llm_perf):
        with pytest.raises(ValueError, match="by the test itself, not by a fixture"):
            llm_perf.quality("accuracy", 0.1)
        yield
        with pytest.raises(ValueError, match="by the test itself, not by a fixture"):
            llm_perf.quality("accuracy", 0.1)

    @pytest.mark.quality_budget(accuracy="0.8", wer="<= 0.2", engine="q4")
    def test_own(llm_engine, llm_perf, recorder):
        llm_perf.quality("accuracy", 0.83)
        llm_perf.quality("wer", 0.3, better="lower")
        with pytest.raises(ValueError, match="has recorded accuracy already"):
            llm_perf.quality("accuracy", 0.84)
"""


def test_two_engines_are_compared_and_an_engine_with_itself_is_the_same(runs: Runs, pytester: pytest.Pytester) -> None:
    runs.plain(SUITE, *TWO, *runs.arguments(), "--llmperf-report=out.json")
    tests = read_report(pytester.path / "out.json")["tests"]
    verdicts = {
        (test["nodeid"].partition("::")[2], one["name"]): (one["status"], one["measured"], one.get("reason", ""))
        for test in tests
        for one in test["verdicts"]
        if one["name"]
    }
    assert verdicts["test_near[q8]", "quality.agreement"][:2] == ("PASS", 1)
    assert verdicts["test_near[q8]", "quality.kl"][:2] == ("PASS", 0)
    status, agreement, _ = verdicts["test_near[q4]", "quality.agreement"]
    assert (status, agreement < 1) == ("PASS", True)
    assert verdicts["test_far[q4]", "quality.kl"][0] == "FAIL"
    status, _, reason = verdicts["test_nowhere[q4]", "quality.kl"]
    assert status == "NOT MEASURED"
    assert "against='elsewhere' is neither an engine of this run nor a file" in reason
    assert verdicts["test_own[q4]", "quality.accuracy"][:2] == ("PASS", 0.83)
    assert verdicts["test_own[q4]", "quality.wer"][:2] == ("FAIL", 0.3)
    near = next(test["measurement"] for test in tests if test["nodeid"].endswith("test_near[q4]"))
    assert near["quality"]["reference"] == "q8"
    assert near["quality"]["positions"] == 96
    assert near["requests"]["total"] == 1
    assert "next_tokens" not in near


ONE = """
    import pytest

    @pytest.mark.quality_budget(kl="0.001 nat", agreement="99 %", text="mine.txt"{against})
    def test_one(llm_client):
        llm_client.generate("Hi", max_tokens=2)
"""


def write_text(pytester: pytest.Pytester) -> None:
    (pytester.path / "mine.txt").write_text(" ".join(f"word{n}" for n in range(400)), encoding="utf-8")


def test_a_reference_file_and_the_store_keep_next_tokens_for_later_runs(runs: Runs, pytester: pytest.Pytester) -> None:
    write_text(pytester)
    stored, file = ONE.format(against=""), ONE.format(against=', against="ref.json"')
    first = runs(stored, "--llmperf-save", "--llmperf-save-reference=ref.json", "--llmperf-strict")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["budgets: 2 NO BASELINE", "stored as main: *", "reference of simulated: *ref.json"])
    same = runs(stored, "--llmperf-strict")
    same.assert_outcomes(passed=1)
    same.stdout.fnmatch_lines(["budgets: 2 PASS"])
    changed = ("--llmperf-engine-arg=logit_sd=0.3", "--llmperf-engine-arg=seed=7")
    worse = runs(file, *changed)
    worse.assert_outcomes(failed=1)
    worse.stdout.fnmatch_lines(["budgets: *2 FAIL"])
    other = runs(file, "--llmperf-engine-arg=tokenizer=letters", "--llmperf-strict")
    other.assert_outcomes(failed=1)
    other.stdout.fnmatch_lines(["budgets: 2 NOT MEASURED"])
    assert "the tokenizers differ" in other.stdout.str()
