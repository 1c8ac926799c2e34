"""Quality: readings, what they are evidence of, and scores under names of the test's own."""

from __future__ import annotations

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.limit import Limit, parse_limits
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.quality.comparison import NoComparison, QualityComparison, Score
from pytest_llmperf.measurement.window import Window
from pytest_llmperf.metrics.table import list_metrics, read

WINDOW = Window(0, 1)


def compared(agreeing: tuple[int, ...], divergence: float = 0.01, *, same: bool = False) -> Measurement:
    passages = len(agreeing)
    spread = tuple(divergence * 3 * (1.2 if n % 2 else 0.8) for n in range(passages))
    found = QualityComparison("q8", "the text", agreeing, spread, (3,) * passages, (3,) * passages, same, "ids")
    return Measurement(WINDOW, quality=found)


def limit(**arguments: object) -> list[Limit]:
    return parse_limits("quality", arguments, "test")


def judge_one(measurement: Measurement, **arguments: object) -> Verdict:
    (verdict,) = judge(limit(**arguments), measurement)
    return verdict


def test_agreement_and_divergence_are_means_over_all_positions() -> None:
    found = compared((3,) * 30 + (0, 0))
    assert read("quality.agreement", found).value == 90 / 96
    assert read("quality.kl", found).value == pytest.approx(0.01)
    assert "against q8: 96 positions in 32 passages of the text" in read("quality.kl", found).how


@pytest.mark.parametrize(
    ("agreement", "status"), [("70 %", Status.PASS), ("90 %", Status.INCONCLUSIVE), ("99 %", Status.FAIL)]
)
def test_agreement_is_judged_by_its_interval_over_passages(agreement: str, status: Status) -> None:
    verdict = judge_one(compared((3,) * 24 + (2, 1) * 4), agreement=agreement)
    assert verdict.status is status
    assert verdict.interval is not None
    assert verdict.interval.unit == "passage"
    assert (verdict.interval.low or 0) < (verdict.measured or 0) < (verdict.interval.high or 0)


@pytest.mark.parametrize(
    ("kl", "status"), [("0.02 nat", Status.PASS), ("0.0101 nat", Status.INCONCLUSIVE), ("0.005 nats", Status.FAIL)]
)
def test_divergence_is_judged_by_its_interval_over_passages(kl: str, status: Status) -> None:
    verdict = judge_one(compared((3,) * 32), kl=kl)
    assert verdict.status is status
    if status is Status.INCONCLUSIVE:
        assert "with 32 passages" in verdict.reason


def test_the_same_probabilities_at_every_position_are_no_matter_of_chance() -> None:
    found = compared((3,) * 32, 0.0, same=True)
    for arguments in ({"agreement": "100 %"}, {"kl": "0 nat"}):
        verdict = judge_one(found, **arguments)
        assert (verdict.status, verdict.interval) == (Status.PASS, None)
    assert judge_one(compared((3,) * 32), agreement="100 %").status is Status.INCONCLUSIVE


def test_a_limit_of_100_percent_fails_by_one_position() -> None:
    assert judge_one(compared((3,) * 31 + (2,)), agreement="100 %").status is Status.FAIL


def test_without_a_comparison_there_is_the_reason_and_without_a_baseline_no_baseline() -> None:
    why = Measurement(WINDOW, quality=NoComparison("the tokenizers differ"))
    verdict = judge_one(why, kl="0.1 nat")
    assert (verdict.status, verdict.reason) == (Status.NOT_MEASURED, "the tokenizers differ")
    first = Measurement(WINDOW, quality=NoComparison("nothing is stored", is_baseline=True))
    verdict = judge_one(first, kl="0.1 nat")
    assert (verdict.status, verdict.reason, verdict.limit) == (Status.NO_BASELINE, "nothing is stored", 0.1)
    assert judge_one(Measurement(WINDOW), kl="0.1 nat").status is Status.NOT_MEASURED


# --------------------------------------------------------------------------------------------------------- scores


def recorded(*scores: Score) -> Measurement:
    return Measurement(WINDOW, scores=scores)


@pytest.mark.parametrize(
    ("written", "value", "status"),
    [
        ("0.8", 0.83, Status.PASS),
        ("0.8", 0.8, Status.PASS),
        (">= 0.8", 0.79, Status.FAIL),
        ("80 %", 0.79, Status.FAIL),
    ],
)
def test_a_score_has_a_lower_limit(written: str, value: float, status: Status) -> None:
    assert judge_one(recorded(Score("accuracy", value)), accuracy=written).status is status


@pytest.mark.parametrize(("value", "status"), [(0.1, Status.PASS), (0.2, Status.PASS), (0.3, Status.FAIL)])
def test_an_upper_limit_is_written_with_its_sign(value: float, status: Status) -> None:
    assert judge_one(recorded(Score("wer", value, "lower")), wer="<= 0.2").status is status


def test_a_limit_in_the_wrong_direction_is_not_judged() -> None:
    verdict = judge_one(recorded(Score("wer", 0.1, "lower")), wer="0.2")
    assert verdict.status is Status.NOT_MEASURED
    assert verdict.reason == "the test says that lower is better: write the limit as '<= VALUE'"


def test_a_score_that_was_not_recorded_is_not_measured() -> None:
    verdict = judge_one(recorded(Score("f1", 0.9)), accuracy="0.8")
    assert verdict.status is Status.NOT_MEASURED
    assert 'did not record it with llm_perf.quality("accuracy", value); it recorded f1' in verdict.reason


def test_a_share_of_stated_answers_has_an_interval() -> None:
    verdict = judge_one(recorded(Score("accuracy", 0.83, samples=100)), accuracy="0.8")
    assert verdict.status is Status.INCONCLUSIVE
    assert "with 100 answers" in verdict.reason
    assert judge_one(recorded(Score("accuracy", 0.83, samples=10_000)), accuracy="0.8").status is Status.PASS


def test_rounds_are_averaged_and_are_evidence() -> None:
    rounds = [Score("accuracy", value, round=n) for n, value in enumerate((0.82, 0.84, 0.83, 0.83), 1)]
    verdict = judge_one(recorded(*rounds), accuracy="0.7")
    assert verdict.status is Status.PASS
    assert verdict.measured == pytest.approx(0.83)
    assert verdict.interval is not None
    assert verdict.interval.unit == "round"


def test_a_report_has_the_metrics_of_the_scores_of_its_test() -> None:
    names = {metric.name: metric.better for metric in list_metrics(recorded(Score("wer", 0.1, "lower")))}
    assert names["quality.wer"] == "lower"
    assert "quality.kl" not in names
    assert "quality.kl" in {metric.name for metric in list_metrics(compared((3,) * 8))}
