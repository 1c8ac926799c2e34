"""Each published format is told from its content and means what its own documentation says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf import workload_file
from tests.helpers.file_loads import outputs, prompts, scripts, times, words

if TYPE_CHECKING:
    from pathlib import Path

USER = {"role": "user", "content": "hello"}
CHAT = {"model": "gpt-4o-mini", "messages": [USER], "max_tokens": 9, "temperature": 0.7, "stream": False}


def batch(body: dict[str, Any], url: str = "/v1/chat/completions", **changed: Any) -> dict[str, Any]:
    return {"custom_id": "r-1", "method": "POST", "url": url, "body": body, **changed}


def lines(*entries: object) -> str:
    return "\n".join(map(json.dumps, entries))


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def read(text: str, **arguments: Any) -> Any:
        path = tmp_path / "f"
        path.write_text(text, encoding="utf-8")
        return workload_file(path, **arguments)

    return read


def refusal(load: Any, text: str, **arguments: Any) -> str:
    with pytest.raises(ValueError, match=r"^f\b") as error:
        load(text, **arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


# -------------------------------------------------------------------------------------------------------------- bodies


def test_a_batch_of_openai_is_sent_with_its_own_fields_to_the_model_of_the_engine(load: Any) -> None:
    body = {**CHAT, "response_format": {"type": "json_object"}, "max_completion_tokens": 9}
    (script,) = scripts(found := load(lines(batch(body))))
    assert script.turns[0].content == [USER]
    assert script.turns[0].output_tokens == 9
    assert script.turns[0].fields == {"temperature": 0.7, "response_format": {"type": "json_object"}}
    assert found.chat
    assert str(found).endswith("not used: model, stream")


def test_a_batch_of_completions_is_sent_as_prompts(load: Any) -> None:
    found = load(lines(batch({"prompt": "a"}, "/v1/completions"), batch({"prompt": "b", "n": None}, "/v1/completions")))
    assert (prompts(found), found.chat) == (["a", "b"], False)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (batch({"input": "a"}, "/v1/embeddings"), "url is '/v1/embeddings': it must be /v1/chat/completions or "),
        (batch(CHAT, method="GET"), "method is 'GET'"),
        (batch(CHAT, priority=1), "unknown key 'priority'; an entry of a batch has"),
        (batch({"prompt": "a"}), "body has no messages, which /v1/chat/completions needs"),
        (batch({**CHAT, "max_token": 9}), "unknown key 'max_token'; did you mean max_tokens?"),
        (batch({**CHAT, "colour": 9}), "unknown key 'colour'; it is no field of a request"),
        (batch({**CHAT, "n": 2}), "n is 2: several answers"),
        (batch({**CHAT, "max_completion_tokens": 8}), "max_tokens and max_completion_tokens both say"),
        (batch({**CHAT, "temperature": float("nan")}), "Out of range float values are not JSON compliant"),
        (batch([]), "body is []: it must be an object"),  # type: ignore[arg-type]
        ({"payload": CHAT, "output_length": 7}, "max_tokens and output_length both say how long the answer is"),
        (
            {"payload": {"prompt": "a", "messages": [USER]}},
            "a body has messages or a prompt; this one has messages",
        ),
    ],
)
def test_a_body_that_cannot_be_sent_as_it_is_is_refused(entry: object, message: str, load: Any) -> None:
    assert refusal(load, lines(entry)).startswith(f"f:1: {message}")


def test_the_payloads_of_aiperf_are_whole_requests(load: Any) -> None:
    assert outputs(load(lines({"payload": {"prompt": "a"}, "output_length": 7}))) == [7]
    found = load(lines({"timestamp": 0.5, "payload": CHAT}, {"timestamp": 50, "payload": CHAT}))
    assert (outputs(found), times(found)) == ([9, 9], [0.0, 0.0495])
    raw = load(lines(CHAT, {**CHAT, "top_p": 0.5}))
    assert [script.turns[0].fields for script in scripts(raw)] == [
        {"temperature": 0.7},
        {"temperature": 0.7, "top_p": 0.5},
    ]


@pytest.mark.parametrize("indent", [None, 2])
def test_the_inputs_of_aiperf_are_read_session_by_session(indent: int | None, load: Any) -> None:
    data = [{"session_id": "a", "payloads": [CHAT, CHAT]}, {"session_id": "b", "payloads": [CHAT]}]
    found = load(json.dumps({"version": 1.0, "data": data, "more": [1, {}]}, indent=indent))
    assert found.requests == 3
    assert str(found).endswith("not used: session_id, model, stream")


# ------------------------------------------------------------------------------------------------------------- prompts


@pytest.mark.parametrize(
    ("entry", "prompt", "output"),
    [
        ({"prompt": "a", "output_tokens": 3}, "a", 3),
        ({"text": "a", "output_length": 3, "type": "single_turn"}, "a", 3),
        ({"texts": ["a"], "session_id": "s"}, "a", 5),
        ({"text_input": "a", "output_length": 3}, "a", 3),
        ({"question": "a", "output_tokens_count": 3, "prompt_tokens_count": 1}, "a", 3),
        ({"instruction": "a", "completion_tokens_count": 3}, "a", 3),
        ({"prompt": "a", "system_prompt": "b"}, [{"role": "system", "content": "b"}, {**USER, "content": "a"}], 5),
        ({"messages": [USER], "tools": [{"type": "function"}], "output_length": 3}, [USER], 3),
        ({"id": 1, "question_id": 81, "category": "writing", "prompt": "a"}, "a", 5),
    ],
)
def test_a_prompt_has_the_names_that_load_tools_give_it(entry: Any, prompt: Any, output: int, load: Any) -> None:
    found = load(lines(entry), output_tokens=5)
    assert (prompts(found), outputs(found)) == ([prompt], [output])


def test_what_a_format_says_beside_is_named_and_not_used(load: Any) -> None:
    entries = [{"session_id": "s", "text_input": "a", "delay": 20, "timestamp": at} for at in (0, 0.5)]
    found = load(lines(*entries))
    assert times(found) == [0.0, 0.0005]
    assert str(found).endswith(", not used: session_id, delay")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"text": "a", "images": ["b"]}, "key 'images': images, audio and video in files are not sent"),
        ({"id": "a", "block_size": 64, "requests": []}, "unknown key 'block_size'"),
        ({"id": "a", "requests": [{"t": 0, "in": 9, "out": 9}]}, "key 'requests': traces of WEKA are not read"),
        ({"text": "a", "texts": ["b"]}, "an entry has one of"),
        ({"texts": ["a", "b"]}, "texts is ['a', 'b']: it must be a list of one text"),
        ({"text": "a", "role": "system"}, "role is 'system'"),
        ({"text": "a", "type": "speed_bench"}, "type is 'speed_bench': known are single_turn, "),
        ({"messages": [USER], "message_mode": "delta"}, "message_mode is 'delta': give turns"),
        ({"text": "a", "delay": -1}, "delay is -1: it must be a finite number"),
        ({"text": "a", "extra": {"stream": False}}, "extra has stream, which is not one of its fields"),
        ({"text": "a", "extra": []}, "extra is []: it must be an object"),
        ({"prompt": "a", "prefix": "b", "system": "c"}, "prefix and system both give the message of the system"),
        ({"input_length": 9, "prefix": "b"}, "prefix beside input_length is not read: leave it out"),
        ({"prompt": "a", "tools": []}, "tools beside prompt is not read"),
        ({"prompt": "\ud800"}, "a text has half of a character"),
    ],
)
def test_what_is_not_read_is_refused_by_name(entry: object, message: str, load: Any) -> None:
    assert refusal(load, lines(entry)).startswith(f"f:1: {message}")


def test_prompts_may_be_sent_as_messages(load: Any) -> None:
    mixed = lines({"prompt": "a"}, {"messages": [USER]})
    assert load(mixed, chat=True).chat
    assert "mixes prompts and messages" in refusal(load, mixed)
    with pytest.raises(ValueError, match=r"^chat=False: f has messages"):
        load(mixed, chat=False)


# --------------------------------------------------------------------------------------------------------------- turns


def test_the_turns_of_aiperf_follow_the_answers_after_their_delay(load: Any) -> None:
    turns = [{"text": "a", "output_length": 3, "timestamp": 500}, {"text": "b", "delay": 250}]
    second = [{"text": "c", "timestamp": 700}]
    found = load(lines({"session_id": "s", "turns": turns}, {"turns": second}), output_tokens=5)
    assert (found.requests, found.chat, times(found)) == (3, True, [0.0, 0.2])
    first = scripts(found)[0]
    assert [turn.output_tokens for turn in first.turns] == [3, 5]
    assert [turn.content for turn in first.turns] == [[{**USER, "content": "a"}], "b"]
    assert [turn.think_s for turn in first.turns] == [None, 0.25]
    assert first.group


def test_texts_and_numbered_prompts_are_turns(load: Any) -> None:
    asked = {"prompt_0": "a", "output_tokens_count_0": 3, "prompt_1": "b", "prefix": "c"}
    for entry in ({"turns": ["a", "b"], "question_id": 1}, asked):
        (script,) = scripts(load(lines(entry), output_tokens=5))
        assert script.turns[0].content[-1] == {**USER, "content": "a"}
        assert script.turns[1].content == "b"
    assert [turn.output_tokens for turn in script.turns] == [3, 5]
    assert script.turns[0].content[0] == {"role": "system", "content": "c"}
    (row,) = scripts(load("prompt_0,prompt_1,output_tokens_count_1\na,b,7\n"))
    assert row.turns[1].output_tokens == 7


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"turns": []}, "turns is []"),
        ({"turns": [5]}, "turns has 5: each must be a text"),
        ({"turns": [{"text": "a", "image": "b"}]}, "unknown key 'image' in turns"),
        ({"turns": [{"text": "a", "role": "assistant"}]}, "role is 'assistant' in turns"),
        ({"turns": [{"text": "a"}, {"text": "b", "timestamp": 5}]}, "timestamp in turns after the first is not read"),
        ({"turns": [{"text": "a", "delay": True}]}, "delay is True: it must be a finite number"),
        ({"turns": [{"text": "a", "timestamp": -5}]}, "timestamp is -5"),
        ({"prompt_0": "a", "prompt": "b"}, "prompt beside prompt_0 is not read"),
        ({"prompt_0": "a", "prompt-0": "b"}, "prompt-0 gives prompt of turn 0 once more"),
        ({"prompt_0": "a", "output_tokens_count_1": 5}, "prompt_1 is None"),
        ({"output_tokens_count_0": True, "prompt_0": "a"}, "output_tokens_count_0 is True"),
    ],
)
def test_turns_that_are_none_are_refused(entry: object, message: str, load: Any) -> None:
    assert refusal(load, lines(entry)).startswith(f"f:1: {message}")


# -------------------------------------------------------------------------------------------------------------- traces


def test_a_timed_trace_of_vllm_and_one_of_guidellm_need_their_unit(load: Any) -> None:
    trace = lines(*({"timestamp": at, "input_length": 30, "output_length": 4, "hash_ids": [1]} for at in (0, 1.5)))
    found = load(trace, time_unit="s", block_tokens=16)
    assert (times(found), [words(prompt) for prompt in prompts(found)]) == ([0.0, 1.5], [30, 30])
    assert "timestamp is 1.5, no whole number of milliseconds" in refusal(load, trace, block_tokens=16)


def test_a_trace_may_give_a_request_fields_of_its_own(load: Any) -> None:
    entries = [{"input_length": 9, "output_length": 2, "timestamp": 0, "extra": {"nvext": {"priority": 9}}}]
    found = load(lines(*entries, {"input_length": 8, "output_length": 2, "timestamp": 500}))
    assert [script.turns[0].fields for script in scripts(found)] == [{"nvext": {"priority": 9}}, {}]
    assert [words(prompt) for prompt in prompts(found)] == [9, 8]


def test_a_trace_of_images_is_refused_by_its_column(load: Any) -> None:
    rows = "TIMESTAMP,NumImages,ContextTokens,GeneratedTokens\n2024-10-15 00:00:00.0+00:00,2,9,9\n"
    assert refusal(load, rows).startswith("f:1: column 'NumImages': requests with images cannot be made")


def test_columns_of_load_tools_are_read_from_csv(load: Any) -> None:
    found = load('\n\nquestion,system_prompt,output_tokens_count\n"12",be kind,5\n')
    assert prompts(found) == [[{"role": "system", "content": "be kind"}, {**USER, "content": "12"}]]
    assert outputs(found) == [5]
