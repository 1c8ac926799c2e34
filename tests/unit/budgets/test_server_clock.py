"""The client's stamps held against the server's own clock, on streams written out by hand (times in milliseconds)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.server_clock import why_stamps_are_not_the_engines as why
from pytest_llmperf.budgets.verdict import Status, Verdict
from pytest_llmperf.measurement.request import ServerTimes
from pytest_llmperf.measurement.server_clock import ServerClock, StreamTimes, sum_client_times, sum_stated_times
from pytest_llmperf.metrics.table import METRICS, find
from tests.helpers.streams import MS, limits, measured, stream

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


# ------------------------------------------------------------------------------------- whether it may decide a verdict

# The server gave 100 ms to the first token and 9.5 ms between tokens; the client saw 290 ms and 0.5 ms.
HELD = stream(*(290 + step / 2 for step in range(21)), counts=(1,) * 21, prompt_tokens=5, output_tokens=21)


def judge_one(measurement: Measurement, group: str, **limit: str) -> Verdict:
    [verdict] = judge(limits(group, **limit), measurement)
    return verdict


@pytest.mark.parametrize(
    ("key", "passing", "undecided", "failing"),
    [
        ("tpot_max", "10 ms", "9 ms", "0.4 ms"),
        ("itl_max", "190 ms", "100 ms", "0.4 ms"),
        ("chunk_gap_max", "190 ms", "100 ms", "0.4 ms"),
        ("ttft_max", "290 ms", "150 ms", "90 ms"),
        ("ttft_answer_max", "290 ms", "150 ms", "90 ms"),
    ],
)
def test_tokens_that_were_held_back_change_only_what_they_may_have_decided(
    key: str, passing: str, undecided: str, failing: str
) -> None:
    found = seen(HELD, decode=0.19)
    assert [judge_one(found, "latency", **{key: limit}).status for limit in (passing, undecided, failing)] == [
        Status.PASS,
        Status.INVALID,
        Status.FAIL,
    ]


def test_the_bounds_of_the_truth_are_the_interval_of_the_verdict() -> None:
    found = seen(HELD, decode=0.19)
    verdict = judge_one(found, "latency", ttft_max="150 ms")
    assert verdict.measured_with_interval == "290 ms (100 to 290)"
    assert "held back on their way" in verdict.reason
    verdict = judge_one(found, "latency", itl_max="1 s")
    assert verdict.measured_with_interval == "500 us (500 us to 190 ms)"
    assert (verdict.reason, "held back on their way" in verdict.how) == ("", True)


# ------------------------------------------------------------------------- times that a server states of each answer


def stated(request: RequestTiming, *, prompt_ms: float, decode_ms: float, drafted: bool = False) -> RequestTiming:
    times = ServerTimes(prompt=round(prompt_ms * MS), decode=round(decode_ms * MS), drafted=drafted)
    return replace(request, server=times)


def compared(*requests: RequestTiming) -> Measurement:
    return measured(*requests, server_clock=sum_stated_times(requests))


@pytest.mark.parametrize(
    ("key", "passing", "undecided", "failing"),
    [
        ("tpot_max", "9.5 ms", "9 ms", "0.4 ms"),
        ("itl_max", "190 ms", "100 ms", "0.4 ms"),
        ("chunk_gap_max", "190 ms", "100 ms", "0.4 ms"),
        ("ttft_max", "290 ms", "150 ms", "90 ms"),
    ],
)
def test_an_answer_is_held_against_the_times_that_it_states(
    key: str, passing: str, undecided: str, failing: str
) -> None:
    """Of two answers the server gave each in 100 ms and 190 ms; the client saw 290 ms and 10 ms of each."""
    held = stated(HELD, prompt_ms=100, decode_ms=190)
    found = [
        judge_one(compared(held, held), "latency", **{key: limit}).status for limit in (passing, undecided, failing)
    ]
    assert found == [Status.PASS, Status.INVALID, Status.FAIL]


@pytest.mark.parametrize(
    ("group", "key", "passing", "undecided", "failing"),
    [
        ("latency", "tpot_max", "20 ms", "15 ms", "9 ms"),
        ("latency", "tpot_p95", "25 ms", "15 ms", "9 ms"),
        ("throughput", "per_user", "70 tok/s", "97 tok/s", "200 tok/s"),
    ],
)
def test_the_slow_answers_may_be_the_ones_held_back(
    group: str, key: str, passing: str, undecided: str, failing: str
) -> None:
    """Of 300 answers every tenth took twice as long, and came at once: in the mean the client agrees within 20 %."""
    held = stated(stream(100, *(100 + at / 5 for at in range(1, 20)), output_tokens=20), prompt_ms=100, decode_ms=380)
    good = stated(stream(*(100 + 10 * at for at in range(20)), output_tokens=20), prompt_ms=100, decode_ms=190)
    found = compared(*([held, *[good] * 9] * 30))
    verdicts = [judge_one(found, group, **{key: limit}) for limit in (passing, undecided, failing)]
    assert [verdict.status for verdict in verdicts] == [Status.PASS, Status.INVALID, Status.FAIL]
    assert verdicts[1].reason.startswith(
        "30 of 300 answers came in less time than the server gave them in, one in 3.80 ms instead of 380 ms"
    )


def test_an_answer_that_begins_with_tokens_in_one_chunk_was_not_held_back() -> None:
    """One character may be several tokens."""
    merged = stream(130, 140, 150, counts=(4, 1, 1), output_tokens=6)
    found = compared(stated(merged, prompt_ms=100, decode_ms=50), *[stated(REGULAR, prompt_ms=95, decode_ms=200)] * 11)
    verdict = judge_one(found, "latency", tpot_max="11 ms")
    assert verdict.status is Status.PASS
    assert verdict.interval is None


def test_an_answer_that_came_as_it_was_given_is_judged() -> None:
    assert invalid(compared(stated(REGULAR, prompt_ms=95, decode_ms=200))) == set()


def test_the_token_that_ends_an_answer_takes_a_step_and_is_not_seen() -> None:
    short = stream(100, 130, 160, counts=(1, 1, 1), prompt_tokens=5, output_tokens=4, finish_reason="stop")
    assert invalid(compared(stated(short, prompt_ms=95, decode_ms=90))) == set()
    cut = replace(short, finish_reason="length")
    assert "latency.tpot" in invalid(compared(stated(cut, prompt_ms=95, decode_ms=90)))


def test_tokens_of_a_draft_come_several_at_a_time() -> None:
    """Twelve pairs of tokens, 20 ms apart."""
    pairs = stream(*(at for n in range(12) for at in (100 + 20 * n, 100.01 + 20 * n)), counts=(1,) * 24,
                   prompt_tokens=5, output_tokens=24)  # fmt: skip
    assert invalid(compared(stated(pairs, prompt_ms=95, decode_ms=220))) == {"latency.itl", "latency.chunk_gap"}
    assert invalid(compared(stated(pairs, prompt_ms=95, decode_ms=220, drafted=True))) == set()


def test_answers_of_which_some_state_no_times_are_not_compared() -> None:
    clock = sum_stated_times([HELD, stated(HELD, prompt_ms=100, decode_ms=190)])
    assert clock == ServerClock(reason="the server stated its times in 1 of 2 answers")
    assert sum_stated_times([HELD]) is None


@pytest.mark.parametrize(("limit", "status"), [("60 tok/s", Status.PASS), ("110 tok/s", Status.INVALID)])
def test_a_rate_of_one_user_is_bounded_by_how_long_the_answers_took(limit: str, status: Status) -> None:
    requests = [HELD] * 12
    clock = ServerClock(StreamTimes(12, 1.2, 2.28, 240), sum_client_times(requests))
    found = measured(*requests, server_clock=clock)
    assert judge_one(found, "throughput", per_user=limit).status is status


def test_of_many_requests_any_may_have_been_the_slow_one() -> None:
    """All of the 2 s between tokens that the server counts may be of one answer, but no answer took more than 0.3 s."""
    requests = [HELD] * 12
    clock = ServerClock(StreamTimes(12, 1.2, 2.0, 240), sum_client_times(requests))
    found = measured(*requests, server_clock=clock)
    statuses = {limit: judge_one(found, "latency", tpot_p50=limit).status for limit in ("20 ms", "14 ms")}
    assert statuses == {"20 ms": Status.PASS, "14 ms": Status.INVALID}
    assert judge_one(found, "latency", itl_p50="301 ms").status is Status.PASS
    assert judge_one(found, "latency", itl_p50="200 ms").status is Status.INVALID
    assert judge_one(found, "latency", ttft_p50="300 ms").status is Status.PASS


def test_a_server_that_counts_more_than_a_whole_answer_took_is_bounded_by_nothing_less() -> None:
    """The client saw 300 ms in all, of which the server says 100 ms and 400 ms."""
    found = seen(REGULAR, decode=0.4)
    assert judge_one(found, "latency", itl_max="399 ms").status is Status.INVALID
    assert judge_one(found, "latency", itl_max="400 ms").status is Status.PASS
    early = seen(REGULAR, ttft=0.25)
    assert judge_one(early, "latency", ttft_max="249 ms").status is Status.INVALID
    assert judge_one(early, "latency", ttft_max="250 ms").status is Status.PASS


def test_each_engine_of_several_bounds_its_own_requests() -> None:
    bad, good = seen(HELD, decode=0.19), seen(REGULAR)
    whole = replace(measured(*bad.requests, *good.requests), parts=(bad, good))
    assert judge_one(whole, "latency", itl_max="200 ms").status is Status.PASS
    assert judge_one(whole, "latency", itl_max="150 ms").status is Status.INVALID


def test_goodput_is_judged_where_every_request_keeps_its_limits_at_worst() -> None:
    found = seen(HELD, decode=0.19)

    def judge_goodput(tpot: str) -> Status:
        asked = [*limits("throughput", goodput="0.001 req/s"), *limits("latency", tpot_max=tpot)]
        return {v.metric: v.status for v in judge(asked, found)}["throughput.goodput"]

    assert [judge_goodput("10 ms"), judge_goodput("9 ms")] == [Status.PASS, Status.INVALID]


@pytest.mark.parametrize(
    ("key", "passing", "undecided"),
    [
        ("tpot_max", "16 ms", "14 ms"),
        ("chunk_gap_max", "301 ms", "299 ms"),
        ("itl_max", "301 ms", "299 ms"),
    ],
)
def test_without_a_clock_a_time_that_no_engine_reaches_is_any_that_the_answer_has_room_for(
    key: str, passing: str, undecided: str
) -> None:
    assert judge_one(measured(AT_ONCE), "latency", **{key: passing}).status is Status.PASS
    verdict = judge_one(measured(AT_ONCE), "latency", **{key: undecided})
    assert verdict.status is Status.INVALID
    assert verdict.reason == "tokens arrived together with others, so that the time between them is not known"


def test_a_time_between_tokens_that_an_engine_reaches_is_judged() -> None:
    for key in ("tpot_max", "chunk_gap_max", "itl_max", "ttft_max"):
        (verdict,) = judge(limits("latency", **{key: "1 s"}), measured(REGULAR))
        assert verdict.status is Status.PASS, key


@pytest.mark.parametrize("key", ["itl_p50", "itl_p99", "chunk_gap_p90", "tpot_p50"])
def test_too_few_requests_are_told_before_what_their_stamps_say(key: str) -> None:
    verdict = judge_one(measured(AT_ONCE), "latency", **{key: "1 min"})
    assert verdict.status is Status.NOT_MEASURED
    assert "requests, the test gave 1" in verdict.reason
