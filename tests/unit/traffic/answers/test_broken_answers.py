from __future__ import annotations

import pytest

from tests.helpers.written_answers import DONE, FINISH, answer, text, whole


def test_a_stream_without_a_finish_reason_and_without_done_is_an_error() -> None:
    seen = answer((20, text("a")), (30, text("b")))
    assert seen.timing.error == "the stream ended without a finish reason"
    assert len(seen.timing.chunks) == 2


def test_done_alone_ends_no_answer() -> None:
    assert answer((20, text("a")), (30, DONE)).timing.error == "the stream ended without a finish reason"


def test_a_finish_reason_ends_a_stream_without_done() -> None:
    assert answer((20, text("a")), (30, FINISH)).timing.error is None


@pytest.mark.parametrize(("pieces", "error"), [((), ""), (((30, DONE),), ": data: [DONE]")])
def test_a_stream_of_nothing_is_an_error(pieces: tuple[tuple[int, bytes], ...], error: str) -> None:
    assert answer(*pieces).timing.error == f"status 200 without an answer{error}"


def test_a_cut_stream_keeps_its_chunks_and_names_the_cut() -> None:
    seen = answer((20, text("a")), (30, text("b")), (40, b'data: {"choices": [{"te'), fault="cut off")
    assert (seen.timing.error, seen.text, len(seen.timing.chunks)) == ("cut off", "ab", 2)


@pytest.mark.parametrize("error", ["out of memory", {"message": "out of\nmemory", "code": 500}])
def test_an_error_inside_a_stream_is_an_error_with_its_message(error: object) -> None:
    seen = answer((20, text("a")), (30, {"error": error}), (31, text("b")), (32, DONE))
    assert seen.timing.error == "the server reported an error: out of memory"
    assert (seen.text, seen.timing.status, len(seen.timing.chunks)) == ("a", 200, 1)


def test_an_error_the_server_names_says_more_than_the_cut_that_follows() -> None:
    assert "out of memory" in (answer((30, {"error": "out of memory"}), fault="cut off").timing.error or "")


@pytest.mark.parametrize("data", [b"data: {oops}\n\n", b"data: [1]\n\n", b"data: x\n\n"])
def test_an_event_that_is_no_json_object_is_an_error(data: bytes) -> None:
    error = answer((20, text("a")), (30, data), (31, DONE)).timing.error
    assert error is not None
    assert error.startswith("the server sent something that is not a JSON object: ")


@pytest.mark.parametrize(
    "odd",
    [
        b"data: \n\n",
        b"data:\n\n",
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{"delta": "x", "text": 5}]},
        {"usage": 3},
    ],
)
def test_an_event_of_an_odd_shape_carries_nothing(odd: object) -> None:
    seen = answer((20, odd), (30, text("a")), (31, FINISH), (32, DONE))
    assert (seen.text, seen.timing.error, len(seen.timing.chunks)) == ("a", None, 1)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"error": {"message": "no such model", "type": "x"}}', "HTTP 404: no such model"),
        (b'{"error": "no such model"}', "HTTP 404: no such model"),
        (b"<html>\nnot here</html>", "HTTP 404: <html> not here</html>"),
        (b"x" * 300, "HTTP 404: " + "x" * 200),
    ],
)
def test_an_http_error_is_told_with_its_message_in_one_line(body: bytes, error: str) -> None:
    for streamed in (True, False):
        timing = whole(body, status=404, streamed=streamed).timing
        assert (timing.error, timing.status, timing.output_tokens, timing.chunks) == (error, 404, None, ())


def test_an_error_in_a_whole_answer_is_an_error() -> None:
    assert whole({"error": {"message": "boom"}}).timing.error == "the server reported an error: boom"


def test_a_request_that_was_never_answered_has_its_fault_and_nothing_else() -> None:
    timing = answer(status=None, content_type="", fault="connection refused").timing
    assert (timing.error, timing.status, timing.chunks) == ("connection refused", None, ())
