"""The noise of the simulated engine, and the verdicts on whole sessions with it: computed, not timed."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from statistics import fmean, stdev
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.budgets.interval import Confidence
from pytest_llmperf.budgets.judge import judge
from pytest_llmperf.budgets.verdict import Status
from pytest_llmperf.engines.simulated.model.schedule import schedule
from pytest_llmperf.engines.simulated.model.settings import Simulation
from pytest_llmperf.measurement.request import RequestTiming
from tests.helpers.streams import limits, measured

if TYPE_CHECKING:
    from pytest_llmperf.measurement.measurement import Measurement


def draw(count: int, seed: int = 1, **noise: str) -> list[float]:
    """The logarithms of the slowness of so many requests."""
    simulation = Simulation.from_strings({"seed": str(seed), **noise})
    return [math.log(simulation.draw_slowness(number)) for number in range(1, count + 1)]


def correlate(values: list[float]) -> float:
    mean = fmean(values)
    pairs = itertools.pairwise(values)
    return sum((a - mean) * (b - mean) for a, b in pairs) / sum((value - mean) ** 2 for value in values)


def test_without_noise_nothing_is_slow() -> None:
    assert draw(10) == [0.0] * 10


def test_requests_differ_by_themselves() -> None:
    found = draw(2000, request_sd="10 %")
    assert fmean(found) == pytest.approx(0, abs=0.01)
    assert stdev(found) == pytest.approx(0.1, rel=0.1)
    assert abs(correlate(found)) < 0.1


def test_a_swing_makes_neighbours_alike() -> None:
    found = draw(3000, drift_sd="10 %")
    assert stdev(found) == pytest.approx(0.1, rel=0.2)
    assert correlate(found) == pytest.approx(0.95, abs=0.02)


def test_a_session_is_slow_or_fast_as_a_whole() -> None:
    sessions = [draw(2, seed, session_sd="5 %") for seed in range(400)]
    assert all(one == other for one, other in sessions)
    assert stdev([one for one, _ in sessions]) == pytest.approx(0.05, rel=0.15)


def test_a_share_of_requests_are_outliers() -> None:
    found = draw(2000, outliers="5 %")
    assert Counter(round(value, 6) for value in found).keys() == {0.0, round(math.log(1.5), 6)}
    assert sum(value > 0 for value in found) == pytest.approx(100, rel=0.3)


def test_all_times_of_a_slow_request_are_stretched_alike() -> None:
    quiet = Simulation.from_strings({"ttft": "10 ms", "tpot": "2 ms"})
    noisy = Simulation.from_strings({"ttft": "10 ms", "tpot": "2 ms", "request_sd": "20 %"})
    plain = [emission.offset_s for emission in schedule(quiet, 3, [5])]
    assert [emission.offset_s for emission in schedule(noisy, 3, [5])] == pytest.approx(
        [noisy.draw_slowness(3) * offset for offset in plain]
    )


def run_session(seed: int, noise: dict[str, str]) -> Measurement:
    """8 rounds of one request each, which takes 100 ms for 11 tokens where nothing is slow."""
    simulation = Simulation.from_strings({"ttft": "50 ms", "tpot": "5 ms", "seed": str(seed), **noise})
    requests, at = [], 0
    for number in range(1, 9):
        end = at + round(1e9 * schedule(simulation, number, [11])[-1].offset_s)
        requests.append(RequestTiming(at, end, streamed=False, output_tokens=11))
        at = end + 10**6
    return measured(*requests, rounds=8, round_starts_ns=tuple(request.sent_ns for request in requests))


@pytest.mark.parametrize(
    "noise",
    [
        {"request_sd": "3 %"},
        {"request_sd": "3 %", "session_sd": "2 %"},
        {"request_sd": "3 %", "session_sd": "5 %"},
        {"request_sd": "3 %", "drift_sd": "3 %", "session_sd": "2 %"},
        {"request_sd": "3 %", "outliers": "3 %", "session_sd": "2 %"},
    ],
)
def test_whole_sessions_are_seldom_wrong_and_find_what_is_plain(noise: dict[str, str]) -> None:
    known = Confidence(session_noise=float(noise.get("session_sd", "0 %").split()[0]) / 100)
    truths, found = (0.80, 0.95, 1.10, 1.30), Counter[tuple[float, Status]]()
    wanted = {truth: limits("throughput", output=f"{110 * truth} tok/s") for truth in truths}
    for seed in range(50):
        session = run_session(seed, noise)
        found.update((truth, judge(wanted[truth], session, known)[0].status) for truth in truths)
    assert found[0.95, Status.FAIL] <= 1
    assert found[1.10, Status.PASS] <= 1
    assert found[0.80, Status.PASS] >= 45
    assert found[1.30, Status.FAIL] >= 45
