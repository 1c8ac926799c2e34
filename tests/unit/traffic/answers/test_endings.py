"""Which endings are known, and what an answer must carry beside one, in every protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_llmperf.traffic.answers import ollama, openai, openai_responses
from tests.helpers.arrivals import as_body, as_lines, as_stream

if TYPE_CHECKING:
    from pytest_llmperf.measurement.request import RequestTiming

ABORTED: list[object] = [
    "abort",
    "error",
    "cancelled",
    "timeout",
    "STOP",
    "end_of_service",
    "repetition",
    5,
    True,
    ["stop"],
]


def chat(ending: object, **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": ending}]}


def read_chat(ending: object, *, streamed: bool, **message: Any) -> RequestTiming:
    counts = {"usage": {"completion_tokens": message.pop("tokens", 1), "prompt_tokens": 3}}
    if not streamed:
        return openai.read(as_body({**chat(ending, **message), **counts})).timing
    events = [
        {"choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": ending}]},
        {"choices": [], **counts},
    ]
    return openai.read(as_stream(*events, "[DONE]")).timing


CALL = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("stop", {"content": "Yes"}),
        ("length", {"content": "Yes"}),
        ("content_filter", {"content": "Yes"}),
        ("length", {"reasoning_content": "Hm"}),
        ("eos", {"content": "Yes"}),
        ("eos_token", {"content": "Yes"}),
        ("stop_sequence", {"content": "Yes"}),
        ("model_length", {"content": "Yes"}),
        ("stop", {"refusal": "I cannot help with that"}),
        ("tool_calls", {"tool_calls": [CALL]}),
        ("stop", {"tool_calls": [CALL]}),
        ("function_call", {"function_call": {"name": "f", "arguments": "{}"}}),
        ("tool_calls", {"tool_calls": [{"index": 0, "type": "custom", "custom": {"name": "f", "input": "x"}}]}),
    ],
)
def test_a_known_ending_and_something_answered_count(ending: str, message: dict[str, Any], *, streamed: bool) -> None:
    timing = read_chat(ending, streamed=streamed, **message)
    assert (timing.error, timing.finish_reason) == (None, ending)


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("ending", ABORTED)
def test_an_unknown_ending_is_a_failed_request_that_names_it(ending: object, *, streamed: bool) -> None:
    error = read_chat(ending, streamed=streamed, content="Yes").error
    assert error == f"the {'stream' if streamed else 'answer'} ended with {ending!r}"


@pytest.mark.parametrize("ending", [None, "", 0, False, {}])
def test_no_ending_at_all_is_a_failed_request(ending: object) -> None:
    assert read_chat(ending, streamed=True, content="Yes").error == "the stream ended without a finish reason"
    assert read_chat(ending, streamed=False, content="Yes").error == "the answer ended without a finish reason"


def test_an_unknown_ending_is_not_mended_by_what_follows() -> None:
    events = [chat(ending, content="a") for ending in ("abort", "stop")]
    assert openai.read(as_stream(*events)).timing.error == "the stream ended with 'abort'"


@pytest.mark.parametrize("after", [{"content": "b"}, {"reasoning": "Hm"}, {"tool_calls": [CALL]}])
def test_an_answer_that_goes_on_after_its_end_is_a_failed_request(after: dict[str, Any]) -> None:
    events = [chat("stop", content="a"), chat(None, **after), chat("stop")]
    error = openai.read(as_stream(*events)).timing.error or ""
    assert error.startswith("more of the answer came after it had ended with 'stop'")


@pytest.mark.parametrize(
    ("endings", "counts"),
    [
        (("length", "stop"), "length"),
        (("stop", "length"), "length"),
        (("tool_calls", "stop"), "tool_calls"),
        ((None, "", "stop", None), "stop"),
    ],
)
def test_no_other_ending_is_replaced_by_stop(endings: tuple[str | None, ...], counts: str) -> None:
    events = [chat(ending) for ending in endings]
    timing = openai.read(as_stream(chat(None, content="a"), *events)).timing
    assert (timing.finish_reason, timing.error) == (counts, None)


def test_an_ending_that_is_said_twice_is_one() -> None:
    events = [chat(None, content="a"), chat("stop"), {**chat("stop"), "usage": {"completion_tokens": 1}}]
    assert openai.read(as_stream(*events, "[DONE]")).timing.error is None


MODELS = [("a", "b"), ("llama-3", "llama-3-70b")]


@pytest.mark.parametrize(("first", "later"), MODELS)
def test_a_model_that_takes_the_place_of_another_is_a_failed_request(first: str, later: str) -> None:
    texts = [{"choices": [{"text": "a", "finish_reason": None}], "model": name} for name in (first, first, later)]
    created = {"type": "response.created", "response": {"status": "in_progress", "model": first}}
    completed = {"type": "response.completed", "response": response("completed", [], model=later)}
    answers = [
        openai.read(as_stream(*texts, chat("stop"))),
        ollama.read(as_lines({"response": "a", "model": first}, {"done": True, "done_reason": "stop", "model": later})),
        openai_responses.read(as_stream(created, {"type": "response.output_text.delta", "delta": "a"}, completed)),
    ]
    assert {answer.timing.error for answer in answers} == {f"two models answered: {first!r}, then {later!r}"}
    assert {answer.timing.model for answer in answers[:2]} == {first}


def test_the_usage_of_a_gateway_may_name_the_model_otherwise() -> None:
    events = [{**chat(None, content="a"), "model": "a"}, chat("stop"), {"choices": [], "usage": {}, "model": "x/a"}]
    assert openai.read(as_stream(*events)).timing.error is None


def test_a_model_that_not_every_event_names_is_one() -> None:
    texts = [{"choices": [{"text": "a", "finish_reason": None}], "model": name} for name in ("", None, "a", "a", None)]
    timing = openai.read(as_stream(*texts, chat("stop"))).timing
    assert (timing.error, timing.model) == (None, "a")


def test_an_empty_ending_on_the_way_is_none() -> None:
    events = [chat(ending, content="a") for ending in ("", None, "stop")]
    assert openai.read(as_stream(*events)).timing.error is None


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("message", [{}, {"content": ""}, {"content": None, "tool_calls": []}, {"content": []}])
@pytest.mark.parametrize(("ending", "tokens"), [("stop", 1), ("stop", 0), ("length", 50), ("content_filter", 0)])
def test_an_answer_with_nothing_in_it_is_a_failed_request(
    ending: str, tokens: int, message: dict[str, Any], *, streamed: bool
) -> None:
    error = read_chat(ending, streamed=streamed, tokens=tokens, **message).error
    counted = f"{tokens} token{'' if tokens == 1 else 's'}"
    assert error == f"the answer is empty: it ended with {ending!r} after {counted}"


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("tokens", [1, 3])
def test_an_answer_that_was_cut_within_its_first_character_counts(tokens: int, *, streamed: bool) -> None:
    assert read_chat("length", streamed=streamed, tokens=tokens, content="").error is None


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"id": "x", "object": "chat.completion"}])
def test_a_body_without_an_answer_is_a_failed_request_that_shows_it(body: dict[str, Any]) -> None:
    error = openai.read(as_body(body)).timing.error or ""
    assert error.startswith("status 200 without an answer: {")


def test_a_status_without_a_body_is_no_answer() -> None:
    assert openai.read(as_body(b"", status=204)).timing.error == (
        "the server sent something that is not a JSON object: ''"
    )


# -------------------------------------------------------------------------------------------------------------- Ollama


@pytest.mark.parametrize("ending", ABORTED)
def test_an_unknown_ending_of_ollama_is_a_failed_request(ending: object) -> None:
    line = {"response": "Yes", "done": True, "done_reason": ending, "eval_count": 1, "prompt_eval_count": 3}
    for timing in (ollama.read(as_lines(line)).timing, ollama.read(as_body(line)).timing):
        assert timing.error == f"the answer ended with {ending!r}"


def test_ollama_without_a_reason_has_not_ended_well() -> None:
    # The server leaves the reason out when the connection to its runner was closed.
    timing = ollama.read(as_lines({"response": "Yes", "done": True, "eval_count": 1})).timing
    assert timing.error == "the answer ended without a finish reason"


@pytest.mark.parametrize("ending", ["load", "unload"])
def test_an_answer_of_ollama_that_ends_as_a_load_does_is_a_failed_request(ending: str) -> None:
    line = {"response": "Yes", "done": True, "done_reason": ending, "eval_count": 1}
    for timing in (ollama.read(as_lines(line)).timing, ollama.read(as_body(line)).timing):
        assert (timing.finish_reason, timing.error) == (None, f"the answer ended with {ending!r}")


@pytest.mark.parametrize(("first", "then"), [("abort", "stop"), ("stop", "abort"), ("stop", "stop")])
def test_lines_of_ollama_after_its_end_mend_nothing(first: str, then: str) -> None:
    lines = [{"response": "a", "done": True, "done_reason": ending, "eval_count": 1} for ending in (first, then)]
    timing = ollama.read(as_lines(*lines)).timing
    assert (timing.error or "").startswith("more came after the answer had ended: {")
    assert timing.finish_reason == first


@pytest.mark.parametrize("call", [{}, {"function": {}}, {"function": {"name": "", "arguments": ""}}, None, "f"])
def test_a_tool_call_without_a_name_is_nothing(call: object) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"choices": [{"message": message, "finish_reason": "tool_calls"}]}
    assert openai.read(as_body(body)).timing.error == "the answer is empty: it ended with 'tool_calls'"
    line = {"message": message, "done": True, "done_reason": "stop", "eval_count": 9}
    assert ollama.read(as_lines(line)).timing.error == "the answer is empty: it ended with 'stop' after 9 tokens"


def test_an_empty_answer_of_ollama_is_a_failed_request() -> None:
    line = {"message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 1}
    assert ollama.read(as_lines(line)).timing.error == "the answer is empty: it ended with 'stop' after 1 token"


@pytest.mark.parametrize("line", [{}, {"model": "x"}, {"status": "success"}])
def test_an_answer_of_ollama_that_is_none_is_shown(line: dict[str, Any]) -> None:
    assert (ollama.read(as_body(line)).timing.error or "").startswith("status 200 without an answer: {")


# ----------------------------------------------------------------------------------------------------------- Responses


def response(status: object, output: object, **more: Any) -> dict[str, Any]:
    return {"object": "response", "status": status, "output": output, "usage": {"output_tokens": 1}, **more}


def message(**part: Any) -> list[dict[str, Any]]:
    return [{"type": "message", "content": [part]}]


@pytest.mark.parametrize(
    "output",
    [
        message(type="output_text", text="Yes"),
        message(type="refusal", refusal="No"),
        [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}],
        [{"type": "function_call", "name": "f", "arguments": "{}"}],
    ],
)
def test_text_refusal_reasoning_and_calls_are_answers_of_responses(output: object) -> None:
    assert openai_responses.read(as_body(response("completed", output))).timing.error is None


@pytest.mark.parametrize("output", [None, [], message(type="output_text", text=""), {"type": "message"}, [None]])
def test_a_response_with_nothing_in_it_is_a_failed_request(output: object) -> None:
    timing = openai_responses.read(as_body(response("completed", output))).timing
    assert timing.error == "the answer is empty: it ended with 'stop' after 1 token"


@pytest.mark.parametrize("status", ["failed", "cancelled", "in_progress", "queued", "aborted", 5, None])
def test_other_statuses_of_responses_are_failed_requests(status: object) -> None:
    timing = openai_responses.read(as_body(response(status, message(type="output_text", text="Yes")))).timing
    named = status if isinstance(status, str) else "not stated"
    assert timing.error == f"the answer ended unfinished, its status is {named}"


def test_a_response_that_is_completed_and_states_why_it_is_not_is_a_failed_request() -> None:
    whole = response("completed", message(type="output_text", text="Yes"), incomplete_details={"reason": "max_tokens"})
    assert openai_responses.read(as_body(whole)).timing.error == (
        "the answer ended unfinished, its status is completed for the reason 'max_tokens'"
    )


@pytest.mark.parametrize("status", ["incomplete", "failed"])
def test_a_completed_response_with_a_message_that_is_not_is_a_failed_request(status: str) -> None:
    [part] = message(type="output_text", text="Yes")
    error = openai_responses.read(as_body(response("completed", [{**part, "status": status}]))).timing.error
    assert error == f"the answer ended unfinished, its status is completed for the reason {status!r}"
    whole = response("incomplete", [{**part, "status": status}], incomplete_details={"reason": "max_output_tokens"})
    assert openai_responses.read(as_body(whole)).timing.error is None


@pytest.mark.parametrize("name", ["response.failed", "response.cancelled", "response.incomplete", "response.lost"])
def test_an_event_that_names_a_worse_ending_than_its_status_is_believed(name: str) -> None:
    last = {"type": name, "response": response("completed", [])}
    timing = openai_responses.read(as_stream({"type": "response.output_text.delta", "delta": "Yes"}, last)).timing
    assert timing.error == f"the answer ended unfinished, its status is completed in the event {name!r}"


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_a_response_that_ends_twice_is_a_failed_request(status: str) -> None:
    ends = [{"type": f"response.{name}", "response": response(name, [])} for name in (status, "completed")]
    timing = openai_responses.read(as_stream({"type": "response.output_text.delta", "delta": "Yes"}, *ends)).timing
    assert timing.error == f"the answer ended twice: with response.{status}, then with response.completed"


def test_a_response_whose_text_came_in_its_events_only_counts() -> None:
    last = {"type": "response.completed", "response": response("completed", [])}
    answer = openai_responses.read(as_stream({"type": "response.output_text.delta", "delta": "Yes"}, last, "[DONE]"))
    assert (answer.timing.error, answer.text) == (None, "Yes")
