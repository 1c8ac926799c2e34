"""Python's own client with our responses: requests over one connection, and through urllib."""

from __future__ import annotations

import http.client
import urllib.error
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from pytest_llmperf.engines.lifecycle.http import http_post
from pytest_llmperf.system.http.responses import BrokenAnswerError, CutAnswerError, StrictHTTPConnection
from tests.helpers.http_wires import CHUNKED, END, HELLO, sized
from tests.helpers.scripted_server import ScriptedServer, wait_for_the_end

LINES = CHUNKED + b"4\r\none\n\r\n6\r\ntwo\nth\r\n4\r\nree\n\r\n" + END


def connect(url: str) -> closing[StrictHTTPConnection]:
    parts = urlsplit(url)
    return closing(StrictHTTPConnection(parts.hostname or "", parts.port, timeout=60))


def ask(connection: StrictHTTPConnection) -> http.client.HTTPResponse:
    connection.request("POST", "/", b"{}")
    return connection.getresponse()


def test_a_connection_carries_one_request_after_another() -> None:
    with ScriptedServer([[sized(b"5")], [LINES], [CHUNKED + HELLO, END]]) as server, connect(server.url) as connection:
        answer = ask(connection)
        assert (answer.status, answer.reason, answer.headers["Content-Length"]) == (200, "OK", "5")
        assert (answer.read(), answer.isclosed()) == (b"hello", True)
        assert list(ask(connection)) == [b"one\n", b"two\n", b"three\n"]
        assert ask(connection).read(3) == b"hel"
    assert [seen.connection for seen in server.requests] == [0, 0, 0]


def test_what_comes_after_an_answer_does_not_begin_the_next_one() -> None:
    with ScriptedServer([[sized(b"5") * 2, wait_for_the_end]]) as server, connect(server.url) as connection:
        assert ask(connection).read() == b"hello"
        with pytest.raises(OSError):
            ask(connection)


@pytest.mark.parametrize("answer", [sized(b"9"), CHUNKED + HELLO, CHUNKED + b"9\r\nhel"])
def test_an_answer_that_breaks_off_is_no_answer(answer: bytes) -> None:
    with ScriptedServer([[answer]], [[answer]]) as server:
        with connect(server.url) as connection, pytest.raises(CutAnswerError, match="in the middle of the answer"):
            ask(connection).read()
        with pytest.raises(OSError, match=r"^the server closed the connection in the middle of the answer$"):
            http_post(server.url, {})


def test_an_answer_that_is_no_http_is_named() -> None:
    answer = CHUNKED + b"-5\r\nhello\r\n"
    with ScriptedServer([[answer]], [[answer]], [[b"SSH-2.0\r\n"]]) as server:
        with connect(server.url) as connection, pytest.raises(BrokenAnswerError, match="the size of a chunk"):
            ask(connection).read()
        with pytest.raises(OSError, match=r"^the answer is not HTTP/1\.1: the size of a chunk is not a number$"):
            http_post(server.url, {})
        with pytest.raises(OSError, match=r"^the answer is not HTTP/1\.1: it does not begin with a status line$"):
            http_post(server.url, {})


def test_a_connection_that_ends_without_an_answer_says_so() -> None:
    with ScriptedServer([[b""]], [[b""]]) as server:
        with connect(server.url) as connection, pytest.raises(http.client.RemoteDisconnected):
            ask(connection)
        with pytest.raises(OSError, match=r"^the server closed the connection without an answer$"):
            http_post(server.url, {})


def test_an_error_status_keeps_its_words() -> None:
    with (
        ScriptedServer([[sized(b"5", first=b"HTTP/1.1 503 Not yet\r\n")]]) as server,
        pytest.raises(urllib.error.HTTPError, match=r"^HTTP Error 503: Not yet$"),
    ):
        http_post(server.url, {})
