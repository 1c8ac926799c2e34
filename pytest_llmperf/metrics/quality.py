"""Quality: how much an engine's next tokens differ from a reference, and the scores that a test records itself."""

from __future__ import annotations

from functools import lru_cache
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from pytest_llmperf.measurement.quality.comparison import NoComparison
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.measurement.units import SCORE
from pytest_llmperf.metrics.evidence import RateUnits, ShareUnits
from pytest_llmperf.metrics.metric import Metric, SampleSource, ScalarMetric

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.quality.comparison import QualityComparison, Score
    from pytest_llmperf.metrics.evidence import Evidence

_PASSAGE = "passage"


def read_agreement(measurement: Measurement, metric: Metric) -> Reading:
    """The share of positions at which the engine and its reference expect the same token first."""
    found = _find_comparison(measurement)
    return found if isinstance(found, Reading) else _make_reading(found.agreement, found, metric)


def read_divergence(measurement: Measurement, metric: Metric) -> Reading:
    """The mean Kullback-Leibler divergence of the engine from its reference, in nats."""
    found = _find_comparison(measurement)
    return found if isinstance(found, Reading) else _make_reading(found.mean_divergence, found, metric)


def find_agreement_evidence(measurement: Measurement) -> Evidence | None:
    """The passages; None if every probability is the same, which is no matter of chance."""
    found = measurement.quality
    if found is None or isinstance(found, NoComparison) or found.is_identical:
        return None
    return ShareUnits([float(one) for one in found.agreeing], [float(one) for one in found.positions], _PASSAGE)


def find_divergence_evidence(measurement: Measurement) -> Evidence | None:
    """As for the agreement."""
    found = measurement.quality
    if found is None or isinstance(found, NoComparison) or found.is_identical:
        return None
    return RateUnits(list(found.divergence), [float(one) for one in found.listed], _PASSAGE)


def _find_comparison(measurement: Measurement) -> QualityComparison | Reading:
    found = measurement.quality
    if found is None:
        return Reading.missing("nothing was compared: it takes a quality_budget with agreement or kl")
    if isinstance(found, NoComparison):
        return Reading(None, reason=found.reason, lacks_baseline=found.is_baseline)
    return found


def _make_reading(value: float, found: QualityComparison, metric: Metric) -> Reading:
    passages = f"{found.count} positions in {len(found.positions)} passages of {found.text_name}"
    same = ", every probability the same" if found.is_identical else ""
    counted = "" if found.matched_by == "ids" else "; the same tokenizer by its counts of tokens"
    how = f"{metric.formula}, against {found.reference}: {passages}{same}{counted}"
    return Reading(value, how, samples=found.count)


# --------------------------------------------------------------------------------------------------------- scores


@lru_cache(maxsize=256)
def make_score_metric(key: str, better: Literal["lower", "higher"] = "higher") -> ScalarMetric:
    """The metric of a score that tests record under a name of their own."""
    return ScalarMetric(
        name=f"quality.{key}",
        quantity=SCORE,
        better=better,
        formula="recorded by the test, the mean of its rounds",
        source=SampleSource.RECORDED,
        compute=_read_score,
        evidence=lambda measurement: _find_score_evidence(measurement, key),
    )


def _read_score(measurement: Measurement, metric: Metric) -> Reading:
    found = _list_scores(measurement, metric.key)
    if not found:
        recorded = ", ".join(dict.fromkeys(score.name for score in measurement.scores)) or "none"
        call = f'llm_perf.quality("{metric.key}", value)'
        return Reading.missing(f"the test did not record it with {call}; it recorded {recorded}")
    if found[0].better != metric.better:
        sign, other = ("<=", "lower") if found[0].better == "lower" else (">=", "higher")
        return Reading.missing(f"the test says that {other} is better: write the limit as '{sign} VALUE'")
    value = fmean(score.value for score in found)
    samples = sum(score.samples or 0 for score in found) or len(found)
    return Reading(value, f"{len(found)} rounds" if len(found) > 1 else "", samples=samples)


def _find_score_evidence(measurement: Measurement, key: str) -> Evidence | None:
    """The answers, where the test says of how many it is the share; else its rounds; None for a single value."""
    found = _list_scores(measurement, key)
    if found and all(score.samples for score in found):
        sizes = [float(score.samples or 0) for score in found]
        hits = [score.value * size for score, size in zip(found, sizes, strict=True)]
        return ShareUnits(hits, sizes, "answer", are_independent=True)
    if len(found) > 1:
        return RateUnits([score.value for score in found], [1.0] * len(found), "round")
    return None


def _list_scores(measurement: Measurement, key: str) -> list[Score]:
    return [score for score in measurement.scores if score.name == key]
