"""Programs that forward to a server what they are asked, each in another way, as proxies and tunnels do."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_llmperf.engines.lifecycle.http import find_free_port
from tests.helpers.waiting import PATIENCE_S, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = ("connection", "process", "request")
"""It passes on bytes in a thread or a process for each connection, or asks anew for each request, as nginx does."""

_PROGRAM = """
import os, socket, sys, threading

way, listen, upstream, held = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
memory = b"\\1" * held

def pass_on(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass

def connect(client):
    server = socket.create_connection(("127.0.0.1", upstream))
    back = threading.Thread(target=pass_on, args=(server, client), daemon=True)
    back.start()
    pass_on(client, server)
    back.join()
    client.close()
    server.close()

def ask_anew(client):
    with client, client.makefile("rb") as file:
        while head := b"".join(iter(file.readline, b"\\r\\n")):
            fields = [line.split(b":", 1) for line in head.lower().split(b"\\r\\n")]
            length = next((int(f[1]) for f in fields if f[0] == b"content-length"), 0)
            kept = [line for line in head.split(b"\\r\\n") if line and not line.lower().startswith(b"connection:")]
            request = b"\\r\\n".join([*kept, b"Connection: close", b"", b""]) + file.read(length)
            with socket.create_connection(("127.0.0.1", upstream)) as server:
                server.sendall(request)
                pass_on(server, client)
            return

def fork(client):
    if os.fork() == 0:
        connect(client)
        os._exit(0)
    client.close()

serve = {"connection": connect, "process": fork, "request": ask_anew}[way]
listener = socket.create_server(("127.0.0.1", listen))
print("ready", flush=True)
while True:
    client, _ = listener.accept()
    if way == "process":
        fork(client)
    else:
        threading.Thread(target=serve, args=(client,), daemon=True).start()
"""


@contextmanager
def forwarder(port: int, way: str = "connection", held_bytes: int = 0) -> Iterator[int]:
    """Forwards to a port of this host, in one of ``WAYS``; gives the port at which it listens."""
    listen = find_free_port()
    words = [way, str(listen), str(port), str(held_bytes)]
    process = subprocess.Popen(
        [sys.executable, "-SE", "-c", _PROGRAM, *words], stdout=subprocess.PIPE, start_new_session=True
    )
    read_line(process.stdout)
    try:
        yield listen
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
