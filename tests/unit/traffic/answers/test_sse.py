from __future__ import annotations

import json

import pytest

from pytest_llmperf.traffic.answers.sse import is_blank, parse_events


def test_an_event_is_stamped_with_the_piece_that_brings_its_blank_line() -> None:
    pieces = [(10, b"data: a"), (20, b"b\n"), (30, b"\ndata: c\n\nda"), (40, b"ta: d\n\n")]
    assert parse_events(pieces) == [(30, "ab"), (30, "c"), (40, "d")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_events_are_the_same_wherever_the_body_is_split(end: str) -> None:
    body = f"data: é{end}data: €{end}{end}: note{end}{end}event: message{end}data:🙂{end}{end}".encode()
    for first in range(len(body) + 1):
        for second in range(first, len(body) + 1):
            found = parse_events([(1, body[:first]), (2, body[first:second]), (3, body[second:])])
            assert [data for _, data in found] == ["é\n€", "🙂"]


def test_a_crlf_cut_in_two_ends_one_line_and_not_two() -> None:
    assert parse_events([(1, b"data: a\r"), (2, b"\ndata: b\r"), (3, b"\n\r"), (4, b"\n")]) == [(4, "a\nb")]


def test_comments_and_other_fields_and_empty_events_give_nothing() -> None:
    assert parse_events([(1, b": ping\n\nid: 7\nretry: 10\n\n\n\nevent: note\n\n")]) == []


@pytest.mark.parametrize("name", ["ping", "heartbeat", "keep-alive", "PING", "close", "end"])
def test_an_event_that_keeps_the_connection_open_or_ends_it_gives_nothing(name: str) -> None:
    for data in ("", "data\n", "data: \n", "data: ping\n", "data: 1700000000\n", "data: null\n"):
        assert parse_events([(1, f"event: {name}\n{data}\ndata: a\n\n".encode())]) == [(1, "a")]
    assert len(parse_events([(1, f'event: {name}\ndata: {{"error": "boom"}}\n\n'.encode())])) == 1
    assert len(parse_events([(1, f'event: {name}\ndata: {{"choi\n\n'.encode())])) == 1


@pytest.mark.parametrize("name", ["error", "Error", "exception", "server_error", "failed", "aborted", "timeout"])
def test_an_event_that_is_named_after_a_failure_is_an_error(name: str) -> None:
    [(_, text)] = parse_events([(1, f"event: {name}\ndata: boom\n\n".encode())])
    assert json.loads(text) == {"error": "boom"}


def test_lines_of_other_names_and_half_a_name_at_the_end_give_nothing() -> None:
    assert parse_events([(1, b'data: a\n\nmeta: {}\nx-id: 7\n\n{"id": 1}\n  \n: note\ndat')]) == [(1, "a")]


@pytest.mark.parametrize("data", ["", " ", "[DONE]", " [DONE] ", "[DONE]\t"])
def test_what_carries_nothing_is_blank(data: str) -> None:
    assert is_blank(data)


def test_only_one_space_is_taken_from_the_data_and_none_is_needed() -> None:
    assert parse_events([(1, b"data:  a\n\ndata:b\n\ndata\n\n")]) == [(1, " a"), (1, "b"), (1, "")]


def test_an_event_without_its_blank_line_counts_at_the_end_of_the_body() -> None:
    assert parse_events([(1, b"data: a\n\n"), (2, b"data: b"), (3, b"c")]) == [(1, "a"), (3, "bc")]
    assert parse_events([(1, b"data: a\n")]) == [(1, "a")]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert parse_events([(1, b"\xef\xbb"), (2, b"\xbfdata: a\n\n")]) == [(2, "a")]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("boom", {"error": "boom"}),
        ('{"message": "boom"}', {"error": {"message": "boom", "event": "error"}}),
        ('{"error": {"message": "boom"}}', {"error": {"message": "boom"}}),
    ],
)
def test_an_error_event_always_comes_as_an_object_with_an_error(data: str, expected: object) -> None:
    [(at_ns, text)] = parse_events([(5, f"event: error\ndata: {data}\n\n".encode())])
    assert (at_ns, json.loads(text)) == (5, expected)


def test_the_name_of_an_event_does_not_stick_to_the_next() -> None:
    assert parse_events([(1, b"event: error\ndata: a\n\ndata: b\n\n")]) == [(1, '{"error": "a"}'), (1, "b")]


def test_nothing_gives_no_event() -> None:
    assert parse_events([]) == []
