"""Streams written out by hand, with times in milliseconds, against the definitions in timings."""

from __future__ import annotations

import pytest

from tests.helpers.scripted_server import event
from tests.helpers.written_answers import DONE, FINISH, MS, ROLE, answer, delta, ms, text, timings, usage, whole

# --------------------------------------------------------------------------------------------------- what is a chunk


def test_a_role_only_piece_is_not_the_first_token_and_the_usage_piece_not_the_last() -> None:
    seen = answer(
        (10, ROLE),
        (50, delta(content="The")),
        (70, delta(content=" sea")),
        (80, delta(content=" is")),
        (81, delta("length")),
        (95, {"choices": [], **usage(3)}),
        (96, DONE),
    )
    assert (seen.text, seen.finish_reason, seen.timing.error) == ("The sea is", "length", None)
    assert ms(seen.timing.ttft) == 50
    assert ms(seen.timing.e2e) == 80
    assert ms(seen.timing.tpot) == 15
    assert [ms(gap) for gap in seen.timing.itl or ()] == [20, 10]
    assert seen.timing.end_ns == 96 * MS
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens) == (3, 7)
    assert seen.usage == usage(3)["usage"]


def test_empty_pieces_are_no_chunks() -> None:
    seen = answer(
        (10, text("")), (20, text("a")), (30, text("")), (40, text("b")), (50, text("", **usage(2))), (51, DONE)
    )
    assert [chunk.at_ns for chunk in seen.timing.chunks] == [20 * MS, 40 * MS]
    assert seen.text == "ab"


def test_a_chunk_that_finishes_and_carries_text_still_counts() -> None:
    seen = answer((20, delta(content="a")), (30, delta("stop", content="b")), (31, DONE))
    assert ms(seen.timing.e2e) == 30


def test_two_chunks_in_one_piece_have_one_stamp() -> None:
    seen = answer((20, event(text("a")) + event(text("b"))), (30, DONE))
    assert [chunk.at_ns for chunk in seen.timing.chunks] == [20 * MS, 20 * MS]


# --------------------------------------------------------------------------------------------------- tokens per chunk


def test_four_tokens_a_chunk_are_known_where_the_server_counts_as_it_goes() -> None:
    seen = answer(
        (10, delta(role="assistant", content="", more=usage(0))),
        (50, delta(content="abcd", more=usage(4))),
        (90, delta(content="efgh", more=usage(8))),
        (95, delta("stop", more=usage(8))),
        (96, {"choices": [], **usage(8)}),
        (97, DONE),
    )
    assert [chunk.tokens for chunk in seen.timing.chunks] == [4, 4]
    assert ms(seen.timing.tpot) == 10
    assert [ms(gap) for gap in seen.timing.itl or ()] == [0, 0, 0, 40, 0, 0, 0]


def test_four_tokens_a_chunk_are_not_guessed_where_the_server_does_not_count() -> None:
    seen = answer(
        (50, delta(content="abcd")), (90, delta(content="efgh")), (95, {"choices": [], **usage(8)}), (96, DONE)
    )
    assert [chunk.tokens for chunk in seen.timing.chunks] == [None, None]
    assert seen.timing.itl is None
    assert ms(seen.timing.tpot) == 10


def test_tokens_of_a_piece_without_text_fall_to_the_next_chunk() -> None:
    seen = answer(
        (10, delta(role="assistant", content="", more=usage(1))),
        (20, delta(content="a", more=usage(2))),
        (30, delta(content="", more=usage(3))),
        (40, delta(content="é", more=usage(4))),
        (41, delta("stop", more=usage(5))),
        (42, DONE),
    )
    assert [chunk.tokens for chunk in seen.timing.chunks] == [2, 2]
    assert seen.timing.output_tokens == 5


def test_the_running_count_of_llamacpp_is_read_from_its_timings() -> None:
    seen = answer(
        (10, ROLE),
        (20, delta(content="a", more=timings(1))),
        (30, delta(content="bc", more=timings(3))),
        (31, delta("length")),
        (32, {"choices": [], **usage(3), **timings(3)}),
        (33, DONE),
    )
    assert [chunk.tokens for chunk in seen.timing.chunks] == [1, 2]


def test_timings_on_some_chunks_only_are_no_count() -> None:
    seen = answer((20, delta(content="a")), (30, delta("stop", content="b", more=timings(2))), (31, DONE))
    assert [chunk.tokens for chunk in seen.timing.chunks] == [None, None]


def test_usage_zeros_until_the_end_are_no_count() -> None:
    seen = answer(
        (20, text("a", **usage(0, 0))), (30, text("b", **usage(0, 0))), (31, text("", **usage(2))), (32, DONE)
    )
    assert [chunk.tokens for chunk in seen.timing.chunks] == [None, None]
    assert (seen.timing.output_tokens, seen.timing.prompt_tokens) == (2, 7)


# -------------------------------------------------------------------------------------------------- counts of a request


def test_without_usage_nothing_is_counted() -> None:
    seen = answer((20, text("a", usage=None)), (30, text("b")), (31, FINISH), (32, DONE))
    timing = seen.timing
    assert (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens, seen.usage) == (None, None, None, None)
    assert timing.error is None


def test_timings_stand_in_for_a_missing_usage_with_the_cached_part_of_the_prompt() -> None:
    timing = answer((20, text("a")), (30, delta("stop", more=timings(9, prompt=5, cached=2))), (31, DONE)).timing
    assert (timing.output_tokens, timing.prompt_tokens, timing.cached_tokens) == (9, 7, 2)


def test_cached_tokens_come_from_the_details_of_the_usage() -> None:
    details = {"usage": {"completion_tokens": 1, "prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 8}}}
    assert answer((20, text("a")), (30, {"choices": [], **details}), (31, DONE)).timing.cached_tokens == 8


# ------------------------------------------------------------------------------------------------ reasoning and tools


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_comes_before_the_answer(field: str) -> None:
    def thought(words: str) -> dict[str, object]:
        return delta(None, None, **{field: words})

    seen = answer(
        (10, ROLE),
        (30, thought("Hm")),
        (50, thought("m.")),
        (70, delta(content="Yes")),
        (71, FINISH),
        (72, DONE),
    )
    assert (seen.reasoning, seen.text) == ("Hmm.", "Yes")
    assert [chunk.kind for chunk in seen.timing.chunks] == ["reasoning", "reasoning", "text"]
    assert ms(seen.timing.ttft) == 30
    assert ms(seen.timing.ttft_answer) == 70


def test_a_chunk_of_reasoning_and_text_is_text() -> None:
    seen = answer((30, delta(reasoning_content="m.", content="Yes")), (31, FINISH), (32, DONE))
    assert [chunk.kind for chunk in seen.timing.chunks] == ["text"]


def test_tool_calls_are_put_together_and_each_part_is_a_chunk() -> None:
    def part(index: int, **function: str) -> dict[str, object]:
        return {"index": index, "function": function}

    first = {"id": "c1", "type": "function", **part(0, name="weather", arguments="")}
    second = {"id": "c2", "type": "function", **part(1, name="time", arguments="{}")}
    seen = answer(
        (10, ROLE),
        (20, delta(tool_calls=[first])),
        (30, delta(tool_calls=[part(0, arguments='{"city": ')])),
        (40, delta(tool_calls=[part(0, arguments='"Rome"}')])),
        (50, delta(tool_calls=[second])),
        (60, delta("tool_calls", tool_calls=[part(1, arguments="")])),
        (61, DONE),
    )
    assert seen.tool_calls == [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ]
    assert [(chunk.at_ns // MS, chunk.kind) for chunk in seen.timing.chunks] == [
        (20, "tool"),
        (30, "tool"),
        (40, "tool"),
        (50, "tool"),
    ]
    assert ms(seen.timing.ttft) == 20


def test_tool_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    seen = whole({"choices": [{"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}]})
    assert seen.tool_calls == calls


# ------------------------------------------------------------------------------------------------------ whole answers


def test_a_whole_answer_has_no_chunks_and_ends_with_its_last_byte() -> None:
    message = {"role": "assistant", "content": "Yes", "reasoning_content": "Hm"}
    seen = whole({"choices": [{"message": message, "finish_reason": "stop"}], **usage(2)})
    assert (seen.text, seen.reasoning, seen.finish_reason) == ("Yes", "Hm", "stop")
    assert (seen.timing.chunks, seen.timing.streamed, seen.timing.output_tokens) == ((), False, 2)
    assert ms(seen.timing.e2e) == 80
    assert seen.timing.ttft is None


def test_a_whole_completion_is_read_too() -> None:
    seen = whole({"choices": [{"text": "Yes", "finish_reason": "length"}], **timings(4)})
    assert (seen.text, seen.timing.output_tokens, seen.timing.prompt_tokens) == ("Yes", 4, 7)
    assert seen.raw["timings"]["predicted_n"] == 4


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"draft_n": 9, "draft_n_accepted": 4}, (9, 4)),
        ({}, (0, 0)),  # llama.cpp leaves them out where nothing was drafted
        ({"draft_n": 4, "draft_n_accepted": 9}, (None, None)),
        ({"draft_n": "4"}, (None, None)),
        ({"draft_n": 4.0, "draft_n_accepted": -1}, (None, None)),
    ],
)
def test_drafts_are_those_of_the_timings(stated: dict[str, object], expected: tuple[int | None, int | None]) -> None:
    all_timings = {"timings": {"predicted_n": 4, "prompt_n": 5, "cache_n": 0, **stated}}
    seen = whole({"choices": [{"text": "Yes", "finish_reason": "length"}], **all_timings})
    assert (seen.timing.drafted_tokens, seen.timing.accepted_tokens) == expected


def test_a_server_without_timings_says_nothing_of_drafts() -> None:
    seen = whole({"choices": [{"text": "Yes", "finish_reason": "length"}], **usage(1)})
    assert (seen.timing.drafted_tokens, seen.timing.accepted_tokens) == (None, None)


def test_a_whole_answer_to_the_request_for_a_stream_counts_as_not_streamed() -> None:
    seen = whole({"choices": [{"text": "Yes", "finish_reason": "stop"}]}, streamed=True)
    assert (seen.text, seen.timing.streamed, seen.timing.error) == ("Yes", False, None)
