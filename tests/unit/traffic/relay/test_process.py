from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_llmperf.traffic.relay import process as module
from pytest_llmperf.traffic.relay.process import Relay, RelayError
from pytest_llmperf.traffic.relay.recorded_calls import HUNG_UP, UNENDED
from tests.helpers.relay_wires import STREAM, call, sized_answer
from tests.helpers.relayed_server import Played, played, read
from tests.helpers.scripted_server import refused_url, reset
from tests.helpers.waiting import PATIENCE_S, halt, read_line
from tests.plugin.test_signals import assert_gone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def play() -> Iterator[Played]:
    with played() as play:
        yield play


def arrives(wire: bytes, at: socket.socket) -> bool:
    return read(at, len(wire)) == wire


def called(play: Played) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection on which a call has arrived."""
    app, server = play.connect()
    app.sendall(call())
    read(server, len(call()))
    return app, server


# ------------------------------------------------------------------------------------------------------ what passes


def test_every_piece_arrives_before_the_next_is_sent(play: Played) -> None:
    app, server = called(play)
    for at in range(0, len(STREAM), 50):
        piece = STREAM[at : at + 50]
        server.sendall(piece)
        assert arrives(piece, app)
    (found,) = play.calls()
    stamps = [at_ns for at_ns, _ in found.pieces]
    assert stamps == sorted(stamps)
    assert found.sent_ns <= stamps[0]
    assert found.end_ns >= stamps[-1]


def test_a_connection_carries_several_calls(play: Played) -> None:
    app, server = play.connect()
    for number in range(3):
        app.sendall(call(b"%d" % number))
        read(server, len(call(b"0")))
        server.sendall(sized_answer(b"%d" % number))
        assert arrives(sized_answer(b"%d" % number), app)
    assert [found.pieces[0][1] for found in play.calls()] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_other_calls_pass_and_are_not_noted(play: Played, method: str) -> None:
    app, server = play.connect()
    answer = sized_answer(b"ok")[: -2 if method == "HEAD" else None]
    for _ in range(2):
        wire = call(b"", "/v1/models", method)
        app.sendall(wire)
        seen = read(server, len(wire))
        assert seen.startswith(f"{method} /v1/models HTTP/1.1\r\n".encode())
        assert b"Authorization: Bearer sk-very-secret\r\n" in seen
        server.sendall(answer)
        assert arrives(answer, app)
    assert play.calls(final=True) == []


def test_large_bodies_arrive_whole_in_both_directions(play: Played) -> None:
    app, server = play.connect()
    body = os.urandom(8 << 20)
    for source, sink, wire in ((app, server, call(body)), (server, app, sized_answer(body))):
        sender = threading.Thread(target=source.sendall, args=(wire,))
        sender.start()
        head = read(sink, len(wire) - len(body))
        assert head.endswith(b"\r\n\r\n")
        assert hashlib.sha256(read(sink, len(body))).digest() == hashlib.sha256(body).digest()
        sender.join(PATIENCE_S)
    (found,) = play.calls()
    assert b"".join(data for _, data in found.pieces) == body


def test_an_app_that_does_not_read_holds_the_server_up(play: Played) -> None:
    _, server = called(play)
    server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    server.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < 64 << 20:
            sent += server.send(b"x" * (1 << 20))
    assert sent < 64 << 20


def test_the_path_of_the_servers_address_stays(play: Played) -> None:
    assert play.relay.url == f"http://127.0.0.1:{play.relay.port}/v1"
    with played("/models/api/v1") as deeper:
        assert deeper.relay.url.endswith("/models/api/v1")


def test_new_connections_go_to_the_server_of_now(play: Played) -> None:
    with played("/other") as other:
        before = play.relay.url
        play.relay.serve(other.relay.server_url)
        assert play.relay.url == before.replace("/v1", "/other")
        app, server = other.connect(play.relay.port)
        app.sendall(call())
        assert read(server, len(call())).startswith(b"POST")


def test_a_connection_without_a_call_is_closed_for_the_server_of_now(play: Played) -> None:
    idle, _ = play.connect()
    answered, answering = called(play)
    answering.sendall(sized_answer(b"0"))
    assert arrives(sized_answer(b"0"), answered)
    busy, server = called(play)
    with played() as other:
        play.relay.serve(other.relay.server_url)
        assert (read(idle, 1), read(answered, 1)) == (b"", b"")
        server.sendall(sized_answer(b"1"))
        assert arrives(sized_answer(b"1"), busy)


# ---------------------------------------------------------------------------------------------------- how it ends


def test_an_app_that_closes_ends_the_call_at_the_server(play: Played) -> None:
    app, server = called(play)
    server.sendall(STREAM[:100])
    read(app, 100)
    app.close()
    assert server.recv(1) == b""
    server.close()
    (found,) = play.calls()
    assert (found.fault, found.by_app) == (HUNG_UP, True)


def test_an_app_that_is_killed_ends_the_call_at_the_server(play: Played) -> None:
    app, server = called(play)
    reset(app)
    with pytest.raises(ConnectionResetError):
        server.recv(1)
    assert [found.fault for found in play.calls()] == [HUNG_UP]


def test_a_server_that_closes_ends_the_call_of_the_app(play: Played) -> None:
    app, server = called(play)
    server.sendall(STREAM[:100])
    server.close()
    assert read(app, 1000) == STREAM[:100]
    assert [found.fault for found in play.calls()] == ["the server closed the connection in the middle of the answer"]


def test_a_connection_that_breaks_at_the_server_breaks_at_the_app(play: Played) -> None:
    app, server = called(play)
    reset(server)
    with pytest.raises(ConnectionResetError):
        app.recv(1)
    fault = "the connection to the server broke: connection reset by peer"
    assert [found.fault for found in play.calls()] == [fault]


def test_an_app_that_only_sends_no_more_still_gets_its_answer(play: Played) -> None:
    app, server = called(play)
    app.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.sendall(STREAM)
    assert arrives(STREAM, app)
    assert [found.fault for found in play.calls()] == [""]


def test_an_idle_connection_ends_with_the_servers(play: Played) -> None:
    app, server = play.connect()
    server.close()
    assert app.recv(1) == b""


def end_between_calls(app: socket.socket, server: socket.socket, answer: bytes) -> None:
    """The server answers and ends the connection, and the relay knows it."""
    server.sendall(answer)
    assert arrives(answer, app)
    server.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""


def test_a_server_that_ends_a_kept_connection_gets_the_next_call_on_another_one(play: Played) -> None:
    app, server = called(play)
    for number in (b"0", b"1"):
        end_between_calls(app, server, sized_answer(number))
        app.sendall(call())
        server = play.accept()
        assert read(server, len(call())).startswith(b"POST")
    server.sendall(STREAM)
    assert arrives(STREAM, app)
    assert [found.fault for found in play.calls()] == ["", "", ""]


def test_the_next_call_fails_if_the_server_takes_no_other_connection(play: Played) -> None:
    app, server = called(play)
    end_between_calls(app, server, sized_answer(b"0"))
    play.leave()
    app.sendall(call())
    with suppress(ConnectionError):
        assert app.recv(1) == b""
    assert [found.fault for found in play.calls()] == ["", "the server cannot be reached: connection refused"]


def test_an_answer_that_says_that_its_connection_ends_ends_that_of_the_app(play: Played) -> None:
    app, server = called(play)
    end_between_calls(app, server, sized_answer(b"0").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
    assert app.recv(1) == b""


def test_a_server_that_takes_connections_and_closes_them_at_once_fails_the_call(play: Played) -> None:
    for _ in range(5):
        app, server = play.connect()
        server.close()
        with suppress(ConnectionError):
            app.sendall(call())
            assert app.recv(1) == b""


def test_a_server_that_nobody_can_reach_fails_the_call(play: Played) -> None:
    play.leave()
    for finish in (False, True):
        with socket.create_connection(("127.0.0.1", play.relay.port), PATIENCE_S) as app:
            app.sendall(call())
            if finish:
                app.shutdown(socket.SHUT_WR)
            assert app.recv(1) == b""
    fault = "the server cannot be reached: connection refused"
    assert [found.fault for found in play.calls()] == [fault, fault]


def test_a_call_on_its_way_is_told_at_the_end(play: Played) -> None:
    app, server = called(play)
    server.sendall(STREAM[:100])
    read(app, 100)
    assert [found.fault for found in play.calls(final=True)] == [UNENDED]
    server.sendall(STREAM[100:])
    assert arrives(STREAM[100:], app)
    play.relay.open()
    assert play.calls(final=True) == []


def test_calls_outside_of_a_test_are_counted(play: Played) -> None:
    play.calls(final=True)
    app, server = called(play)
    server.sendall(STREAM)
    assert arrives(STREAM, app)
    assert play.relay.take(final=False).outside == 1
    assert play.relay.take(final=False).outside == 0


# ------------------------------------------------------------------------------------------------------ the process


def test_it_listens_on_loopback_only(play: Played) -> None:
    listening = [c for c in psutil.Process(play.relay.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in listening] == ["127.0.0.1"]


def test_one_that_was_killed_says_so_and_another_takes_its_place(play: Played) -> None:
    os.kill(play.relay.pid, signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(RelayError, match=r"^the relay died \(killed by SIGKILL\)$"):
            play.relay.take(final=True)
    play.relay.stop()
    again = Relay(play.relay.server_url, play.relay.port)
    assert again.url == play.relay.url
    again.stop()
    assert_gone([play.relay.pid, again.pid])


def test_one_that_does_not_answer_is_ended(play: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.2)
    halt(play.relay.pid)
    with pytest.raises(RelayError, match=r"^the relay did not answer within 0\.2 s$"):
        play.relay.take(final=True)
    assert_gone([play.relay.pid])


def test_a_port_that_is_taken_is_refused(play: Played) -> None:
    with pytest.raises(
        RelayError, match=rf"^the relay cannot listen on port {play.relay.port}: address already in use"
    ):
        Relay(refused_url(), play.relay.port)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_it_ends_with_the_process_that_started_it(number: signal.Signals) -> None:
    source = """
from pytest_llmperf.traffic.relay.process import Relay
relay = Relay("http://127.0.0.1:1")
print(relay.pid, flush=True)
input()
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", source], stdin=pipe, stdout=pipe, text=True) as owner:
        pid = int(read_line(owner.stdout))
        assert psutil.pid_exists(pid)
        owner.send_signal(number)
        owner.wait(PATIENCE_S)
        assert_gone([pid])
