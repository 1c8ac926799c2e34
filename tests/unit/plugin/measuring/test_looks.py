"""What looks at a test decide, and how many it may take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_llmperf.budgets.interval import Confidence
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.plugin.measuring.looks import Allowance, Looks
from tests.helpers.streams import CPU, L4, limits, measured, stream

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement


def create(most: int = 30, seconds: float = 100.0, *, is_sequential: bool = True, **limit: str) -> Looks:
    looks = Looks(
        limits("latency", **limit or {"e2e_p50": "300 ms"}),
        Confidence(),
        Allowance(most, seconds),
        is_sequential=is_sequential,
    )
    looks.open()
    return looks


def measure(*milliseconds: float) -> Measurement:
    """Requests one after another that took so long each."""
    return measured(*(stream(1000 * at + ms, sent_ms=1000 * at) for at, ms in enumerate(milliseconds)))


def statuses(looks: Looks, found: Measurement) -> list[Status]:
    return [verdict.status for verdict in looks.judge(found)]


ENOUGH = [200.0 + number for number in range(20)]
UNDECIDED = [*ENOUGH, *[400.0 + number for number in range(16)]]


def test_a_test_goes_on_while_a_budget_needs_more() -> None:
    looks = create()
    assert looks.look_at_round(measure(*ENOUGH[:5]))
    assert not looks.look_at_round(measure(*ENOUGH))
    assert looks.count == 2


def test_it_ends_with_a_broken_budget_whatever_the_others_need() -> None:
    looks = create(e2e_p50="100 ms", ttft_p99="1 s")
    assert not looks.look_at_round(measure(*ENOUGH))


def test_what_a_look_has_decided_stays_with_what_it_cost() -> None:
    looks = create(e2e_p50="300 ms", e2e_p95="1 s")
    assert statuses(looks, measure(*UNDECIDED))[0] is Status.INCONCLUSIVE
    assert looks.look_at_round(measure(*ENOUGH))
    first, _ = looks.judge(measure(*UNDECIDED))
    assert first.status is Status.PASS
    assert first.engine_seconds == measure(*ENOUGH).engine_seconds
    again, _ = looks.judge(measure(*ENOUGH, *ENOUGH))
    assert again.engine_seconds == first.engine_seconds
    assert again.interval is not None
    assert again.interval.units == 40


def test_what_a_load_has_decided_counts_until_the_test_sends_more() -> None:
    looks = create(e2e_p50="300 ms", e2e_p95="1 s")
    looks.begin_growth()
    looks.look_at_growth(measure(*ENOUGH), "")
    looks.look_at_growth(measure(*UNDECIDED), "")
    assert statuses(looks, measure(*UNDECIDED))[0] is Status.PASS
    assert statuses(looks, measure(*UNDECIDED, 900))[0] is Status.INCONCLUSIVE


def test_another_load_has_to_decide_anew() -> None:
    looks = create()
    looks.begin_growth()
    looks.look_at_growth(measure(*ENOUGH), "")
    looks.begin_growth()
    assert looks.look_at_growth(measure(*UNDECIDED), "")


def test_a_load_that_grows_makes_each_judgement_one_of_many() -> None:
    looks = create(is_sequential=False)
    assert looks.count is None
    found = measure(*ENOUGH[:14])
    [before] = looks.judge(found)
    looks.begin_growth()
    [after] = looks.judge(found)
    assert before.interval is not None
    assert after.interval is not None
    assert (after.interval.high or 0) > (before.interval.high or 0)


def test_the_last_judgement_is_one_of_the_looks_that_are_allowed() -> None:
    looks = create(most=3)
    for _ in range(2):
        assert looks.has_room(0.0)
        looks.look_at_round(measure(300))
    assert not looks.has_room(0.0)
    looks.open()
    assert looks.has_room(0.0)


def test_a_part_that_would_end_after_the_time_is_not_begun() -> None:
    looks = create(seconds=50.0)
    assert looks.has_room(40.0)
    assert not looks.has_room(60.0)


def test_a_budget_of_another_engine_is_not_waited_for() -> None:
    own, other = measure(*ENOUGH), measure(*ENOUGH[:5])
    parts = (replace(own, engine=CPU, label="llamacpp"), replace(other, engine=L4, label="vllm"))
    found = measured(*own.requests, *other.requests, parts=parts)
    looks = create(e2e_p50="300 ms", engine="*")
    assert not looks.look_at_growth(found, "llamacpp")
    assert looks.look_at_growth(found, "vllm")
