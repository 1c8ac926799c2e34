"""The latency limits that a rate has to hold, and what requests say of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_llmperf.budgets.capacity.conditions import (
    Condition,
    find_conditions,
    find_rate_limit,
    see_step,
    why_client_limits,
    why_step_invalid,
)
from pytest_llmperf.measurement.chunks import Chunk
from pytest_llmperf.measurement.load import ClientHealth, Lag, Load
from pytest_llmperf.measurement.measurement import Measurement
from pytest_llmperf.measurement.reading import Missing
from pytest_llmperf.measurement.request import RequestTiming
from pytest_llmperf.measurement.window import Window
from tests.helpers.streams import limits

MS = 1_000_000
WINDOW = Window(0, 10_000 * MS)


def answers(*ttfts_ms: float, **more: object) -> Measurement:
    """One request after another, each with this time to its first token and two more 10 ms apart."""
    requests = []
    for number, ttft in enumerate(ttfts_ms):
        sent, first = number * 1000 * MS, round((number * 1000 + ttft) * MS)
        chunks = tuple(Chunk(first + 10 * MS * token) for token in range(3))
        requests.append(RequestTiming(sent, first + 20 * MS, chunks, 3, scheduled_ns=sent))
    return Measurement(WINDOW, requests=tuple(requests), **more)  # type: ignore[arg-type]


def only(group: str, **arguments: str) -> Condition:
    found = find_conditions(limits(group, **arguments), None)
    assert not isinstance(found, Missing)
    return found[0]


def test_every_absolute_limit_at_a_percentile_is_one() -> None:
    asked = [*limits("latency", ttft_p95="300 ms", tpot_p50="30 ms", e2e_p99="+10 %", startup="90 s")]
    found = find_conditions([*asked, *limits("throughput", sustained="8 req/s")], None)
    assert not isinstance(found, Missing)
    assert list(map(str, found)) == ["latency.ttft_p95 ≤ 300 ms", "latency.tpot_p50 ≤ 30 ms"]
    assert [one.allowed for one in found] == pytest.approx([0.05, 0.5])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"startup": "90 s"}, "add @pytest.mark.latency_budget(ttft_p95="),
        ({"ttft_p95": "+10 %"}, "add @pytest.mark.latency_budget(ttft_p95="),
        ({"ttft_max": "2 s"}, "limit a percentile instead, such as ttft_p99"),
    ],
)
def test_without_one_it_is_said_which_marker_to_add(arguments: dict[str, str], reason: str) -> None:
    found = find_conditions(limits("latency", **arguments), None)
    assert isinstance(found, Missing)
    assert reason in found.reason


def test_the_limit_on_the_rate_itself_is_known() -> None:
    assert find_rate_limit(limits("throughput", sustained="8 req/s", output="1 tok/s"), None) == 8
    assert find_rate_limit(limits("throughput", sustained="-5 %"), None) is None


def test_requests_above_the_limit_are_counted() -> None:
    point = see_step(only("latency", ttft_p95="300 ms"), answers(100, 300, 301, 400), 2.0)
    assert not isinstance(point, Missing)
    assert (point.rate, point.above, point.count) == (2.0, 0.5, 4)


def test_a_failed_request_is_above_every_limit() -> None:
    step = answers(100, 100, 100, 100)
    failed = replace(step.requests[0], error="HTTP 503", chunks=())
    point = see_step(only("latency", tpot_p95="300 ms"), replace(step, requests=(failed, *step.requests[1:])), 2.0)
    assert not isinstance(point, Missing)
    assert point.above == 0.25


def test_the_gaps_of_a_request_are_not_independent() -> None:
    point = see_step(only("latency", itl_p95="5 ms"), answers(100, 100, 100, 100), 2.0)
    assert not isinstance(point, Missing)
    assert (point.above, point.count) == (1.0, 8)
    assert point.effective <= 4


def test_a_latency_that_no_answer_gives_is_missing() -> None:
    step = answers(100, 100)
    whole = tuple(replace(request, chunks=request.chunks[:1]) for request in step.requests)
    point = see_step(only("latency", tpot_p95="300 ms"), replace(step, requests=whole), 2.0)
    assert isinstance(point, Missing)


def test_a_step_of_which_too_many_requests_failed_is_invalid() -> None:
    step = answers(100, 100)
    failed = replace(step, requests=(replace(step.requests[0], error="HTTP 500"), step.requests[1]))
    assert "1 of 2 requests failed" in why_step_invalid(only("latency", ttft_p95="300 ms"), failed)
    tolerant = replace(failed, loads=(Load("a load", None, max_error_rate=0.5),))
    assert why_step_invalid(only("latency", ttft_p95="300 ms"), tolerant) == ""


def slow_client(step: Measurement, late_s: float) -> Measurement:
    lag = Lag(late_s, late_s, late_s, late_s)
    return replace(step, loads=(Load("a load", None, health=ClientHealth("asyncio", lag, 0.2)),))


def test_a_late_client_is_the_limit_where_its_lag_may_have_broken_one() -> None:
    condition = only("latency", ttft_p95="300 ms")
    late = slow_client(answers(*[100] * 8, 320, 330), 0.05)
    point = see_step(condition, late, 2.0)
    assert not isinstance(point, Missing)
    assert "event loop was late" in why_client_limits(condition, late, point)


@pytest.mark.parametrize("ttfts", [[100] * 10, [100] * 8 + [900, 900]])
def test_a_late_client_changes_nothing_where_it_decides_nothing(ttfts: list[int]) -> None:
    condition = only("latency", ttft_p95="300 ms")
    late = slow_client(answers(*ttfts), 0.05)
    point = see_step(condition, late, 2.0)
    assert not isinstance(point, Missing)
    assert why_client_limits(condition, late, point) == ""
