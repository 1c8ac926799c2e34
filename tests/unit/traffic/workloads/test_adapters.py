"""Which adapter each request of a mix asks for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.workloads.adapters import AdapterMix, parse_adapters
from pytest_llmperf.traffic.workloads.texts import Texts
from pytest_llmperf.traffic.workloads.workload import workload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.workloads.workload import Workload

MIX = {"lora-a": 3, "lora-b": 1, "": 1}
TEXTS = Texts(lambda text: len(text.split()))


def list_adapters(asked: Workload) -> list[str]:
    return [script.adapter for script in asked.generate_scripts(TEXTS if asked.needs_texts else None)]


def test_the_same_seed_asks_for_the_same_adapters() -> None:
    def draw(seed: int, mix: Mapping[str, float] = MIX) -> list[str]:
        return list_adapters(workload(prompt_tokens=4, requests=50, seed=seed, adapters=mix))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    assert set(draw(1)) == set(MIX)
    assert draw(1, {"lora-a": 1}) == ["lora-a"] * 50
    assert list_adapters(workload(["x"] * 9, seed=1, adapters=MIX)) == draw(1)[:9]
    assert list_adapters(workload(["x"] * 3)) == [""] * 3


def test_each_comes_as_often_as_its_weight_says() -> None:
    mix = parse_adapters(MIX)
    counts = Counter(mix.draw(f"7 adapter {number}") for number in range(5000))
    assert [counts[name] / 5000 for name in MIX] == pytest.approx([0.6, 0.2, 0.2], abs=0.03)


def test_a_mix_changes_neither_prompts_nor_lengths() -> None:
    plain, mixed = (workload(prompt_tokens="4-9", requests=9, seed=3, adapters=mix) for mix in (None, MIX))
    first, second = ([script.turns for script in one.generate_scripts(TEXTS)] for one in (plain, mixed))
    assert first == second


def test_further_stretches_are_drawn_anew_from_the_same_mix() -> None:
    asked = workload(prompt_tokens=4, requests=40, seed=1, adapters=MIX)
    assert list_adapters(asked.grow(1)) != list_adapters(asked)
    assert set(list_adapters(asked.grow(1))) == set(MIX)


def test_a_mix_is_part_of_what_is_asked_for() -> None:
    asked = workload(prompt_tokens=4, requests=2, adapters=MIX)
    assert "adapters lora-a 3, lora-b 1, the model itself 1" in str(asked)
    assert asked.describe()["adapters"] == "adapters lora-a 3, lora-b 1, the model itself 1"
    assert "adapters" not in workload(prompt_tokens=4, requests=2).describe()
    assert "adapters" in workload(["x"], adapters=MIX).describe()
    assert not AdapterMix()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "adapters={} must be a dict of names and weights, such as"),
        (["lora-a"], r"adapters=\['lora-a'\] must be a dict"),
        ({"a": 0}, r"adapters\['a'\]=0 must be a number above 0"),
        ({"a": True}, r"adapters\['a'\]=True must be a number above 0"),
        ({"a": float("nan")}, r"adapters\['a'\]=nan must be a number above 0"),
        ({"a": "3"}, r"adapters\['a'\]='3' must be a number above 0"),
        ({1: 1}, "adapters has 1, which is no name of an adapter"),
        ({" a": 1}, "adapters has ' a', which is no name of an adapter"),
    ],
)
def test_what_is_no_mix_is_refused(given: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_adapters(given)
