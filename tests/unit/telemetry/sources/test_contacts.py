from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sources import contacts
from pytest_llmperf.telemetry.sources.contacts import Contacts, list_contacts
from tests.helpers.waiting import PATIENCE_S, read_line, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CONNECTS = """
import socket, sys
sockets = [socket.create_connection(("127.0.0.1", int(port))) for port in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["proc", "psutil"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "psutil":
        monkeypatch.setattr(contacts, "HAS_PROC", False)
    return str(request.param)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def client(listener: socket.socket) -> Iterator[int]:
    """A process that is connected to the listener."""
    command = [sys.executable, "-c", CONNECTS, str(listener.getsockname()[1])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        read_line(process.stdout)
        yield process.pid
        process.kill()
        process.wait(PATIENCE_S)


def test_whom_a_process_is_connected_to_is_a_contact(way: str, listener: socket.socket, client: int) -> None:
    assert list_contacts([client]) == {listener.getsockname()}


def test_who_is_connected_to_a_process_is_none(way: str, listener: socket.socket, client: int) -> None:
    accepted, _ = listener.accept()
    with accepted:
        assert accepted.getpeername() not in list_contacts([os.getpid()])


def test_processes_of_a_branch_are_no_contacts_of_each_other(way: str, listener: socket.socket, client: int) -> None:
    accepted, _ = listener.accept()
    with accepted:
        assert listener.getsockname() not in list_contacts([os.getpid(), client])


def test_a_process_that_has_ended_has_none(way: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(PATIENCE_S)
    assert list_contacts([process.pid]) == set()


def test_an_ipv6_address_is_read_too() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this host has no IPv6")
    with listener, socket.create_connection(listener.getsockname()[:2]):
        port = listener.getsockname()[1]
        assert ("::1", port) not in list_contacts([os.getpid()])
        assert any(one.local == ("::1", port) for one in contacts._list_sockets([os.getpid()]))


def test_an_ipv4_address_in_ipv6_is_the_former() -> None:
    assert contacts._read_address("0000000000000000FFFF00000100007F:1F90") == ("127.0.0.1", 8080)


def test_contacts_are_looked_for_at_a_pace_until_there_are_some(listener: socket.socket, client: int) -> None:
    pids: list[int] = []
    found = Contacts(lambda: pids)
    found.step()
    assert found.seen == set()
    pids.append(client)
    found.step()
    assert found.seen == set()
    until(lambda: time.monotonic() > found.due)
    found.step()
    assert found.seen == {f"127.0.0.1:{listener.getsockname()[1]}"}
    assert found.due == float("inf")
