from __future__ import annotations

import json

import pytest

from pytest_llmperf.traffic.client.exchange import Exchange, Target, TransportError
from tests.helpers.scripted_server import STREAM_END, STREAM_HEAD, chunk, sized

LOCAL = Target.parse("http://127.0.0.1:8080/v1")
CUT = STREAM_HEAD + chunk(b"half of it")


def started() -> Exchange:
    exchange = Exchange(LOCAL, "/completions", b'{"a": 1}')
    exchange.begin()
    return exchange


def body(exchange: Exchange) -> bytes:
    return b"".join(data for _, data in exchange.pieces)


def test_the_request_carries_its_headers_and_its_body() -> None:
    exchange = Exchange(LOCAL, "/completions", b'{"a": 1}', api_key="secret", accept="text/event-stream")
    head, _, sent = exchange.begin().partition(b"\r\n\r\n")
    first, *headers = head.decode().split("\r\n")
    assert first == "POST /v1/completions HTTP/1.1"
    assert {
        "Host: 127.0.0.1:8080",
        "Authorization: Bearer secret",
        "Accept: text/event-stream",
        "Content-Type: application/json",
        "Content-Length: 8",
        "Connection: keep-alive",
    } <= set(headers)
    assert sent == b'{"a": 1}'


def test_no_authorization_is_sent_without_a_key() -> None:
    assert b"uthorization" not in Exchange(LOCAL, "/completions", b"{}").begin()


def test_pieces_carry_the_stamp_of_their_arrival() -> None:
    exchange = started()
    assert not exchange.receive(STREAM_HEAD, 10)
    assert not exchange.receive(chunk(b"one") + chunk(b"two"), 20)
    assert not exchange.receive(chunk(b"three"), 30)
    assert exchange.receive(STREAM_END, 40)
    assert exchange.pieces == [(20, b"one"), (20, b"two"), (30, b"three")]
    assert (exchange.status, exchange.end_ns) == (200, 40)
    assert exchange.headers["content-type"] == "text/event-stream"
    assert exchange.reusable


def test_a_chunked_answer_may_be_split_anywhere() -> None:
    answer = STREAM_HEAD + chunk(b"one") + chunk(b"twelve bytes") + STREAM_END
    for cut in range(1, len(answer)):
        exchange = started()
        assert not exchange.receive(answer[:cut], 1)
        assert exchange.receive(answer[cut:], 2)
        assert body(exchange) == b"onetwelve bytes"


def test_an_answer_with_a_length_is_complete_with_its_last_byte() -> None:
    answer = sized({"b": 2})
    exchange = started()
    assert not exchange.receive(answer[:-1], 1)
    assert exchange.receive(answer[-1:], 2)
    assert json.loads(body(exchange)) == {"b": 2}


def test_an_answer_without_a_length_is_complete_when_the_connection_ends() -> None:
    exchange = started()
    assert not exchange.receive(b"HTTP/1.1 200 OK\r\n\r\nabc", 1)
    assert exchange.receive(b"", 2)
    assert (body(exchange), exchange.end_ns, exchange.reusable) == (b"abc", 2, False)


def test_a_connection_is_not_reusable_when_the_server_says_so() -> None:
    exchange = started()
    assert exchange.receive(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 1)
    assert not exchange.reusable


def test_an_interim_answer_is_passed_over() -> None:
    exchange = started()
    assert exchange.receive(b"HTTP/1.1 100 Continue\r\n\r\n" + sized({}), 1)
    assert exchange.status == 200


@pytest.mark.parametrize("cut", ["HTTP/1.", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", CUT.decode()])
def test_an_end_in_the_middle_of_the_answer_is_named(cut: str) -> None:
    exchange = started()
    assert not exchange.receive(cut.encode(), 1)
    with pytest.raises(TransportError, match=r"^the server closed the connection in the middle of the answer$"):
        exchange.receive(b"", 2)


def test_an_end_before_the_first_byte_is_named() -> None:
    exchange = started()
    with pytest.raises(TransportError, match=r"^the server closed the connection without an answer$"):
        exchange.receive(b"", 2)
    assert not exchange.started


def test_what_is_not_http_is_named() -> None:
    with pytest.raises(TransportError, match=r"^the answer is not HTTP/1.1: "):
        started().receive(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", 1)


def test_a_second_beginning_forgets_the_first_and_stamps_anew() -> None:
    exchange = started()
    before = exchange.sent_ns
    exchange.receive(CUT, 1)
    exchange.begin()
    assert (exchange.pieces, exchange.status, exchange.started) == ([], None, False)
    assert exchange.sent_ns > before


# --------------------------------------------------------------------------------------------------------- the target


def test_a_base_url_is_taken_apart() -> None:
    target = Target.parse("http://user@[::1]:81/a/v1/")
    assert (target.origin, target.host, target.port, target.path) == ("http://[::1]:81", "::1", 81, "/a/v1")
    assert target.ssl_context is None


def test_the_port_follows_from_the_scheme() -> None:
    assert Target.parse("http://host/v1").port == 80
    secure = Target.parse("https://host/v1")
    assert secure.port == 443
    assert secure.ssl_context is not None


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://host/v1", "http:///v1", "http://a b/v1", "http://a/v1#x"])
def test_what_is_no_base_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no base URL of a server"):
        Target.parse(url)
