"""What servers count, held against what came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from pytest_llmperf.traffic.answers.usage import read_usage
from tests.helpers.arrivals import as_body, as_lines, as_stream
from tests.helpers.written_answers import ms

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

WORDS = (" the", " sea", " is", " blue")
NO_COUNTS: list[Any] = [True, 4.0, 4.5, -1, 2**53 + 1, 10**400, "4", [4], {"tokens": 4}]


def chat(*pieces: tuple[str, str] | str, usage: object, finish: str = "stop", **arrival: Any) -> RequestTiming:
    """A stream of text, or of (field, text), and at its end the usage."""
    deltas = [{"content": piece} if isinstance(piece, str) else {piece[0]: piece[1]} for piece in pieces]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    return openai.read(as_stream(*events, last, {"choices": [], "usage": usage}, "[DONE]", **arrival)).timing


def counted(output: object, **details: object) -> dict[str, object]:
    return {"completion_tokens": output, "prompt_tokens": 3, **details}


def reasoned(reasoning: int) -> dict[str, object]:
    return {"completion_tokens_details": {"reasoning_tokens": reasoning}}


# ------------------------------------------------------------------------------------------------- what is a number


@pytest.mark.parametrize("value", NO_COUNTS)
def test_what_is_no_whole_number_of_tokens_is_no_count(value: object) -> None:
    timing = chat(*WORDS, usage=counted(value))
    assert (timing.output_tokens, timing.error) == (None, None)
    assert timing.count_fault.startswith("the server counted completion_tokens: ")
    for usage in ({"output_tokens": value}, {"prompt_tokens": value}, {"input_tokens": value}):
        assert read_usage(usage).fault
    line = {"response": "a", "done": True, "done_reason": "stop", "eval_count": value, "prompt_eval_count": 3}
    assert ollama.read(as_lines(line)).timing.count_fault.startswith("the server counted eval_count: ")


def test_the_largest_count_is_one() -> None:
    assert read_usage(counted(2**53)).output == 2**53


def test_a_count_that_is_left_out_is_no_fault() -> None:
    assert chat(*WORDS, usage=None).count_fault == ""
    assert chat(*WORDS, usage={"completion_tokens": None}).count_fault == ""


# ------------------------------------------------------------------------------------------------ tokens and chunks


def test_four_chunks_hold_no_thousand_tokens() -> None:
    assert chat(*WORDS, usage=counted(1000)).count_fault == (
        "the server counted 1000 tokens, and the 4 chunks that came have 16 bytes of text"
    )


@pytest.mark.parametrize("tokens", [1, 2, 3])
def test_fewer_tokens_than_chunks_are_a_fault(tokens: int) -> None:
    said = f"the server counted {tokens} token{'' if tokens == 1 else 's'}, and 4 chunks came"
    assert chat(*WORDS, usage=counted(tokens)).count_fault == said


@pytest.mark.parametrize("tokens", [4, 5, 12])
def test_an_end_of_sequence_and_several_tokens_a_chunk_are_no_fault(tokens: int) -> None:
    assert chat(*WORDS, usage=counted(tokens)).count_fault == ""


def test_the_token_that_ends_the_reasoning_may_come_as_two_chunks() -> None:
    assert chat(("reasoning", "Hm"), ("reasoning", "."), "Yes", usage=counted(2)).count_fault == ""


def test_parts_of_tool_calls_are_no_tokens() -> None:
    calls = [{"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]} for _ in range(9)]
    events = [{"choices": [{"delta": call, "finish_reason": None}]} for call in calls]
    last = {"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": counted(3)}
    assert openai.read(as_stream(*events, last)).timing.count_fault == ""


def test_tokens_without_text_that_each_had_an_event_are_no_fault() -> None:
    # A model that was told to ignore the end may go on with tokens that have no text.
    assert chat("Yes", *[""] * 200, usage=counted(200), finish="length").count_fault == ""


def test_a_running_count_above_the_last_one_is_a_fault() -> None:
    events = [{"choices": [{"text": " w" * 9, "finish_reason": None}], "usage": counted(n)} for n in (9, 40)]
    last = {"choices": [{"text": "", "finish_reason": "stop"}], "usage": counted(20)}
    fault = openai.read(as_stream(*events, last)).timing.count_fault
    assert fault == "the server counted 40 tokens on the way, and 20 at the end"


def test_a_running_count_beyond_all_bounds_is_none() -> None:
    events = [{"choices": [{"text": " w", "finish_reason": None}], "usage": counted(n)} for n in (2**33, 2**34)]
    timing = openai.read(as_stream(*events, {"choices": [{"text": "", "finish_reason": "stop"}]})).timing
    assert [chunk.tokens for chunk in timing.chunks] == [None, None]
    assert timing.count_fault


def test_the_counts_of_ollama_and_of_responses_are_held_against_their_chunks() -> None:
    end = {"response": "", "done": True, "done_reason": "stop", "eval_count": 1000, "prompt_eval_count": 3}
    assert ollama.read(as_lines(*({"response": word} for word in WORDS), end)).timing.count_fault
    deltas = [{"type": "response.output_text.delta", "delta": word} for word in WORDS]
    response = {"status": "completed", "usage": {"output_tokens": 1000, "input_tokens": 3}}
    answer = openai_responses.read(as_stream(*deltas, {"type": "response.completed", "response": response}))
    assert answer.timing.count_fault == (
        "the server counted 1000 tokens, and the 4 chunks that came have 16 bytes of text"
    )


# ------------------------------------------------------------------------------------- reasoning that was not streamed


@pytest.mark.parametrize(
    "details",
    [
        reasoned(996),
        {"output_tokens_details": {"reasoning_tokens": 996}},
        {"reasoning_tokens": 996},
    ],
)
def test_reasoning_that_was_counted_and_not_streamed_is_told_apart(details: dict[str, object]) -> None:
    timing = chat(*WORDS, usage=counted(1000, **details))
    assert (timing.output_tokens, timing.hidden_tokens, timing.visible_tokens, timing.count_fault) == (1000, 996, 4, "")
    assert timing.ttft is None
    assert (ms(timing.ttft_answer), ms(timing.tpot), ms(timing.e2e)) == (10, 10, 40)
    assert [ms(gap) for gap in timing.itl or ()] == [10, 10, 10]


def test_hidden_reasoning_in_a_running_count_is_taken_off_the_first_chunk() -> None:
    events = [
        {"choices": [{"text": word, "finish_reason": None}], "usage": counted(996 + n, **reasoned(996))}
        for n, word in enumerate(WORDS, start=1)
    ]
    timing = openai.read(as_stream(*events, {"choices": [{"text": "", "finish_reason": "stop"}]})).timing
    assert (timing.hidden_tokens, timing.tokens_per_chunk, timing.count_fault) == (996, [1, 1, 1, 1], "")


def test_reasoning_that_was_streamed_is_not_hidden() -> None:
    timing = chat(("reasoning", "Hm"), ("reasoning", " well"), "Yes", usage=counted(4, **reasoned(3)))
    assert (timing.hidden_tokens, timing.count_fault, ms(timing.ttft)) == (0, "", 10)


def test_reasoning_that_was_streamed_in_part_is_a_fault() -> None:
    usage = counted(1000, **reasoned(990))
    fault = chat(("reasoning", "Hm"), *[" words" * 200], usage=usage).count_fault
    assert fault == "the server counted 990 tokens of reasoning, and 2 bytes of reasoning came"


def test_reasoning_that_came_as_text_is_not_hidden() -> None:
    timing = chat("<think>", "hm", "</think>", "Yes", usage=counted(5, **reasoned(3)))
    assert (timing.hidden_tokens, timing.count_fault) == (0, "")


def test_a_server_that_leaves_the_reasoning_out_of_its_output_is_understood() -> None:
    timing = chat(*WORDS, usage=counted(4, total_tokens=307, **reasoned(300)))
    assert (timing.output_tokens, timing.hidden_tokens, timing.count_fault) == (304, 300, "")


def test_more_reasoning_than_output_is_a_fault() -> None:
    fault = chat(*WORDS, usage=counted(4, total_tokens=7, **reasoned(300))).count_fault
    assert fault == "the server counted 300 tokens of reasoning among 4 tokens"


def test_a_placeholder_does_not_stand_for_hundreds_of_tokens_of_reasoning() -> None:
    for chunk in ("...", "Thinking about it" * 30):
        usage = counted(500, **reasoned(300))
        fault = chat(("reasoning", chunk), *[" word"] * 200, usage=usage).count_fault
        assert fault in (
            "the server counted 300 tokens of reasoning, and 3 bytes of reasoning came",
            "the server counted 300 of 500 tokens as reasoning, which came in 1 chunk, and the others in 200",
        )


@pytest.mark.parametrize(
    ("reasoning", "others", "tokens"), [(1, 20, 16), (30, 20, 1), (4, 4, 40), (1, 0, 300)], ids=str
)
def test_chunks_of_reasoning_may_hold_as_many_tokens_as_the_others_do(reasoning: int, others: int, tokens: int) -> None:
    thought = reasoning * tokens
    shown = others * (tokens if others == reasoning else 1)
    usage = counted(thought + shown, **reasoned(thought))
    pieces = [("reasoning", " word" * tokens)] * reasoning + [("content", " word" * tokens)] * others
    assert chat(*pieces, usage=usage).count_fault == ""


# ---------------------------------------------------------------------------------------------------- whole answers


def whole(text: str, usage: dict[str, object], message: dict[str, object] | None = None, **arrival: Any) -> str:
    choice = {"message": {"content": text, **(message or {})}, "finish_reason": "stop"}
    return openai.read(as_body({"choices": [choice], "usage": usage}, **arrival)).timing.count_fault


def test_a_whole_answer_of_three_characters_has_no_500_tokens() -> None:
    assert whole("Yes", counted(500)) == "the server counted 500 tokens, and the answer has 3 bytes of text"
    line = {"response": "Yes", "done": True, "done_reason": "stop", "eval_count": 500, "prompt_eval_count": 3}
    assert ollama.read(as_body(line)).timing.count_fault.startswith("the server counted 500 tokens")
    response = {"status": "completed", "usage": {"output_tokens": 500}, "output": [{"type": "message", "content": "a"}]}
    assert openai_responses.read(as_body(response)).timing.count_fault.startswith("the server counted 500 tokens")


def test_reasoning_that_is_counted_need_not_be_in_a_whole_answer() -> None:
    assert whole("Yes", counted(500, **reasoned(499))) == ""
    assert whole("Yes", counted(500, **reasoned(300)))
    assert whole("Yes", counted(500), {"reasoning": "words " * 100}) == ""


def test_tokens_without_text_in_a_whole_answer_are_no_fault() -> None:
    assert whole("Yes", counted(17)) == ""
    assert whole("\N{GRINNING FACE}", counted(12)) == ""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert whole("", counted(60), {"tool_calls": [call]}) == ""
    assert whole("Yes", counted(500), full_length=True) == ""


def ended(at_the_end: int, later: dict[str, object], **event: object) -> RequestTiming:
    """A stream whose chunk with the finish reason states one count, and whose last event another."""
    chunk = {"choices": [{"delta": {"content": "a b c d e f g h i " * 4}}]}
    end = {"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": counted(at_the_end)}
    return openai.read(as_stream(chunk, end, {"choices": [], "usage": later, **event})).timing


def test_two_counts_of_one_answer_that_differ_are_a_fault() -> None:
    assert ended(9, counted(60)).count_fault == "the server counted the answer twice: 9 and 60 tokens"
    assert ended(60, counted(9)).count_fault == "the server counted the answer twice: 60 and 9 tokens"
    beside = ended(0, counted(60), timings={"predicted_n": 9})
    assert beside.count_fault == "the server counted the answer twice: 9 and 60 tokens"


@pytest.mark.parametrize("at_the_end", [0, 9, 10])
def test_a_count_that_grows_by_the_end_of_the_sequence_is_no_fault(at_the_end: int) -> None:
    assert ended(at_the_end, counted(10), timings={"predicted_n": 10}).count_fault == ""


def test_a_count_that_grows_by_the_reasoning_is_no_fault() -> None:
    assert ended(9, {**counted(60), **reasoned(51)}).count_fault == ""


# ---------------------------------------------------------------------------------------- two counts of one answer

TWICE = "the server counted the answer twice: 90 and 2 tokens"
BESIDE: list[dict[str, Any]] = [{"timings": {"predicted_n": 90}}, {"x_groq": {"usage": {"completion_tokens": 90}}}]
ENDED: dict[str, Any] = {"choices": [{"index": 0, "text": " sea", "finish_reason": "stop"}]}


@pytest.mark.parametrize("beside", BESIDE, ids=["timings", "x_groq"])
def test_two_counts_of_one_answer_contradict_each_other_in_each_protocol(beside: dict[str, Any]) -> None:
    begun = {"choices": [{"index": 0, "text": " the"}]}
    whole: dict[str, Any] = {"status": "completed", "output": [{"type": "message", "content": [{"text": " the sea"}]}]}
    whole |= {"usage": {"output_tokens": 2}}
    deltas = [{"type": "response.output_text.delta", "delta": word} for word in (" the", " sea")]
    ended = {"type": "response.completed", "response": whole}
    line = {"response": " the sea", "done": True, "done_reason": "stop", "eval_count": 2, "prompt_eval_count": 1}
    answers = [
        openai.read(as_stream(begun, {**ENDED, "usage": counted(2), **beside}, "[DONE]")),
        openai.read(as_stream(begun, {**ENDED, "usage": counted(2)}, {"choices": [], **beside}, "[DONE]")),
        openai.read(as_body({**ENDED, "usage": counted(2), **beside})),
        openai_responses.read(as_stream(*deltas, {**ended, **beside})),
        openai_responses.read(as_stream(*deltas, {**ended, "response": {**whole, **beside}})),
        openai_responses.read(as_body({**whole, **beside})),
        ollama.read(as_lines({"response": "", "done": False}, {**line, **beside})),
        ollama.read(as_body({**line, "usage": {"completion_tokens": 90}})),
    ]
    # Of two that came one after the other, the last one in a usage counts.
    turned = TWICE.replace("90 and 2", "2 and 90")
    assert [answer.timing.count_fault.replace(turned, TWICE) for answer in answers] == [TWICE] * len(answers)


def test_a_count_in_a_choice_is_held_against_the_one_of_the_answer() -> None:
    choice = {**ENDED["choices"][0], "usage": {"completion_tokens": 90}}
    assert openai.read(as_body({"choices": [choice], "usage": counted(2)})).timing.count_fault == TWICE


def test_a_count_on_the_way_is_no_more_than_the_one_at_the_end_in_each_protocol() -> None:
    going = {"type": "response.in_progress", "response": {"status": "in_progress", "usage": {"output_tokens": 90}}}
    delta = {"type": "response.output_text.delta", "delta": " the sea"}
    whole = {"status": "completed", "output": [], "usage": {"output_tokens": 2}}
    line = {"response": " sea", "done": True, "done_reason": "stop", "eval_count": 2}
    answers = [
        openai_responses.read(as_stream(going, delta, {"type": "response.completed", "response": whole})),
        ollama.read(as_lines({"response": " the", "done": False, "eval_count": 90}, line)),
    ]
    fault = "the server counted 90 tokens on the way, and 2 at the end"
    assert [answer.timing.count_fault for answer in answers] == [fault, fault]


@pytest.mark.parametrize("other", [1, 2, 0])
def test_counts_that_leave_out_the_end_or_were_not_made_do_not_contradict(other: int) -> None:
    line = {"response": " the sea", "done": True, "done_reason": "stop", "eval_count": 2}
    assert ollama.read(as_body({**line, "timings": {"predicted_n": other}})).timing.count_fault == ""
