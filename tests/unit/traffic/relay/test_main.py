from __future__ import annotations

import socket
import ssl

import pytest

from pytest_llmperf.traffic.relay.connections import describe_cause
from pytest_llmperf.traffic.relay.main import RelayServer


def problem(error: Exception, message: str = "") -> list[str]:
    relay = RelayServer()
    try:
        raise error
    except type(error) as raised:
        relay.note_problem({"message": message, "exception": raised})
    return relay.recorded.problems


def test_an_error_of_its_own_is_told_by_its_place_and_not_by_its_text() -> None:
    (found,) = problem(ValueError("what the app said"))
    assert found.startswith("the relay failed: ValueError in test_main.py, line ")


def test_the_end_of_a_connection_is_no_error_of_its_own_but_one_that_lets_none_in_is() -> None:
    assert problem(ConnectionResetError(), "Fatal read error on socket transport") == []
    assert len(problem(OSError(24, "Too many open files"), "socket.accept() out of system resource")) == 1


TLS = ssl.SSLError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
TLS.reason = "CERTIFICATE_VERIFY_FAILED"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "name or service not known"),
        (TLS, "certificate verify failed"),
        (ConnectionAbortedError("SSL handshake is taking too long"), "SSL handshake is taking too long"),
        (OSError("the proxy p:1 answered 403"), "the proxy p:1 answered 403"),
        (ConnectionAbortedError(), "ConnectionAbortedError"),
    ],
)
def test_the_cause_of_a_broken_connection_is_a_few_words(error: OSError, text: str) -> None:
    assert describe_cause(error) == text
