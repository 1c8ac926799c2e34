from __future__ import annotations

import pytest

from pytest_llmperf.engines.simulated.model.settings import Simulation, SimulationError


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
