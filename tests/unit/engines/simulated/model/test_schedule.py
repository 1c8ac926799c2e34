from __future__ import annotations

import pytest

from pytest_llmperf.engines.simulated.model.schedule import find_ttft, schedule
from pytest_llmperf.engines.simulated.model.settings import Simulation


def offsets(simulation: Simulation, tokens: int, request_number: int = 1) -> list[float]:
    return [emission.offset_s for emission in schedule(simulation, request_number, [tokens])]


def test_tokens_follow_the_first_at_equal_gaps() -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "tpot": "10 ms"})
    assert offsets(simulation, 4) == pytest.approx([0.10, 0.11, 0.12, 0.13])


@pytest.mark.parametrize(
    ("tokens", "cached", "ttft"), [(0, 0, 0.1), (10, 0, 0.12), (10, 9, 0.012), (1000, 0, 2.1), (1000, 900, 0.21)]
)
def test_what_comes_from_the_cache_takes_no_time(tokens: int, cached: int, ttft: float) -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "prefill": "2 ms"})
    assert find_ttft(simulation, tokens, cached) == pytest.approx(ttft)


def test_a_chunk_of_several_tokens_takes_their_time_together() -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "tpot": "10 ms", "tokens_per_chunk": "3"})
    plan = schedule(simulation, 1, [7])
    assert [(emission.first, emission.last) for emission in plan] == [(0, 3), (3, 6), (6, 7)]
    assert [emission.offset_s for emission in plan] == pytest.approx([0.10, 0.13, 0.14])


def test_a_chunk_never_has_tokens_of_two_parts() -> None:
    plan = schedule(Simulation.from_strings({"tokens_per_chunk": "2"}), 1, [3, 0, 3])
    assert [(e.part, e.first, e.last) for e in plan] == [(0, 0, 2), (0, 2, 3), (2, 0, 2), (2, 2, 3)]


def test_the_first_token_comes_when_the_prompt_has_been_read() -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "tpot": "10 ms"})
    assert [e.offset_s for e in schedule(simulation, 1, [1, 2], 0.5)] == pytest.approx([0.5, 0.51, 0.52])
    assert [e.offset_s for e in schedule(simulation, 1, [1], 0.0)] == [0.0]


def test_the_stall_comes_once_after_its_token() -> None:
    simulation = Simulation.from_strings({"ttft": "0 s", "tpot": "10 ms", "stall_after": "2", "stall": "1 s"})
    assert offsets(simulation, 5) == pytest.approx([0.0, 0.01, 1.02, 1.03, 1.04])


def test_without_stall_after_nothing_stalls() -> None:
    simulation = Simulation.from_strings({"ttft": "0 s", "tpot": "10 ms", "stall": "1 s"})
    assert offsets(simulation, 3) == pytest.approx([0.0, 0.01, 0.02])


def test_jitter_is_the_same_for_the_same_seed_and_request_only() -> None:
    first = Simulation.from_strings({"jitter": "4 ms", "seed": "1"})
    second = Simulation.from_strings({"jitter": "4 ms", "seed": "2"})
    assert offsets(first, 20, 5) == offsets(first, 20, 5)
    assert offsets(first, 20, 5) != offsets(first, 20, 6)
    assert offsets(first, 20, 5) != offsets(second, 20, 5)


def test_jitter_moves_each_gap_by_no_more_than_itself() -> None:
    simulation = Simulation.from_strings({"ttft": "20 ms", "tpot": "5 ms", "jitter": "4 ms"})
    moments = offsets(simulation, 200)
    gaps = [after - before for before, after in zip([0.015, *moments], moments, strict=False)]
    assert all(0.001 - 1e-9 <= gap <= 0.009 + 1e-9 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.004


def test_a_jitter_larger_than_the_gap_never_turns_time_back() -> None:
    moments = offsets(Simulation.from_strings({"tpot": "1 ms", "jitter": "50 ms"}), 100)
    assert moments == sorted(moments)
    assert moments[0] >= 0
