from __future__ import annotations

from random import Random

import pytest

from pytest_llmperf.traffic.relay.exchanges import Exchanges
from pytest_llmperf.traffic.relay.recorded_calls import HUNG_UP, UNENDED, RecordedCall, RecordedCalls
from tests.helpers.http_wires import REFUSED, split_at_random
from tests.helpers.relay_wires import EVENTS, HOST, PATH, STREAM, WORDS, call, chunked_call, sized_answer
from tests.helpers.scripted_server import STREAM_HEAD, chunk


class Recorded(Exchanges):
    """The exchanges of a connection while a test is measured, and its recorded calls."""

    def __init__(self, token: str = "") -> None:
        self.recorded = RecordedCalls()
        self.recorded.open(1)
        super().__init__(self.recorded, "upstream:80", token)

    def calls(self) -> list[RecordedCall]:
        return self.recorded.take(99, final=False)


def addressed(wire: bytes) -> bytes:
    return wire.replace(HOST.encode(), b"upstream:80")


def test_only_the_host_header_changes_wherever_a_call_is_split() -> None:
    for wire in (call(b"hello"), chunked_call(b"one", b"two"), call(b"hello") * 2):
        for at in range(1, len(wire)):
            talk = Recorded()
            assert talk.take_request(wire[:at], 1) + talk.take_request(wire[at:], 2) == addressed(wire)


@pytest.mark.parametrize(
    "wire",
    [
        call(b"hello"),
        call(b"hello", fields="X-Note: 1\r\n"),
        call(b"hello").replace(b"Content-Length", b"content-length"),
        call(b"hello").replace(b"Host: ", b"HOST:\t "),
        call(f"\nHost: {HOST}\r\n\r\nHost: {HOST}".encode()),
        call(fields=f"X-Host: {HOST}\r\nX-Forwarded: Host: {HOST}\r\n"),
    ],
)
def test_only_the_host_is_replaced_and_only_in_the_head(wire: bytes) -> None:
    expected = wire.replace(HOST.encode(), b"upstream:80", 1)
    for at in range(1, len(wire) + 1):
        talk = Recorded()
        assert talk.take_request(wire[:at], 1) + talk.take_request(wire[at:], 2) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_is_refused_passes_as_it_is_and_leaves_one_failed_call(name: str) -> None:
    wire, fault = REFUSED[name]
    for seed in range(4):
        talk = Recorded()
        pieces = split_at_random(wire, Random(seed)) if seed else [wire]
        passed = b"".join(talk.take_request(piece, 1) for piece in [*pieces, b"and more"])
        assert passed in (wire + b"and more", wire.replace(HOST.encode(), b"upstream:80", 1) + b"and more")
        talk.end_by_server(2)
        assert f"the app sent something that is not HTTP/1.1: {fault}" in {found.fault for found in talk.calls()}


def test_every_piece_of_an_answer_has_the_stamp_of_its_arrival() -> None:
    talk = Recorded()
    talk.take_request(call(), 10)
    talk.take_answer(STREAM_HEAD, 20)
    talk.take_answer(chunk(WORDS[0]), 30)
    talk.take_answer(chunk(WORDS[1]) + b"0\r\n", 40)
    talk.take_answer(b"\r\n", 50)
    (found,) = talk.calls()
    assert (found.path, found.sent_ns, found.end_ns, found.status, found.fault) == (PATH, 10, 50, 200, "")
    assert found.content_type == "text/event-stream"
    assert found.pieces == [(30, WORDS[0]), (40, WORDS[1])]


def test_an_answer_split_anywhere_keeps_its_content() -> None:
    for at in range(1, len(STREAM)):
        talk = Recorded()
        talk.take_request(call(), 1)
        talk.take_answer(STREAM[:at], 2)
        talk.take_answer(STREAM[at:], 3)
        (found,) = talk.calls()
        assert b"".join(data for _, data in found.pieces) == b"".join(EVENTS)
        assert found.end_ns == 3


def test_a_call_counts_from_its_first_byte() -> None:
    talk = Recorded()
    wire = call(b"hello")
    for at_ns, piece in enumerate((wire[:7], wire[7:50], wire[50:-2], wire[-2:], wire[:3], wire[3:]), start=10):
        talk.take_request(piece, at_ns)
    talk.take_answer(sized_answer() * 2, 30)
    assert [found.sent_ns for found in talk.calls()] == [10, 14]


@pytest.mark.parametrize("at", [1, 5, 30])
def test_a_call_whose_head_has_not_arrived_is_on_its_way(at: int) -> None:
    talk = Recorded()
    wire = call(b"hello")
    talk.take_request(wire[:at], 10)
    (found,) = talk.recorded.take(20, final=True)
    assert (found.sent_ns, found.end_ns, found.fault) == (10, 20, UNENDED)
    assert talk.recorded.left_over == [10]
    talk.take_request(wire[at:], 30)
    talk.take_answer(sized_answer(), 40)
    assert (found.path, talk.recorded.outside) == (PATH, 0)
    talk.recorded.open(50)
    assert talk.recorded.left_over == []


@pytest.mark.parametrize("begun", [b"GET /v1/mod", b"GET ", b"\r\n", b"DELETE /x HTTP/1.1\r\nHost: "])
def test_what_asks_no_model_is_not_on_its_way(begun: bytes) -> None:
    talk = Recorded()
    talk.take_request(begun, 10)
    assert talk.recorded.take(20, final=True) == []


def test_a_head_in_pieces_that_asks_no_model_is_not_noted() -> None:
    talk = Recorded()
    wire = call(b"", "/v1/models", "GET")
    talk.take_request(wire[:2], 10)
    talk.take_request(wire[2:], 11)
    talk.take_answer(sized_answer(), 12)
    assert talk.calls() == []
    talk.take_request(call()[:9], 13)
    talk.end_by_app(14)
    assert [(found.path, found.fault) for found in talk.calls()] == [("", HUNG_UP)]


def test_answers_come_in_the_order_of_the_calls_on_a_connection() -> None:
    talk = Recorded()
    talk.take_request(call(b"1", path="/v1/completions") + call(b"", "/v1/models", "GET") + call(b"2"), 1)
    talk.take_answer(sized_answer(b"first") + sized_answer(b"models"), 2)
    talk.take_answer(sized_answer(b"second", "429 Too Many Requests"), 3)
    first, second = talk.calls()
    assert (first.path, first.status, first.pieces) == ("/v1/completions", 200, [(2, b"first")])
    assert (second.path, second.status, second.pieces) == (PATH, 429, [(3, b"second")])


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/models", "GET"), ("/api/tags", "GET"), (PATH, "OPTIONS"), ("/", "DELETE")],
)
def test_what_asks_no_model_for_tokens_is_not_noted(path: str, method: str) -> None:
    talk = Recorded()
    talk.take_request(call(b"", path, method), 1)
    talk.take_answer(sized_answer(), 2)
    assert talk.calls() == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/audio/speech"),
        ("POST", "/tokenize"),
        ("POST", "/"),
        ("PUT", PATH),
        ("PATCH", "/x"),
        ("QUERY", "/"),
    ],
)
def test_what_else_may_ask_a_model_is_noted_and_its_answer_is_not_kept(method: str, path: str) -> None:
    talk = Recorded()
    talk.take_request(call(path=f"{path}?beta=true", method=method), 1)
    talk.take_answer(sized_answer(), 2)
    (found,) = talk.calls()
    assert found.method == method
    assert (found.path, found.read, found.pieces, found.status, found.end_ns) == (path, False, [], 200, 2)


def test_a_connection_that_leaves_http_is_a_call_that_is_not_read() -> None:
    talk = Recorded()
    talk.take_request(call(b"", "/v1/realtime", "GET", "Upgrade: websocket\r\nConnection: Upgrade\r\n"), 1)
    talk.take_answer(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00", 2)
    talk.end_by_app(3)
    (found,) = talk.calls()
    assert (found.method, found.path, found.read) == ("GET", "/v1/realtime", False)


def test_a_stream_of_events_may_be_text_whatever_asked_for_it() -> None:
    talk = Recorded()
    talk.take_request(call(b"", "/v1/responses/resp_1?stream=true", "GET"), 1)
    talk.take_answer(STREAM, 2)
    (found,) = talk.calls()
    assert (found.method, found.path, found.read, found.pieces) == ("GET", "/v1/responses/resp_1", False, [])


@pytest.mark.parametrize(
    "path",
    ["/v1/completions", "/api/v1/chat/completions?api-version=1", "/v1/responses", "/api/chat", "/api/generate"],
)
def test_what_asks_a_model_for_tokens_is_noted(path: str) -> None:
    talk = Recorded()
    talk.take_request(call(path=path), 1)
    talk.take_answer(sized_answer(), 2)
    assert [found.path for found in talk.calls()] == [path.partition("?")[0]]


def test_interim_answers_are_not_the_answer() -> None:
    talk = Recorded()
    talk.take_request(call(fields="Expect: 100-continue\r\n"), 1)
    talk.take_answer(b"HTTP/1.1 100 Continue\r\n\r\n", 2)
    assert talk.calls() == []
    talk.take_answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + sized_answer(b"ok"), 3)
    assert [(found.status, found.pieces) for found in talk.calls()] == [(200, [(3, b"ok")])]


def test_after_a_switch_of_protocols_everything_passes() -> None:
    talk = Recorded()
    talk.take_request(call(b"", "/v1/realtime", "GET", "Upgrade: websocket\r\n"), 1)
    talk.take_answer(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello", 2)
    assert talk.take_request(b"\x81\x85\r\n\r\nHost: x", 3) == b"\x81\x85\r\n\r\nHost: x"
    talk.take_answer(b"\x81\x00", 4)
    assert talk.calls() == []


@pytest.mark.parametrize(
    ("before", "reason", "fault"),
    [
        (b"", "", "the server closed the connection without an answer"),
        (STREAM[:-9], "", "the server closed the connection in the middle of the answer"),
        (STREAM[:-9], "the connection to the server broke: reset", "the connection to the server broke: reset"),
    ],
)
def test_an_answer_that_the_server_breaks_off_is_not_complete(before: bytes, reason: str, fault: str) -> None:
    talk = Recorded()
    talk.take_request(call(), 1)
    talk.take_answer(before, 2)
    talk.end_by_server(3, reason)
    (found,) = talk.calls()
    assert (found.fault, found.by_app, found.end_ns) == (fault, False, 3)


@pytest.mark.parametrize(("reason", "fault"), [("", ""), ("it broke", "it broke")])
def test_an_answer_without_a_length_is_complete_when_its_connection_ends_in_order(reason: str, fault: str) -> None:
    talk = Recorded()
    talk.take_request(call(), 1)
    talk.take_answer(b"HTTP/1.0 200 OK\r\n\r\nhello", 2)
    assert talk.calls() == []
    talk.end_by_server(3, reason)
    assert [(found.fault, found.pieces) for found in talk.calls()] == [(fault, [(2, b"hello")])]


def test_an_app_that_leaves_early_is_told_from_a_server_that_does() -> None:
    left, finished = Recorded(), Recorded()
    for talk in (left, finished):
        talk.take_request(call(), 1)
        talk.take_answer(STREAM[:100], 2)
    left.end_by_app(3)
    finished.end_requests()
    finished.end_by_server(3)
    for talk in (left, finished):
        assert [(found.fault, found.by_app) for found in talk.calls()] == [(HUNG_UP, True)]


def test_an_app_that_only_sends_no_more_still_gets_its_answer() -> None:
    talk = Recorded()
    talk.take_request(call(), 1)
    talk.end_requests()
    talk.take_answer(STREAM, 2)
    talk.end_by_server(3)
    assert [(found.fault, found.end_ns) for found in talk.calls()] == [("", 2)]


def test_an_app_that_speaks_something_else_leaves_one_failed_call() -> None:
    talk = Recorded()
    assert talk.take_request(b"PRI * HTTP/2.0\r\n\r\n", 1) == b"PRI * HTTP/2.0\r\n\r\n"
    assert talk.take_request(b"SM", 2) == b"SM"
    (found,) = talk.calls()
    assert found.fault == "the app sent something that is not HTTP/1.1: it does not begin with a request line"


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        (b"hello\r\n\r\n", "the answer is not HTTP/1.1: it does not begin with a status line"),
        (STREAM_HEAD + b"zz\r\n", "the answer is not HTTP/1.1: the size of a chunk is not a number"),
    ],
)
def test_a_server_that_speaks_something_else_fails_the_call(wire: bytes, fault: str) -> None:
    talk = Recorded()
    talk.take_request(call(), 1)
    talk.take_answer(wire, 2)
    talk.take_answer(b"more", 3)
    assert [found.fault for found in talk.calls()] == [fault]


def test_nothing_of_a_call_is_kept_but_its_path() -> None:
    talk = Recorded()
    talk.take_request(call(b'{"prompt": "a secret prompt"}', path=f"{PATH}?key=secret"), 1)
    talk.take_answer(sized_answer(), 2)
    assert "secret" not in repr(talk.calls())


# ---------------------------------------------------------------------------------------------------- with a token

TOKEN = "a-token"


def test_the_token_is_taken_off_the_path_wherever_a_call_is_split() -> None:
    given = call(b"hello", path=f"/{TOKEN}{PATH}?a=/{TOKEN}/") * 2
    for at in range(1, len(given)):
        talk = Recorded(TOKEN)
        passed = talk.take_request(given[:at], 1) + talk.take_request(given[at:], 2)
        assert passed == addressed(call(b"hello", path=f"{PATH}?a=/{TOKEN}/")) * 2
        assert not talk.refused
        talk.end_by_app(3)
        assert [found.path for found in talk.calls()] == [PATH] * 2


@pytest.mark.parametrize(
    "wire",
    [
        call(b"hello"),
        call(b"hello", path=f"/{TOKEN[:-1]}{PATH}"),
        call(b"hello", path=f"/{TOKEN}x{PATH}"),
        call(b"hello", path=f"/{TOKEN}"),
        call(b"hello", path=f"http://{HOST}/{TOKEN}{PATH}"),
        call(b"hello", path=f"/x/{TOKEN}{PATH}"),
        call(b"hello").replace(b"POST ", b"CONNECT "),
        call(path=f"/{TOKEN}{PATH}").replace(b"\r\n", b"\n", 1),
    ],
)
def test_nothing_passes_without_the_token_and_nothing_of_it_is_recorded(wire: bytes) -> None:
    good = call(b"hello", path=f"/{TOKEN}{PATH}")
    for before in (b"", good):
        for step in (len(wire), 7):
            talk = Recorded(TOKEN)
            passed = talk.take_request(before, 1)
            passed += b"".join(talk.take_request(wire[at : at + step], 2) for at in range(0, len(wire), step))
            assert passed == addressed(call(b"hello")) * bool(before)
            assert talk.refused
            talk.end_by_app(3)
            assert len(talk.calls()) == bool(before)
