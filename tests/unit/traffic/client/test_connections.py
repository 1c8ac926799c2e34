"""Both drivers are held to one truth; the blocking one to its kept connections as well."""

from __future__ import annotations

import asyncio
import json
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.client.connections import ConnectionPool, perform
from pytest_llmperf.traffic.client.exchange import (
    Exchange,
    Target,
    TransportCancelledError,
    TransportError,
    TransportTimeoutError,
)
from tests.helpers.scripted_server import (
    STREAM_END,
    STREAM_HEAD,
    ScriptedServer,
    chunk,
    refused_url,
    reset,
    sized,
    wait_for_the_end,
)
from tests.helpers.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.helpers.scripted_server import Step

    Drive = Callable[[Exchange, float], None]

CUT = STREAM_HEAD + chunk(b"half of it")


def body(exchange: Exchange) -> bytes:
    return b"".join(data for _, data in exchange.pieces)


def by_blocking(exchange: Exchange, timeout: float) -> None:
    with closing(ConnectionPool(exchange.target, timeout)) as pool:
        pool.perform(exchange)


def by_asyncio(exchange: Exchange, timeout: float) -> None:
    asyncio.run(perform(exchange, timeout))


both = pytest.mark.parametrize("drive", [by_blocking, by_asyncio])


@both
def test_an_answer_in_odd_pieces_comes_through(drive: Drive) -> None:
    answer = STREAM_HEAD + chunk(b"one") + chunk(b"two" * 50_000) + STREAM_END
    odd: list[Step] = [answer[:7], answer[7:83], answer[83:104], answer[104:105], answer[105:-3], answer[-3:]]
    with ScriptedServer([odd]) as server:
        exchange = Exchange(Target.parse(server.url), "/completions", b'{"a": 1}')
        drive(exchange, 60)
    assert body(exchange) == b"one" + b"two" * 50_000
    assert exchange.sent_ns < exchange.pieces[0][0] <= exchange.pieces[-1][0] <= exchange.end_ns
    assert [seen.body for seen in server.requests] == [{"a": 1}]


@both
def test_an_answer_cut_short_keeps_what_came(drive: Drive) -> None:
    with ScriptedServer([[CUT]]) as server:
        exchange = Exchange(Target.parse(server.url), "/completions", b"{}")
        with pytest.raises(TransportError, match="in the middle of the answer"):
            drive(exchange, 60)
    assert body(exchange) == b"half of it"


@both
def test_a_reset_is_named_with_its_url(drive: Drive) -> None:
    with ScriptedServer([[reset]]) as server:
        exchange = Exchange(Target.parse(server.url), "/completions", b"{}")
        with pytest.raises(TransportError, match=r"^http://127.0.0.1:\d+: connection reset by peer$"):
            drive(exchange, 60)


@both
def test_a_refused_connection_is_named_with_its_url(drive: Drive) -> None:
    exchange = Exchange(Target.parse(refused_url()), "/completions", b"{}")
    with pytest.raises(TransportError, match=r"^http://127.0.0.1:\d+: connection refused$"):
        drive(exchange, 60)
    assert exchange.sent_ns > 0


@both
def test_a_silent_server_is_given_up(drive: Drive) -> None:
    with ScriptedServer([[STREAM_HEAD, wait_for_the_end]]) as server:
        exchange = Exchange(Target.parse(server.url), "/completions", b"{}")
        with pytest.raises(TransportTimeoutError, match=r"^http://127.0.0.1:\d+ was silent for 0.2 s$"):
            drive(exchange, 0.2)


def test_what_comes_after_an_answer_is_not_taken_for_the_next_one() -> None:
    asked_again = threading.Event()
    late: list[Step] = [sized({"a": 1}), lambda _: asked_again.wait(PATIENCE_S), sized({"forged": True})]
    with ScriptedServer([late], [[sized({"b": 2})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 60)) as pool:
            exchanges = [Exchange(target, "/completions", b"{}") for _ in range(2)]
            pool.perform(exchanges[0])
            [idle] = pool._idle
            asked_again.set()
            until(lambda: select.select([idle], [], [], 0)[0])
            pool.perform(exchanges[1])
    assert [json.loads(body(exchange)) for exchange in exchanges] == [{"a": 1}, {"b": 2}]


@contextmanager
def a_server_without_tls() -> Iterator[str]:
    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(60)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            wait_for_the_end(connection)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread.join(60)


@both
def test_a_server_without_tls_is_named_in_one_line(drive: Drive) -> None:
    with a_server_without_tls() as url, pytest.raises(TransportError, match=r"^https://127.0.0.1:\d+: \[SSL.*$"):
        drive(Exchange(Target.parse(url), "/completions", b"{}"), 60)


# --------------------------------------------------------------------------------------------- connections that last


def test_a_connection_is_kept_for_the_next_exchange() -> None:
    with ScriptedServer([[sized({})], [sized({})], [sized({})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 60)) as pool:
            for _ in range(3):
                pool.perform(Exchange(target, "/completions", b"{}"))
    assert [seen.connection for seen in server.requests] == [0, 0, 0]


@pytest.mark.parametrize("end", [lambda connection: connection.close(), reset])
def test_a_stale_connection_is_replaced_and_the_exchange_stamped_anew(end: Step) -> None:
    with ScriptedServer([[sized({"turn": 1}), end]], [[sized({"turn": 2})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 60)) as pool:
            pool.perform(Exchange(target, "/completions", b"{}"))
            exchange = Exchange(target, "/completions", b"{}")
            pool.perform(exchange)
    assert json.loads(body(exchange)) == {"turn": 2}
    assert [seen.connection for seen in server.requests] == [0, 1]
    assert len(exchange.pieces) == 1


def test_a_fresh_connection_that_fails_is_not_tried_again() -> None:
    with ScriptedServer([[reset]], [[sized({})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 60)) as pool, pytest.raises(TransportError):
            pool.perform(Exchange(target, "/completions", b"{}"))
    assert len(server.requests) == 1


def test_a_kept_connection_that_fails_within_the_answer_is_not_tried_again() -> None:
    with ScriptedServer([[sized({})], [CUT]], [[sized({})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 60)) as pool:
            pool.perform(Exchange(target, "/completions", b"{}"))
            with pytest.raises(TransportError, match="in the middle"):
                pool.perform(Exchange(target, "/completions", b"{}"))
    assert len(server.requests) == 2


def test_a_closed_pool_keeps_nothing() -> None:
    with ScriptedServer([[sized({}), wait_for_the_end]]) as server:
        target = Target.parse(server.url)
        pool = ConnectionPool(target, 60)
        pool.close()
        pool.perform(Exchange(target, "/completions", b"{}"))


def test_a_kept_connection_that_is_silent_is_not_tried_again() -> None:
    with ScriptedServer([[sized({})], [wait_for_the_end]], [[sized({})]]) as server:
        target = Target.parse(server.url)
        with closing(ConnectionPool(target, 0.2)) as pool:
            pool.perform(Exchange(target, "/completions", b"{}"))
            with pytest.raises(TransportTimeoutError):
                pool.perform(Exchange(target, "/completions", b"{}"))
    assert len(server.requests) == 2


# ----------------------------------------------------------------------------------------------------- giving it up


def test_what_another_thread_waits_for_can_be_given_up() -> None:
    after = [STREAM_HEAD, chunk(b"one"), STREAM_END]
    with ScriptedServer([[CUT, wait_for_the_end]], [after]) as server:
        pool = ConnectionPool(Target.parse(server.url), 60)
        given_up, kept = (Exchange(Target.parse(server.url), "/completions", b"{}") for _ in range(2))
        with closing(pool), ThreadPoolExecutor(1) as threads:
            done = threads.submit(pool.perform, given_up)
            until(lambda: given_up.started)
            pool.cancel()
            with pytest.raises(TransportCancelledError, match=r"^cancelled$"):
                done.result(60)
            assert body(given_up) == b"half of it"
            pool.perform(kept)
    assert body(kept) == b"one"


def test_a_kept_connection_that_is_given_up_is_not_tried_again() -> None:
    with ScriptedServer([sized_turn(), [wait_for_the_end]], [sized_turn()]) as server:
        pool = ConnectionPool(Target.parse(server.url), 60)
        first, second = (Exchange(Target.parse(server.url), "/completions", b"{}") for _ in range(2))
        with closing(pool), ThreadPoolExecutor(1) as threads:
            pool.perform(first)
            done = threads.submit(pool.perform, second)
            until(lambda: len(server.requests) == 2)
            pool.cancel()
            with pytest.raises(TransportCancelledError):
                done.result(60)
    assert [seen.connection for seen in server.requests] == [0, 0]


def sized_turn() -> list[Step]:
    return [sized({})]
