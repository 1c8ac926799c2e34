"""Prompt tokens from caches and accepted drafts: of the judged requests where each says it, else as the engine says."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.reading import Reading
from pytest_llmperf.metrics.table import read
from tests.helpers.streams import limits, measured, stream, whole

RATE, LENGTH, HITS = "throughput.acceptance_rate", "throughput.acceptance_length", "throughput.prefix_hit_rate"
STATED = {name: Reading(value, "as the engine counts") for name, value in ((RATE, 0.5), (LENGTH, 2.5), (HITS, 0.25))}
CACHED = (
    stream(10, output_tokens=1, prompt_tokens=100, cached_tokens=0),
    whole(20, 30, output_tokens=1, prompt_tokens=300, cached_tokens=256),
)
SILENT = stream(40, output_tokens=1, prompt_tokens=100)
DRAFTED = (
    stream(10, output_tokens=9, drafted_tokens=8, accepted_tokens=6),
    stream(20, output_tokens=9, drafted_tokens=0, accepted_tokens=0),
)


def test_the_hit_rate_is_of_prompt_tokens_and_not_of_requests() -> None:
    found = read(HITS, measured(*CACHED, engine_readings=STATED))
    assert (found.value, found.samples) == (0.64, 2)


def test_the_hit_rate_is_the_engines_where_one_answer_says_nothing() -> None:
    assert read(HITS, measured(*CACHED, SILENT, engine_readings=STATED)).value == 0.25
    found = read(HITS, measured(*CACHED, SILENT))
    assert (found.value, found.reason[:45]) == (None, "neither the answers nor the server's counters")


@pytest.mark.parametrize("name", [HITS, RATE])
def test_requests_that_are_not_judged_or_failed_do_not_count(name: str) -> None:
    fields: dict[str, Any] = {"prompt_tokens": 10, "cached_tokens": 10, "drafted_tokens": 4, "accepted_tokens": 4}
    warmup = stream(1, phase="warmup", **fields)
    failed = stream(2, error="broken", **fields)
    kept = stream(3, **{**fields, "cached_tokens": 5, "accepted_tokens": 2})
    assert read(name, measured(warmup, failed, kept)).value == 0.5
    assert read(name, measured(failed)).reason == "no request was answered"


def test_the_acceptance_rate_is_of_all_draft_tokens() -> None:
    found = read(RATE, measured(*DRAFTED))
    assert (found.value, found.samples) == (0.75, 2)
    assert read(RATE, measured(*DRAFTED, engine_readings=STATED)).value == 0.5
    assert read(LENGTH, measured(*DRAFTED, engine_readings=STATED)).value == 2.5


def test_what_nothing_states_is_missing_with_its_reason() -> None:
    assert "was drafted during the test" in read(RATE, measured(DRAFTED[1])).reason
    assert "neither the answers nor" in read(RATE, measured(*DRAFTED, SILENT)).reason
    assert "how many drafts there were" in read(LENGTH, measured(*DRAFTED)).reason
    assert read(RATE, measured()).reason == "the test sent no request through llm_client"


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"acceptance_rate": "75 %"}, Status.PASS),
        ({"acceptance_rate": "76 %"}, Status.FAIL),
        ({"acceptance_length": "2 tok/step"}, Status.NOT_MEASURED),
        ({"prefix_hit_rate": "1 %"}, Status.NOT_MEASURED),
    ],
)
def test_counts_are_compared_as_they_are(given: dict[str, str], status: Status) -> None:
    (verdict,) = judge(limits("throughput", **given), measured(*DRAFTED))
    assert verdict.status is status
    assert verdict.interval is None


def test_more_than_all_is_no_limit() -> None:
    with pytest.raises(ValueError, match="'101 %' is more than all"):
        limits("throughput", acceptance_rate="101 %")
