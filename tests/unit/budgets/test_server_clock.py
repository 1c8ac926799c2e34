"""The client's stamps held against the server's own clock, on streams written out by hand (times in milliseconds)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines as why
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes, sum_client_times
from pytest_llmperf.metrics.table import METRICS, find
from tests.helpers.streams import limits, measured, stream

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.measurement.request import RequestTiming

STREAMED = ("latency.ttft", "latency.ttft_answer", "latency.tpot", "latency.itl", "latency.chunk_gap")
# A first token after 100 ms, and 20 more, 10 ms apart.
REGULAR = stream(*range(100, 310, 10), counts=(1,) * 21, prompt_tokens=5, output_tokens=21)
MERGED = stream(*range(100, 310, 20), counts=(1,) + (2,) * 10, prompt_tokens=5, output_tokens=21)
AT_ONCE = stream(300, 300.01, counts=(1, 20), prompt_tokens=5, output_tokens=21)


def seen(
    request: RequestTiming, *, ttft: float | None = 0.1, decode: float | None = 0.2, steps: int = 20
) -> Measurement:
    """What the server says of this one request."""
    server = StreamTimes(1, ttft, decode, steps)
    return measured(request, server_clock=ServerClock(server, sum_client_times([request])))


def invalid(measurement: Measurement) -> set[str]:
    return {name for name, metric in METRICS.items() if why(metric, None, measurement)}


def test_stamps_that_agree_are_the_engines() -> None:
    assert invalid(seen(REGULAR)) == set()


@pytest.mark.parametrize(("ttft", "decode"), [(0.05, 0.1), (0.11, 0.22), (None, None), (0.1, None)])
def test_a_client_that_is_slower_or_a_little_faster_is_believed(ttft: float | None, decode: float | None) -> None:
    assert invalid(seen(REGULAR, ttft=ttft, decode=decode)) == set()


@pytest.mark.parametrize(("ttft", "decode"), [(0.1, 0.3), (0.2, 0.2)])
def test_a_client_that_is_far_faster_than_the_server_is_not(ttft: float, decode: float) -> None:
    assert invalid(seen(REGULAR, ttft=ttft, decode=decode)) == {*STREAMED, "throughput.per_user"}


def test_the_reason_names_both_times_and_what_may_be_the_cause() -> None:
    assert why(find("latency.tpot_max")[0], None, seen(REGULAR, decode=0.4)) == (
        "200 ms from the first token to the last for the client, 400 ms by the server's own clock (mean of 1 request): "
        "tokens were held back on their way, by a proxy, or by an API server or a client without a free core"
    )


def test_a_few_milliseconds_of_a_short_answer_are_no_burst() -> None:
    short = stream(100, 103, counts=(1, 1), prompt_tokens=5, output_tokens=2)
    assert invalid(seen(short, decode=0.007, steps=1)) == set()


def test_tokens_that_were_merged_on_their_way_say_nothing_of_the_gaps_between_them() -> None:
    assert invalid(seen(MERGED)) == {"latency.itl", "latency.chunk_gap"}


def test_tokens_that_one_step_of_the_engine_gave_were_not_merged_on_their_way() -> None:
    assert invalid(seen(MERGED, steps=10)) == set()


def test_a_clock_that_is_not_compared_invalidates_nothing() -> None:
    assert invalid(measured(REGULAR, server_clock=ServerClock(reason="others use it"))) == set()
    assert invalid(measured(REGULAR)) == set()


def test_what_one_of_several_engines_says_holds_for_all_together() -> None:
    bad, good = seen(REGULAR, decode=0.4), seen(REGULAR)
    whole = replace(measured(REGULAR, REGULAR), parts=(good, bad))
    assert invalid(whole) == {*STREAMED, "throughput.per_user"}


def test_goodput_by_a_latency_that_is_not_the_engines_is_not_judged() -> None:
    asked = [*limits("throughput", goodput="1 req/s"), *limits("latency", tpot_max="1 s")]
    statuses = {v.metric: v.status for v in judge(asked, seen(REGULAR, decode=0.4))}
    assert statuses["throughput.goodput"] is Status.INVALID
    alone = [*limits("throughput", goodput="0.001 req/s"), *limits("latency", e2e_max="1 s")]
    statuses = {v.metric: v.status for v in judge(alone, seen(REGULAR, decode=0.4))}
    assert statuses["throughput.goodput"] is Status.PASS


@pytest.mark.parametrize("key", ["tpot_max", "chunk_gap_max", "itl_max", "itl_p50"])
def test_without_a_clock_a_time_that_no_engine_reaches_is_no_time_between_tokens(key: str) -> None:
    (verdict,) = judge(limits("latency", **{key: "1 s"}), measured(AT_ONCE))
    assert verdict.status is Status.INVALID
    assert verdict.reason == "tokens arrived together with others, so that the time between them is not known"


def test_a_time_between_tokens_that_an_engine_reaches_is_judged() -> None:
    for key in ("tpot_max", "chunk_gap_max", "itl_max", "ttft_max"):
        (verdict,) = judge(limits("latency", **{key: "1 s"}), measured(REGULAR))
        assert verdict.status is Status.PASS, key
