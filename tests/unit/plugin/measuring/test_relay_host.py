from __future__ import annotations

import socket

import pytest

from pytest_llmperf.plugin.measuring.relay_host import is_loopback, parse_relay_host
from pytest_llmperf.traffic.relay.process import Relay, RelayError
from tests.helpers.relay_wires import STREAM, call
from tests.helpers.relayed_server import read
from tests.helpers.scripted_server import ScriptedServer
from tests.helpers.waiting import PATIENCE_S

ANYWHERE = ["0.0.0.0", "::", "[::]", "::0", "0:0:0:0:0:0:0:0"]


@pytest.mark.parametrize(
    ("given", "host", "local"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.9.9.9", "127.9.9.9", True),
        ("[::1]", "::1", True),
        ("::1", "::1", True),
        ("localhost", "localhost", True),
        ("172.17.0.1", "172.17.0.1", False),
        ("[fd00::1]", "fd00::1", False),
        ("tests", "tests", False),
        ("gpu-box.example.org", "gpu-box.example.org", False),
        (" 10.0.0.5 ", "10.0.0.5", False),
    ],
)
def test_an_address_or_a_name_is_taken(given: str, host: str, local: bool) -> None:
    assert parse_relay_host(given) == host
    assert is_loopback(host) is local


@pytest.mark.parametrize("given", ANYWHERE)
def test_an_address_that_stands_for_all_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="would listen on every network of this host: write the one address"):
        parse_relay_host(given)


@pytest.mark.parametrize(
    "given", ["http://10.0.0.5", "10.0.0.5:80", "host:80", "*", "", "0", "256.1.1.1", "a b", "host/v1", "-x"]
)
def test_what_is_no_host_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no address of this host: write one such as"):
        parse_relay_host(given)


def asked(relay: Relay, path: str, size: int) -> bytes:
    with socket.create_connection(("127.0.0.2", relay.port), PATIENCE_S) as app:
        app.sendall(call(path=path))
        return read(app, size)


def test_it_listens_there_with_its_token_and_turns_others_away() -> None:
    with ScriptedServer([[STREAM]]) as server:
        relay = Relay(server.url, host="127.0.0.2", token="the-token")
        try:
            assert relay.url == f"http://127.0.0.2:{relay.port}/the-token/v1"
            relay.open()
            refused = asked(relay, "/v1/chat/completions", 1 << 16)
            assert refused.startswith(b"HTTP/1.1 403 Forbidden")
            assert b"use llm_client.base_url as it is" in refused
            assert asked(relay, "/the-token/v1/chat/completions", len(STREAM)) == STREAM
            (found,) = relay.take(final=False, patience_s=PATIENCE_S).calls
            assert (found.path, found.fault) == ("/v1/chat/completions", "")
        finally:
            relay.stop()


def test_an_address_of_another_host_is_refused_in_one_line() -> None:
    with pytest.raises(RelayError, match=r"^the relay cannot listen on 192.0.2.1 \(--llmperf-relay-host\): [\w ]+$"):
        Relay("http://127.0.0.1:9/v1", host="192.0.2.1", token="x")
