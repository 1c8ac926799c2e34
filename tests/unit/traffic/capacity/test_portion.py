"""Parts of a workload, with requests of their own."""

from __future__ import annotations

import pytest

from pytest_llmperf.traffic.capacity.portion import Portion, describe_mix
from pytest_llmperf.traffic.workloads.texts import Texts
from pytest_llmperf.traffic.workloads.workload import Workload, workload


def prompts_of(portion: Workload) -> list[str]:
    texts = Texts(lambda text: len(text.split())) if portion.needs_texts else None
    return [str(script.turns[0].content) for script in portion.generate_scripts(texts)]


@pytest.mark.parametrize("requests", [None, 3])
def test_each_portion_has_other_requests_of_the_same_mix(requests: int | None) -> None:
    mix = workload(prompt_tokens="5-9", requests=requests)
    first, second = prompts_of(Portion(mix, 1, 20)), prompts_of(Portion(mix, 2, 20))
    assert len(set(first)) == len(set(second)) == 20
    assert not set(first) & set(second)
    assert first == prompts_of(Portion(mix, 1, 20))


def test_prompts_as_given_come_again_and_again() -> None:
    assert prompts_of(Portion(workload(["a", "b"]), 1, 5)) == ["a", "b", "a", "b", "a"]


def test_chats_are_refused() -> None:
    with pytest.raises(ValueError, match="leave out turns"):
        prompts_of(Portion(workload(prompt_tokens=5, turns=2), 1, 5))


def test_a_mix_is_described_without_how_many_requests_it_has() -> None:
    described = {describe_mix(workload(prompt_tokens=5, requests=number)) for number in (None, 5, 50)}
    assert described == {"prompts of 5 tokens, answers of 128, seed 0"}


@pytest.mark.parametrize(
    "mix",
    [
        workload(prompt_tokens=5, seed=3, chat=True, adapters={"lora-a": 3, "lora-b": 1}, tokenizer=str.split),
        workload(["a"], seed=3, chat=True, adapters={"lora-a": 1}),
    ],
)
def test_a_portion_is_all_that_its_source_is(mix: Workload) -> None:
    portion = Portion(mix, 1, 5)
    names = ("chat", "seed", "tokenizer", "adapters", "needs_texts", "has_times", "repeats_prompts")
    assert [getattr(portion, name) for name in names] == [getattr(mix, name) for name in names]
    assert (portion.describe(), portion.requests) == (mix.describe(), 5)
