"""A host that keeps the engine from computing changes no PASS, and makes INVALID what it may have broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.host_pressure import why_starved
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.measurement.host.state import HostState, ThreadTimes
from tests.helpers.streams import L4, limits, measured, stream, trace

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement


def on(host: HostState | None, **fields: object) -> Measurement:
    """Twenty answers of 400 ms, one after the other: 8 s in which a request was with the engine."""
    requests = [stream(400 * i + 200, 400 * i + 400, sent_ms=400 * i, output_tokens=2) for i in range(20)]
    return measured(*requests, host=host, **fields)


def host(ran: float, waited: float, **fields: object) -> HostState:
    return HostState(8.0, ThreadTimes(ran, waited), 8, **fields)  # type: ignore[arg-type]


STARVED = host(3.8, 6.2, busy_cores=6.4, steal=0.0)


def status_of(measurement: Measurement, group: str, **arguments: object) -> tuple[Status, str]:
    (verdict,) = judge(limits(group, **arguments), measurement)
    return verdict.status, verdict.reason


def test_the_cause_is_told_in_words() -> None:
    assert why_starved(on(STARVED)) == ("the engine waited 62 % of its time for a core; others used 5.9 of 8 cores")


def test_throttling_is_named_as_well() -> None:
    throttled = host(3.8, 6.2, throttled_seconds=4.0, throttled_periods=0.5)
    assert why_starved(on(throttled)).endswith("for a core, and its cgroup was throttled for 4.00 s")


def test_an_engine_alone_on_its_host_is_starved_by_a_quota() -> None:
    assert why_starved(on(host(3.8, 6.2, busy_cores=0.5, throttled_seconds=4.0)))


@pytest.mark.parametrize(
    "calm",
    [
        None,
        HostState(8.0),  # nothing is known
        host(8.0, 1.9),  # 19 % of its time
        host(0.1, 0.7),  # most of its time, but that is little of the 8 s
        host(0.01, 0.015),  # some time slices
        host(8.0, 0.0, steal=0.09),
        host(62.0, 200.0, busy_cores=7.8, steal=0.002),  # of more threads than cores, which waited for each other
    ],
)
def test_below_the_stated_shares_it_is_no_reason(calm: HostState | None) -> None:
    assert why_starved(on(calm)) == ""
    assert status_of(on(calm), "latency", ttft_p50="190 ms")[0] is Status.FAIL


@pytest.mark.parametrize("starved", [STARVED, host(3.0, 1.0), host(8.0, 0.0, steal=0.3)])
@pytest.mark.parametrize(
    ("group", "argument", "limit"),
    [("latency", "ttft_p50", "190 ms"), ("latency", "e2e_p50", "390 ms"), ("throughput", "output", "5.2 tok/s")],
)
def test_a_budget_that_may_be_broken_by_it_is_invalid(
    starved: HostState, group: str, argument: str, limit: str
) -> None:
    status, reason = status_of(on(starved), group, **{argument: limit})
    assert status is Status.INVALID
    assert reason == why_starved(on(starved)) != ""


def test_a_pass_stays_one() -> None:
    assert status_of(on(STARVED), "latency", ttft_p50="1 s")[0] is Status.PASS
    assert status_of(on(STARVED), "throughput", output="1 tok/s")[0] is Status.PASS


def test_what_is_too_close_to_tell_stays_so() -> None:
    requests = [stream(ms, sent_ms=0, output_tokens=1) for ms in range(100, 300, 10)]
    assert status_of(measured(*requests, host=STARVED), "latency", ttft_p50="200 ms")[0] is Status.INCONCLUSIVE


def test_a_limit_that_would_be_broken_without_any_waiting_fails() -> None:
    waited_a_quarter = host(3.0, 2.0)
    assert status_of(on(waited_a_quarter), "latency", ttft_p50="100 ms")[0] is Status.FAIL
    assert status_of(on(waited_a_quarter), "throughput", output="50 tok/s")[0] is Status.FAIL
    assert status_of(on(STARVED), "latency", ttft_p50="1 ms")[0] is Status.FAIL


def test_memory_is_not_concerned() -> None:
    memory = trace(*[2**30] * 20)
    assert status_of(on(STARVED, memory=memory), "memory", peak="1 MiB")[0] is Status.FAIL


def test_an_engine_on_a_gpu_whose_processes_waited_is_starved_too() -> None:
    assert why_starved(on(STARVED, engine=L4))


def test_of_several_engines_the_starved_one_is_named() -> None:
    parts = (on(host(8.0, 0.1), label="vllm"), on(STARVED, label="ollama"))
    assert why_starved(on(None, parts=parts)).startswith("ollama: the engine waited 62 % ")
