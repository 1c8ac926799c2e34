from __future__ import annotations

import pytest

from pytest_llmperf.measurement.window import Window
from pytest_llmperf.plugin.app_loads.left_out import LeftOut
from tests.helpers.streams import MS, stream

CALLS = [stream(at + 5, sent_ms=at, output_tokens=2, asked_tokens=3) for at in (100, 200, 300, 400, 500)]


def made(*calls_of_app: object, warmup: int | str = 0, cooldown: int | str = 0, at_ms: int = 0) -> LeftOut:
    left_out = LeftOut()
    left_out.begin(at_ms * MS, warmup, cooldown)
    left_out.note(calls_of_app or CALLS)  # type: ignore[arg-type]
    return left_out


@pytest.mark.parametrize(
    ("warmup", "cooldown", "phases", "steady"),
    [
        (2, 1, ["warmup"] * 2 + ["steady"] * 2 + ["cooldown"], (300, 500)),
        (2, 0, ["warmup"] * 2 + ["steady"] * 3, (300, 505)),
        ("150 ms", "150 ms", ["warmup"] * 2 + ["steady"] + ["cooldown"] * 2, (300, 400)),
        (0, 0, ["steady"] * 5, (100, 505)),
    ],
)
def test_both_ends_of_what_the_app_sends_are_left_out(
    warmup: int | str, cooldown: int | str, phases: list[str], steady: tuple[int, int]
) -> None:
    found, (load,) = made(warmup=warmup, cooldown=cooldown).judge(CALLS[::-1])
    assert [found[id(call)] for call in CALLS] == phases
    assert load.steady == Window(steady[0] * MS, steady[1] * MS, "steady")
    assert (load.output_came and load.output_came.count, load.full_answers, load.fault) == (5, 0, "")


def test_calls_before_it_was_said_and_requests_of_the_test_are_judged_as_they_are() -> None:
    left_out = made(*CALLS[1:], warmup=1, at_ms=250)
    phases, (load,) = left_out.judge(CALLS)
    assert set(phases) == set(map(id, CALLS[2:]))
    assert load.asked == "3 calls of the app; a warm-up of 1 request left out"


def test_each_time_that_it_is_said_a_load_of_its_own_begins() -> None:
    left_out = made(warmup=1)
    left_out.begin(350 * MS, "50 ms", 0)
    phases, loads = left_out.judge(CALLS)
    assert [phases[id(call)] for call in CALLS] == ["warmup", "steady", "steady", "warmup", "steady"]
    assert [load.asked for load in loads] == [
        "3 calls of the app; a warm-up of 1 request left out",
        "2 calls of the app; a warm-up of 50.0 ms left out",
    ]


def test_a_load_of_which_nothing_is_left_is_a_fault() -> None:
    _, (load,) = made(warmup=9).judge(CALLS)
    assert load.steady is None
    assert load.fault == "all 5 calls of the app fell into a warm-up of 9 requests: leave out less"


@pytest.mark.parametrize("edge", [-1, True, "5", 2.5, None])
def test_an_edge_that_is_none_is_refused(edge: object) -> None:
    with pytest.raises(ValueError, match=r"^warmup=.* is neither a number of requests nor a time"):
        made(warmup=edge)  # type: ignore[arg-type]


def test_nothing_is_left_out_once_it_is_cleared() -> None:
    left_out = made(warmup=2)
    left_out.clear()
    assert left_out.judge(CALLS) == ({}, ())


def test_it_is_a_fault_if_no_call_of_the_app_comes_after_it() -> None:
    fault = (
        "llm_perf.leave_out leaves out calls of the app, and none came after it; "
        "llm_client.run has warmup= and cooldown= of its own",
    )
    assert made(warmup=1, at_ms=501).faults == fault
    assert made(cooldown="1 s", at_ms=501).faults == fault
    assert made(warmup=1, at_ms=500).faults == made(at_ms=501).faults == LeftOut().faults == ()
