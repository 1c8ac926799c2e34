from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload
from pytest_llmperf.traffic.workloads.texts import Texts
from pytest_llmperf.traffic.workloads.tokenizer import create_texts

if TYPE_CHECKING:
    from pytest_llmperf.traffic.workloads.workload import Script, Workload


def words(text: str) -> int:
    return len(text.split())


def scripts(load: Workload, most: int = 1000) -> list[Script]:
    return list(islice(load.generate_scripts(Texts(words)), most))


def prompts(load: Workload) -> list[str]:
    return [str(turn.content) for script in scripts(load) for turn in script.turns]


def test_prompts_have_the_lengths_drawn_and_say_so() -> None:
    found = [script.turns[0] for script in scripts(workload(prompt_tokens="20-60", output_tokens="5-9", requests=200))]
    assert [words(str(turn.content)) for turn in found] == [turn.prompt_tokens for turn in found]
    assert {turn.prompt_tokens for turn in found} <= set(range(20, 61))
    assert {turn.output_tokens for turn in found} == {5, 6, 7, 8, 9}


def test_the_same_seed_asks_the_same_and_another_seed_something_else() -> None:
    one, same, other = (workload(prompt_tokens="20-60", requests=20, seed=seed) for seed in (1, 1, 2))
    assert one == same
    assert prompts(one) == prompts(same)
    assert not set(prompts(one)) & set(prompts(other))


def test_no_two_prompts_begin_alike_unless_that_is_asked_for() -> None:
    assert len({tuple(prompt.split()[:8]) for prompt in prompts(workload(prompt_tokens=64, requests=300))}) == 300


def test_prompts_of_a_group_have_so_many_tokens_in_common_and_no_more() -> None:
    found = scripts(workload(prompt_tokens="40-80", requests=12, shared_prefix=30, groups=3))
    assert [script.group for script in found[:4]] == ["group 0", "group 1", "group 2", "group 0"]
    by_group = {
        script.group: [str(s.turns[0].content).split() for s in found if s.group == script.group] for script in found
    }
    for texts in by_group.values():
        assert len({tuple(text[:30]) for text in texts}) == 1
        assert len({tuple(text[:38]) for text in texts}) == len(texts)
    assert len({tuple(texts[0][:30]) for texts in by_group.values()}) == 3


def test_a_share_in_common_is_one_of_each_prompt() -> None:
    load = workload(prompt_tokens={10: 1, 40: 1}, requests=30, shared_prefix="50 %")
    ordered = sorted((prompt.split() for prompt in prompts(load)), key=len)
    short, long = ordered[0], ordered[-1]
    assert (len(short), len(long)) == (10, 40)
    assert short[:5] == long[:5]
    assert short[5:] != long[5:10]


def test_turns_of_a_chat_share_what_was_said_and_count_as_requests() -> None:
    found = scripts(workload(prompt_tokens=8, requests=7, turns=3, think_time="2 s"))
    assert [len(script.turns) for script in found] == [3, 3, 1]
    assert [script.group for script in found] == ["chat 0", "chat 1", ""]
    assert found[0].think_s == 2.0
    assert workload(prompt_tokens=8, requests=7, turns=3).chat


def test_without_a_number_of_requests_there_are_as_many_as_are_taken() -> None:
    assert len(scripts(workload(prompt_tokens=8), most=50)) == 50


def test_special_tokens_are_part_of_a_prompt_but_not_of_a_message() -> None:
    texts = Texts(lambda text: 1 + words(text))
    plain, chat = (
        next(workload(prompt_tokens=10, requests=1, chat=chat).generate_scripts(texts)) for chat in (False, True)
    )
    assert [words(str(script.turns[0].content)) for script in (plain, chat)] == [9, 10]


def test_given_prompts_are_sent_as_they_are() -> None:
    load = workload(["a b", "c"], output_tokens=5)
    assert prompts(load) == ["a b", "c"]
    assert (load.requests, load.needs_texts, load.chat) == (2, False, False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "prompt_tokens"),
        ({"prompts": []}, "at least one prompt"),
        ({"prompts": "one"}, "must be a list"),
        ({"prompts": ["a"], "requests": 3}, "leave out"),
        ({"prompt_tokens": 8, "requests": 0}, "requests=0"),
        ({"prompt_tokens": 8, "groups": 0}, "groups=0"),
        ({"prompt_tokens": 8, "turns": 2, "chat": False}, "chat=False"),
        ({"prompt_tokens": "8-20", "shared_prefix": 8}, "fewer than the shortest"),
        ({"prompt_tokens": 8, "shared_prefix": "100 %"}, "below '100 %'"),
        ({"prompt_tokens": 8, "shared_prefix": "half"}, "half"),
        ({"prompt_tokens": 8, "think_time": 3}, "no unit"),
    ],
)
def test_a_workload_that_cannot_be_is_refused_in_one_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        workload(**arguments)
    assert "\n" not in str(error.value)


def test_a_workload_reads_as_what_it_asks_for() -> None:
    text = str(
        workload(prompt_tokens="128-2048", output_tokens=256, requests=1000, seed=7, shared_prefix="25 %", groups=4)
    )
    assert text == "1000 prompts of 128 to 2048 tokens, answers of 256, 25 % in common in 4 groups, seed 7"


# --------------------------------------------------------------------------------------------------- who counts tokens


@pytest.mark.parametrize("tokenizer", [str.split, words])
def test_a_tokenizer_may_give_tokens_or_their_number(tokenizer: Any) -> None:
    texts = create_texts(workload(prompt_tokens=8, requests=1, tokenizer=tokenizer), None)
    assert texts is not None
    assert texts.specials == 0


def test_the_tokenizer_of_the_workload_goes_before_that_of_the_engine() -> None:
    texts = create_texts(workload(prompt_tokens=8, requests=1, tokenizer=lambda text: 5 + words(text)), words)
    assert texts is not None
    assert texts.specials == 5


def test_where_nobody_can_count_lengths_in_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="tokenizer="):
        create_texts(workload(prompt_tokens=8, requests=1), None)
    assert create_texts(workload(["as it is"]), None) is None


def test_an_engine_that_cannot_be_reached_for_its_tokenizer_is_told_in_one_line() -> None:
    def refuse(text: str) -> int:
        raise ConnectionRefusedError("connection refused")

    with pytest.raises(ValueError, match=r"connection refused\): give workload\(tokenizer="):
        create_texts(workload(prompt_tokens=8, requests=1), refuse)


def test_a_tokenizer_that_gives_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="must return tokens"):
        create_texts(workload(prompt_tokens=8, requests=1, tokenizer=lambda text: text), None)


# ---------------------------------------------------------------------------------------------------- it may grow


def test_a_further_stretch_has_as_many_other_requests_of_the_same_mix() -> None:
    asked = workload(prompt_tokens="20-60", output_tokens="5-9", requests=40, shared_prefix=8, groups=2, seed=3)
    stretches = [asked, asked.grow(1), asked.grow(2)]
    found = [prompts(stretch) for stretch in stretches]
    assert [len(each) for each in found] == [40, 40, 40]
    assert len({prompt for each in found for prompt in each}) == 120
    assert found[1] == prompts(asked.grow(1))
    # The groups are the same ones: their prefixes are shared over the whole load.
    beginnings = [{tuple(prompt.split()[:8]) for prompt in each} for each in found]
    assert beginnings[0] == beginnings[1] == beginnings[2]
    assert {script.group for script in scripts(stretches[1])} == {"group 0", "group 1"}


def test_the_chats_of_a_further_stretch_are_other_chats() -> None:
    chats = workload(prompt_tokens=8, turns=2, requests=8)
    groups = [script.group for stretch in (chats, chats.grow(1)) for script in scripts(stretch)]
    assert len(set(groups)) == len(groups) == 8


def test_given_prompts_are_sent_again_with_other_lengths_of_answers() -> None:
    asked = workload([f"prompt {number}" for number in range(30)], output_tokens="1-1000")
    further = asked.grow(1)
    assert prompts(further) == prompts(asked)
    assert (asked.repeats_prompts, workload(prompt_tokens=8, requests=1).repeats_prompts) == (True, False)
    lengths = [[script.turns[0].output_tokens for script in scripts(each)] for each in (asked, further)]
    assert lengths[0] != lengths[1]
