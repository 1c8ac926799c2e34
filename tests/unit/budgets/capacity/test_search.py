"""The search for the highest rate: its steps, what it finds on a queue whose knee is known, and how it ends."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from pytest_llmperf.budgets.capacity.conditions import find_conditions, find_rate, see_step
from pytest_llmperf.budgets.capacity.knee import ShareAtRate
from pytest_llmperf.budgets.capacity.search import PROBE, Search
from pytest_llmperf.measurement.capacity.steps import SearchOptions, SearchStep
from pytest_llmperf.measurement.reading import Missing
from tests.helpers.slots import compute_knee, serve
from tests.helpers.streams import limits

SLOTS, MEAN_S, LIMIT_S = 4, 0.2, 0.3
KNEE = compute_knee(SLOTS, MEAN_S, LIMIT_S, 0.05)


def seen(rate: float, above: float, count: int = 1000) -> ShareAtRate:
    return ShareAtRate(rate, above, count, count)


def share_at(rate: float, knee: float) -> float:
    odds = 0.05 / 0.95 * (rate / knee) ** 10
    return odds / (1 + odds)


def run(search: Search, knees: list[float], most_steps: int = 60) -> list[SearchStep]:
    """The steps of a search in which each limit breaks at its knee, without noise."""
    steps: list[SearchStep] = []
    while (step := search.next_step()) is not None and len(steps) < most_steps:
        steps.append(step)
        if step.rate is None:
            search.add_probe([0.1] * step.requests)
        else:
            search.add(step, [seen(step.rate, share_at(step.rate, knee), step.requests) for knee in knees])
    return steps


def test_it_begins_with_single_requests_and_goes_on_from_the_rate_that_they_suggest() -> None:
    search = Search([0.05], SearchOptions())
    assert search.next_step() == SearchStep(None, PROBE, 0)
    search.add_probe([0.25, 0.5, 0.5])
    step = search.next_step()
    assert step is not None
    assert step.rate == 2


def test_it_begins_at_the_start_that_is_given() -> None:
    step = Search([0.05], SearchOptions(start=3.0)).next_step()
    assert step is not None
    assert step.rate == 3


def test_it_at_most_doubles_the_rate_and_ends_near_the_knee() -> None:
    search = Search([0.05], SearchOptions())
    steps = run(search, [100.0])
    rates = [step.rate for step in steps[1:] if step.rate]
    assert all(later <= 2.01 * max(rates[: at + 1]) for at, later in enumerate(rates[1:]))
    assert search.ended == "it is known to 0.05"
    found = search.estimate()
    assert found is not None
    assert found.rate == pytest.approx(100, rel=0.03)
    assert found.low < 100 < found.high


def test_it_falls_to_a_third_at_most_after_an_overload() -> None:
    search = Search([0.05], SearchOptions(start=100.0))
    rates = [step.rate for step in run(search, [20.0]) if step.rate]
    assert rates[1] >= 33
    found = search.estimate()
    assert found is not None
    assert found.rate == pytest.approx(20, rel=0.04)


def test_steps_grow_once_the_knee_is_roughly_known_and_lie_on_both_sides_of_it() -> None:
    steps = run(Search([0.05], SearchOptions(precision=0.03)), [100.0])
    long = [step for step in steps if step.requests >= 240]
    assert all(step.requests <= later.requests for step, later in pairwise(long))
    assert {step.rate is not None and step.rate > 100 for step in long} == {True, False}
    assert all(step.warmup >= 60 for step in long)


def test_the_limit_that_breaks_first_decides() -> None:
    search = Search([0.05, 0.05], SearchOptions())
    run(search, [100.0, 60.0])
    found = search.estimate()
    assert found is not None
    assert found.rate == pytest.approx(60, rel=0.04)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_the_knee_of_a_queue_of_known_slots_and_times(seed: int) -> None:
    """The knee of the queue is that of Erlang's formula; 10 % keep this test short, benchmarks/capacity.py has more."""
    generator, search = random.Random(seed), Search([0.05], SearchOptions(precision=0.1))
    conditions = find_conditions(limits("latency", ttft_p95=f"{LIMIT_S} s"), None)
    assert not isinstance(conditions, Missing)
    [condition] = conditions
    while (step := search.next_step()) is not None:
        if step.rate is None:
            search.add_probe([MEAN_S] * step.requests)
            continue
        served = serve(step.rate, step.requests, step.warmup, SLOTS, MEAN_S, generator)
        point = see_step(condition, served, find_rate(served.judged) or step.rate)
        assert not isinstance(point, Missing)
        search.add(step, [point])
    found = search.estimate()
    assert found is not None
    assert found.low <= KNEE <= found.high
    assert found.rate == pytest.approx(KNEE, rel=0.12)


# -------------------------------------------------------------------------------------------------------------- its end


def test_it_ends_where_even_single_requests_break_a_limit() -> None:
    search = Search([0.05], SearchOptions())
    run(search, [1e-6])
    assert search.has_ended_at_nothing
    assert search.ended == "the limits do not hold at 1 req/s, where requests hardly meet"


@pytest.mark.parametrize(("slots", "request_s", "start"), [(256, 10.0, None), (256, 10.0, 150.0), (1000, 30.0, 2.0)])
def test_a_batch_that_fills_slowly_is_filled_before_a_step_is_judged(
    slots: int, request_s: float, start: float | None
) -> None:
    """Until as many requests have come as there are slots, no rate is too high."""
    search = Search([0.05], SearchOptions(start=start, highest=200.0, precision=0.1))
    while (step := search.next_step()) is not None and search.requests < 100_000:
        if step.rate is None:
            search.add_probe([request_s] * step.requests)
            continue
        most_in_flight = min(step.rate * request_s, step.requests)
        above = share_at(step.rate, slots / request_s) if most_in_flight > slots else 0.0
        search.add(step, [seen(step.rate, above, step.requests - step.warmup)], [request_s])
    found = search.estimate()
    assert found is not None
    assert not search.bounded
    assert found.rate == pytest.approx(slots / request_s, rel=0.1)


def test_a_long_request_leaves_time_for_the_first_step() -> None:
    search = Search([0.05], SearchOptions())
    search.add_probe([30.0])
    step = search.next_step()
    assert step is not None
    assert step.rate is not None
    assert step.requests / step.rate < 150


@pytest.mark.parametrize(("floor", "expected"), [(0.0, None), (0.07, 0)])
def test_a_limit_that_some_requests_break_at_every_rate_has_no_highest_one(floor: float, expected: int | None) -> None:
    search = Search([0.05], SearchOptions(precision=0.1, most_requests=12_000))
    while (step := search.next_step()) is not None:
        if step.rate is None:
            search.add_probe([0.1] * step.requests)
        else:
            above = floor + (1 - floor) * share_at(step.rate, 100.0)
            search.add(step, [seen(step.rate, above, step.requests)])
    assert search.find_flat() == expected


def test_no_rate_above_those_that_were_tried_is_said_to_hold() -> None:
    search = Search([0.05], SearchOptions(highest=20.0))
    run(search, [1000.0])
    assert 19 < search.find_bound() <= 20


def test_it_ends_at_the_highest_rate_that_it_may_try() -> None:
    search = Search([0.05], SearchOptions(highest=20.0))
    steps = run(search, [100.0])
    assert max(step.rate or 0 for step in steps) == 20
    assert search.bounded == "all limits hold at highest=20/s as well"
    found = search.estimate()
    assert found is not None
    assert found.low > 19


def test_it_stays_below_a_rate_at_which_the_client_is_too_slow() -> None:
    search = Search([0.05], SearchOptions(start=10.0))
    rates = []
    while (step := search.next_step()) is not None:
        assert step.rate is not None
        rates.append(step.rate)
        if step.rate > 30:
            search.refuse(step, "the client was too slow")
        else:
            search.add(step, [seen(step.rate, share_at(step.rate, 100), step.requests)])
    assert search.ended == "the client was too slow"
    assert rates[-1] < 40


def test_a_client_that_is_too_slow_above_the_knee_changes_nothing() -> None:
    search = Search([0.05], SearchOptions(start=80.0))
    while (step := search.next_step()) is not None:
        assert step.rate is not None
        if step.rate > 140:
            search.refuse(step, "the client was too slow")
        else:
            search.add(step, [seen(step.rate, share_at(step.rate, 100), step.requests)])
    found = search.estimate()
    assert found is not None
    assert found.high < search.ceiling
    assert found.rate == pytest.approx(100, rel=0.03)


def test_it_ends_at_once_if_the_client_is_too_slow_for_its_first_rate() -> None:
    search = Search([0.05], SearchOptions(start=10.0))
    step = search.next_step()
    assert step is not None
    search.refuse(step, "the client was too slow")
    assert search.next_step() is None
    assert search.ended == "the client is too slow at 10 req/s already"
    assert search.estimate() is None


def test_it_spends_no_more_requests_than_it_may() -> None:
    search = Search([0.05], SearchOptions(most_requests=500))
    assert sum(step.requests for step in run(search, [100.0])) <= 500
    assert search.ended == "its allowance of 500 requests is spent"


@pytest.mark.parametrize("limit", [60.0, 160.0])
def test_it_ends_early_once_a_limit_on_the_rate_is_decided(limit: float) -> None:
    decided, precise = Search([0.05], SearchOptions(until_decided=True), limit), Search([0.05], SearchOptions(), limit)
    run(decided, [100.0])
    run(precise, [100.0])
    assert decided.ended == "the limit on it is decided"
    assert decided.requests < precise.requests


def test_it_goes_on_in_a_further_round_with_what_it_knows() -> None:
    search = Search([0.05], SearchOptions(precision=0.1))
    run(search, [100.0])
    before = search.requests
    search.go_on(SearchOptions(precision=0.02))
    steps = run(search, [100.0])
    assert steps
    assert all(step.rate == pytest.approx(100, rel=0.1) for step in steps)
    assert search.requests == before + sum(step.requests for step in steps)
