from __future__ import annotations

import pytest

from pytest_llmperf.engines.simulated.schedule import Simulation, SimulationError, schedule, words


def offsets(simulation: Simulation, tokens: int, request_number: int = 1) -> list[float]:
    return [emission.offset_s for emission in schedule(simulation, request_number, tokens)]


def test_defaults_are_what_describe_says() -> None:
    described = {key: default for key, default, _ in Simulation.describe()}
    assert Simulation.from_strings(described) == Simulation()
    assert described["ttft"] == "20 ms"
    assert all(meaning for _, _, meaning in Simulation.describe())


def test_values_are_read_with_their_units() -> None:
    simulation = Simulation.from_strings(
        {"ttft": "1.5 s", "memory": "2 MiB", "error_rate": "10 %", "role_chunk": "False", "slots": "2"}
    )
    assert simulation.ttft == 1.5
    assert simulation.memory == 2 * 2**20
    assert simulation.error_rate == pytest.approx(0.1)
    assert simulation.role_chunk is False
    assert simulation.slots == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ttft", "20", "ttft='20' has no unit"),
        ("tpot", "-5 ms", "tpot='-5 ms' is negative"),
        ("memory", "1 GiBB", "memory='1 GiBB' has the unknown unit"),
        ("error_rate", "120 %", "error_rate='120 %' is more than all"),
        ("tokens_per_chunk", "0", "tokens_per_chunk='0' is not a whole number of 1 or more"),
        ("tokens_per_chunk", "1.5", "tokens_per_chunk='1.5' is not a whole number"),
        ("port", "70000", "port='70000' is not a whole number from 0 to 65535"),
        ("error_status", "200", "error_status='200' is not a whole number from 400 to 599"),
        ("role_chunk", "yes", "role_chunk='yes' is neither true nor false"),
        ("usage", "sometimes", "usage='sometimes' is not one of asked, always, never"),
        ("model", " ", "model=' ' is empty"),
        ("tttf", "20 ms", "unknown setting 'tttf'; the simulated engine takes ttft, tpot"),
    ],
)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(key: str, value: str, message: str) -> None:
    with pytest.raises(SimulationError) as caught:
        Simulation.from_strings({key: value})
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_request_changes_only_what_it_names() -> None:
    base = Simulation.from_strings({"ttft": "1 s", "seed": "7"})
    changed = base.with_request({"ttft": "2 s", "tokens_per_chunk": 3, "role_chunk": False})
    assert (changed.ttft, changed.tokens_per_chunk, changed.role_chunk) == (2.0, 3, False)
    assert (changed.tpot, changed.seed) == (base.tpot, 7)


@pytest.mark.parametrize("key", ["slots", "seed", "crash_after", "memory", "error_every", "nonsense"])
def test_a_request_cannot_set_what_concerns_the_server(key: str) -> None:
    with pytest.raises(SimulationError, match=f"^'{key}' cannot be set for one request; 'simulate' takes ttft"):
        Simulation().with_request({key: "1"})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ttft", 20, "ttft='20' has no unit"),
        ("ttft", None, "ttft=None is neither a string, a number nor a boolean"),
        ("stall_after", ["1"], r"stall_after=\['1'\] is neither"),
        ("error", "maybe", "error='maybe' is neither true nor false"),
    ],
)
def test_a_bad_value_in_a_request_is_refused_by_name(key: str, value: object, message: str) -> None:
    with pytest.raises(SimulationError, match=f"^{message}"):
        Simulation().with_request({key: value})


def test_a_request_may_ask_to_fail_or_not_to() -> None:
    always = Simulation.from_strings({"error_rate": "100 %", "error_every": "1"})
    assert always.fails(1)
    assert not always.with_request({"error": False}).fails(1)
    assert Simulation().with_request({"error": True}).fails(3)


def test_each_nth_request_fails() -> None:
    simulation = Simulation.from_strings({"error_every": "3"})
    assert [number for number in range(1, 10) if simulation.fails(number)] == [3, 6, 9]


def test_the_error_rate_is_drawn_by_the_seed() -> None:
    def failing(seed: str) -> list[int]:
        simulation = Simulation.from_strings({"error_rate": "10 %", "seed": seed})
        return [number for number in range(1, 1001) if simulation.fails(number)]

    assert failing("1") == failing("1")
    assert failing("1") != failing("2")
    assert 60 < len(failing("1")) < 140


def test_tokens_follow_the_first_at_equal_gaps() -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "tpot": "10 ms"})
    assert offsets(simulation, 4) == pytest.approx([0.10, 0.11, 0.12, 0.13])


def test_a_chunk_of_several_tokens_takes_their_time_together() -> None:
    simulation = Simulation.from_strings({"ttft": "100 ms", "tpot": "10 ms", "tokens_per_chunk": "3"})
    plan = schedule(simulation, 1, 7)
    assert [emission.tokens for emission in plan] == [3, 3, 1]
    assert [emission.offset_s for emission in plan] == pytest.approx([0.10, 0.13, 0.14])


def test_reasoning_comes_first_and_never_shares_a_chunk_with_text() -> None:
    simulation = Simulation.from_strings({"reasoning_tokens": "3", "tokens_per_chunk": "2"})
    plan = schedule(simulation, 1, 6)
    assert [(emission.tokens, emission.kind) for emission in plan] == [
        (2, "reasoning"),
        (1, "reasoning"),
        (2, "text"),
        (1, "text"),
    ]


def test_an_answer_may_be_cut_short_in_its_reasoning() -> None:
    simulation = Simulation.from_strings({"reasoning_tokens": "10", "tokens_per_chunk": "4"})
    assert [(e.tokens, e.kind) for e in schedule(simulation, 1, 5)] == [(4, "reasoning"), (1, "reasoning")]


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


def test_the_text_is_a_function_of_the_seed() -> None:
    simulation = Simulation.from_strings({"seed": "3"})
    assert words(simulation, 8) == words(simulation, 20)[:8]
    assert words(simulation, 20) != words(Simulation(), 20)
    assert all(word.startswith(" ") and word.strip().isalpha() for word in words(simulation, 50))
