from __future__ import annotations

from dataclasses import fields
from inspect import Parameter, signature
from itertools import islice, pairwise
from statistics import mean, pvariance
from typing import TYPE_CHECKING, Any, get_overloads

import pytest

from pytest_llmperf import workload
from pytest_llmperf.traffic.llm_client import LLMClient
from pytest_llmperf.traffic.load.schedule import Schedule, ScheduleOptions, parse_schedule

if TYPE_CHECKING:
    from pytest_llmperf.traffic.workloads.workload import Workload

WORKLOAD = workload(prompt_tokens=8, requests=100)
ENDLESS = workload(prompt_tokens=8)
S = 1_000_000_000


def schedule_of(asked: Workload, **options: Any) -> Schedule:
    return parse_schedule(asked, ScheduleOptions(**options))


def arrivals(most: int = 20_000, seed: int = 1, **fields: Any) -> list[float]:
    return list(islice(Schedule(**{"rate": 50.0, **fields}).generate_arrivals(seed), most))


def gaps(moments: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(moments)]


def test_a_constant_rate_sends_at_equal_distances_from_the_start_on() -> None:
    assert arrivals(5, shape=None) == pytest.approx([0, 0.02, 0.04, 0.06, 0.08])


def test_a_poisson_process_has_gaps_as_varied_as_their_mean() -> None:
    found = gaps(arrivals())
    assert mean(found) == pytest.approx(0.02, rel=0.03)
    assert pvariance(found) == pytest.approx(0.02**2, rel=0.1)


@pytest.mark.parametrize("shape", [0.25, 4.0])
def test_burstiness_is_the_shape_of_the_gaps_at_the_same_mean(shape: float) -> None:
    found = gaps(arrivals(shape=shape))
    assert mean(found) == pytest.approx(0.02, rel=0.05)
    assert pvariance(found) == pytest.approx(0.02**2 / shape, rel=0.15)


def test_arrivals_are_the_same_under_the_same_seed() -> None:
    assert arrivals(100, seed=3) == arrivals(100, seed=3) != arrivals(100, seed=4)


def test_in_a_ramp_the_rate_rises_linearly_and_half_of_it_is_missing() -> None:
    moments = arrivals(2000, shape=None, ramp_s=10.0)
    assert sum(1 for at in moments if at < 5) == pytest.approx(50 * 25 / 20, abs=1)
    assert sum(1 for at in moments if at < 10) == pytest.approx(250, abs=1)
    assert sum(1 for at in moments if 10 <= at < 20) == pytest.approx(500, abs=1)
    assert moments == sorted(moments)


def test_the_users_of_a_closed_loop_come_one_by_one_in_its_ramp() -> None:
    assert Schedule(concurrency=4).list_user_starts() == [0, 0, 0, 0]
    assert Schedule(concurrency=4, ramp_s=2.0).list_user_starts() == [0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(
    ("fields", "judged"),
    [
        ({}, (0, 10)),
        ({"warmup": 3, "cooldown": 2}, (3, 8)),
        ({"warmup": 2.5}, (3, 10)),
        ({"cooldown": 1.0}, (0, 8)),
        ({"ramp_s": 4.0}, (4, 10)),
        ({"ramp_s": 2.0, "warmup": 3}, (5, 10)),
        ({"ramp_s": 2.0, "warmup": 3.0}, (5, 10)),
        ({"warmup": 8, "cooldown": 8}, (8, 8)),
        ({"warmup": 30.0}, (10, 10)),
    ],
)
def test_ramp_warm_up_and_cool_down_are_not_judged(fields: dict[str, Any], judged: tuple[int, int]) -> None:
    """Ten requests, one each second from the start."""
    found = Schedule(concurrency=1, **fields).find_steady([7 * S + second * S for second in range(10)], 7 * S)
    assert (found.start, found.stop) == judged


def test_of_no_requests_none_is_judged() -> None:
    assert Schedule(concurrency=1).find_steady([], 0) == slice(0, 0)


def test_without_rate_and_concurrency_one_request_follows_the_other() -> None:
    assert schedule_of(WORKLOAD) == Schedule(concurrency=1)


@pytest.mark.parametrize(("text", "rate"), [("50/s", 50.0), ("2.5 req/s", 2.5), ("30/min", 0.5), ("7 requests/s", 7.0)])
def test_a_rate_is_written_with_its_unit(text: str, rate: float) -> None:
    assert schedule_of(WORKLOAD, rate=text) == Schedule(rate=rate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": "50/s", "concurrency": 3}, "not both"),
        ({"rate": "50"}, "'50/s'"),
        ({"rate": 50}, "'50/s'"),
        ({"rate": "0/s"}, "rate='0/s'"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"rate": "5/s", "arrival": "normal"}, "'poisson' nor 'constant'"),
        ({"rate": "5/s", "arrival": "constant", "burstiness": 2.0}, "takes no burstiness"),
        ({"rate": "5/s", "burstiness": 0}, "burstiness=0"),
        ({"duration": 30}, "no unit"),
        ({"warmup": "some"}, "warmup='some'"),
        ({"warmup": -1}, "warmup=-1"),
        ({"max_error_rate": 0.1}, "no unit"),
        ({"warmup": 60, "cooldown": 40}, "none of the 100 requests"),
        ({"until": "tomorrow"}, "until='tomorrow' is not known: write 'decided'"),
        ({"max_requests": 200}, "max_requests is for a load that grows"),
        ({"until": "decided", "max_requests": 0}, "max_requests=0"),
        ({"until": "decided", "max_requests": 99}, "max_requests=99 is less than the 100 of the workload"),
        ({"duration": "10 s", "ramp": "4 s", "warmup": "4 s", "cooldown": "2 s"}, "leave nothing"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        schedule_of(WORKLOAD, **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("arguments", [{}, {"rate": "5/s"}, {"concurrency": 4, "duration": "5 s"}])
def test_an_endless_workload_needs_a_rate_and_a_duration(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="say how many"):
        schedule_of(ENDLESS, **arguments)
    assert schedule_of(ENDLESS, rate="5/s", duration="5 s").duration_s == 5.0


def test_a_schedule_reads_as_what_it_does() -> None:
    open_loop = schedule_of(WORKLOAD, rate="50/s", ramp="2 s", warmup=8, cooldown="1 s", duration="30 s")
    assert (
        str(open_loop) == "open loop, Poisson, 50 req/s, ramp 2.00 s, warm-up 8 requests, cool-down 1.00 s, for 30.0 s"
    )
    assert str(schedule_of(WORKLOAD, concurrency=4)) == "closed loop, 4 at a time"
    assert str(schedule_of(WORKLOAD, rate="5/s", burstiness=0.5)) == "open loop, gamma (burstiness 0.5), 5 req/s"


def test_run_declares_the_options_of_a_schedule_with_their_types_and_defaults() -> None:
    _, of_a_workload = get_overloads(LLMClient.run)
    declared = signature(of_a_workload).parameters
    options = {
        option.name: Parameter(option.name, Parameter.KEYWORD_ONLY, default=option.default, annotation=option.type)
        for option in fields(ScheduleOptions)
    }
    assert {name: declared[name] for name in options} == options
    assert declared.keys() - options.keys() == {
        "self",
        "prompts",
        "temperature",
        "stream",
        "headers",
        "timeout",
        "extra",
    }


def test_a_further_stretch_has_arrivals_of_its_own() -> None:
    schedule = Schedule(rate=50.0)
    first, second = (list(islice(schedule.generate_arrivals(WORKLOAD.grow(n).draws), 50)) for n in (0, 1))
    assert first == list(islice(schedule.generate_arrivals(WORKLOAD.seed), 50))
    assert first != second
