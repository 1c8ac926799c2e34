"""A server with one page of metrics, made anew for each request, on connections that are kept open."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class MetricsServer(ThreadingHTTPServer):
    """Answers every request with ``page()``; what a test changes holds from the next request on."""

    # The end of a test must not wait for clients that still keep their connection.
    daemon_threads = True
    block_on_close = False

    def __init__(self, page: Callable[[], str | bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = page
        self.status = 200
        self.chunked = False
        self.hangs_up = False
        """Close the connection after each answer, without a word about it in the answer."""
        self.missing_bytes = 0
        """How much of the announced length is never sent."""
        self.connections = 0
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet: written apart, the second waits for the acknowledgement of the first.
    wbufsize = -1
    server: MetricsServer

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        server = self.server
        server.paths.append(self.path)
        page = server.page()
        body = page if isinstance(page, bytes) else page.encode()
        self.send_response(server.status)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body) + server.missing_bytes))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = server.hangs_up or server.missing_bytes > 0

    def log_message(self, *_: object) -> None:
        """Says nothing: the output of a test is the test's."""


@contextmanager
def serving(page: Callable[[], str | bytes]) -> Iterator[MetricsServer]:
    """A server of this page, for as long as the block runs."""
    with MetricsServer(page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(PATIENCE_S)
