"""The relay in front of a server that speaks TLS: plain on loopback, encrypted behind."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.traffic.relay.process import Relay
from tests.helpers.relay_wires import STREAM, call
from tests.helpers.relayed_server import read
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl, to make a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "cert")]
    subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
    return folder


class TlsServer:
    """Answers one call with a stream, and remembers the call."""

    def __init__(self, certificate: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate / "cert", certificate / "key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self._listener.getsockname()[1]}/openai/v1"
        self.seen = b""
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self) -> None:
        with self._listener:
            plain, _ = self._listener.accept()
        plain.settimeout(PATIENCE_S)
        try:
            with self._context.wrap_socket(plain, server_side=True) as connection:
                while not self.seen.endswith(b"hello"):
                    self.seen += connection.recv(65536)
                connection.sendall(STREAM)
                connection.recv(1)
        except (ssl.SSLError, ConnectionError):
            plain.close()


@pytest.fixture
def server(certificate: Path) -> Iterator[TlsServer]:
    server = TlsServer(certificate)
    yield server
    server.thread.join(PATIENCE_S)


def asked(relay: Relay) -> bytes:
    with socket.create_connection(("127.0.0.1", relay.port), PATIENCE_S) as app:
        app.sendall(call(b"hello", path="/openai/v1/chat/completions"))
        return read(app, len(STREAM))


def test_calls_are_encrypted_on_their_way_and_otherwise_the_same(
    server: TlsServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert"))
    relay = Relay(server.url)
    try:
        relay.open()
        assert relay.url == f"http://127.0.0.1:{relay.port}/openai/v1"
        assert asked(relay) == STREAM
        (found,) = relay.take(final=False, patience_s=PATIENCE_S).calls
    finally:
        relay.stop()
    assert found.fault == ""
    authority = server.url.removeprefix("https://").partition("/")[0]
    assert server.seen.startswith(b"POST /openai/v1/chat/completions HTTP/1.1\r\n")
    assert f"Host: {authority}\r\nAuthorization: Bearer sk-very-secret\r\n".encode() in server.seen


def test_a_certificate_that_nobody_vouches_for_is_refused(server: TlsServer) -> None:
    relay = Relay(server.url)
    try:
        relay.open()
        assert asked(relay) == b""
        (found,) = relay.take(final=False, patience_s=PATIENCE_S).calls
    finally:
        relay.stop()
    assert found.fault == "the server cannot be reached: certificate verify failed"
    assert server.seen == b""
