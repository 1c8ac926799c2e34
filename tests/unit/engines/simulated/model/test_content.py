from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from pytest_llmperf.engines.simulated.model.content import Tool, Wanted, compose
from pytest_llmperf.engines.simulated.model.script import ScriptedAnswer, ScriptedCall
from pytest_llmperf.engines.simulated.model.settings import Simulation
from pytest_llmperf.engines.simulated.model.words import list_words

SIMULATION = Simulation()
TOOLS = (Tool("find_order", {"type": "object"}), Tool("pay", {"type": "object"}, "Pays the invoice of an order"))
ANYTHING = ScriptedAnswer(pattern=re.compile(""))


def scripted(**what: Any) -> ScriptedAnswer:
    return replace(ANYTHING, **what)


def test_words_go_on_to_the_limit() -> None:
    content = compose(Wanted(max_tokens=5), SIMULATION)
    assert (content.join("text"), content.ending) == ("".join(list_words(0, 5)), "length")
    assert compose(Wanted(), SIMULATION).tokens == SIMULATION.default_max_tokens


def test_words_may_stop_by_themselves_and_begin_with_reasoning() -> None:
    content = compose(Wanted(max_tokens=9), Simulation.from_strings({"output_tokens": "6", "reasoning_tokens": "2"}))
    assert ([(part.kind, len(part.tokens)) for part in content.parts], content.ending) == (
        [("reasoning", 2), ("text", 4)],
        "stop",
    )


def test_reasoning_may_take_all_there_is() -> None:
    content = compose(Wanted(max_tokens=3), Simulation.from_strings({"reasoning_tokens": "8"}))
    assert [(part.kind, len(part.tokens)) for part in content.parts] == [("reasoning", 3)]


@pytest.mark.parametrize(
    ("text", "name"),
    [("Find the order 17", "find_order"), ("pay it", "pay"), ("the invoice, please", "pay"), ("hello", "find_order")],
)
def test_the_tool_with_most_words_of_the_message_is_called(text: str, name: str) -> None:
    (call,) = compose(Wanted(text=text, tools=TOOLS), SIMULATION).list_calls()
    assert (call.tokens[0], json.loads(call.text)) == (name, {})


def test_what_ends_by_itself_has_no_limit_unless_one_is_asked_for() -> None:
    wanted = Wanted(text=" ".join(["word"] * 8), schema={"type": "array", "items": {"type": "string"}, "minItems": 9})
    content = compose(wanted, SIMULATION)
    assert (content.tokens > SIMULATION.default_max_tokens, content.ending) == (True, "stop")
    assert len(json.loads(content.join("text"))) == 9


def test_a_limit_cuts_calls_too() -> None:
    content = compose(Wanted(tools=TOOLS, max_tokens=1), SIMULATION)
    assert ([part.tokens for part in content.parts], content.ending) == ([("find_order",)], "length")


@pytest.mark.parametrize(
    ("stop", "text", "word"),
    [
        (("days",), "Within thirty ", "days"),
        (("irt",), "Within th", "irt"),
        (("days", "thirty"), "Within ", "thirty"),
        (("Within",), "", "Within"),
        (("y d",), "Within thirt", "y d"),
        (("never",), "Within thirty days.", ""),
    ],
)
def test_a_stop_word_ends_a_text_before_it_wherever_its_tokens_end(stop: tuple[str, ...], text: str, word: str) -> None:
    content = compose(Wanted(stop=stop), SIMULATION, scripted(text="Within thirty days."))
    assert (content.join("text"), content.stop_word) == (text, word)
    assert content.ending == ("stop word" if word else "stop")


def test_a_script_says_what_an_answer_is() -> None:
    call = ScriptedCall("pay", '{"order": 17}')
    content = compose(
        Wanted(tools=TOOLS), SIMULATION, scripted(reasoning="Hm.", text="I pay.", tool_calls=(call, call))
    )
    assert [part.kind for part in content.parts] == ["reasoning", "text", "call", "call"]
    assert (content.join("reasoning"), content.join("text"), content.ending) == ("Hm.", "I pay.", "tool calls")
    assert [(part.tokens[0], part.text) for part in content.list_calls()] == [("pay", '{"order": 17}')] * 2


def test_a_script_may_say_only_how_an_answer_comes() -> None:
    assert compose(Wanted(tools=TOOLS), SIMULATION, ANYTHING) == compose(Wanted(tools=TOOLS), SIMULATION)
