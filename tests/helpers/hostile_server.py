"""A server with an OpenAI API, in a thread of this process, that answers each request as a test wants it to."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping, Sequence

MODEL = "tiny"


@dataclass(frozen=True)
class Reply:
    """An answer: its ``parts`` are bytes, each sent as one chunk, and pauses in seconds between them."""

    parts: Sequence[bytes | float]
    content_type: str = "text/event-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """A request as the server got it."""

    path: str
    body: dict[str, Any]
    headers: Mapping[str, str]


def event(content: object) -> bytes:
    """One server-sent event; text goes as it is (``[DONE]``), anything else as JSON."""
    return f"data: {content if isinstance(content, str) else json.dumps(content)}\n\n".encode()


def stream(*contents: object, pause_s: float = 0.001, **reply: Any) -> Reply:
    """A stream of these events, ``pause_s`` before each; bytes are sent as they are."""
    events = [content if isinstance(content, bytes) else event(content) for content in contents]
    return Reply([part for piece in events for part in (pause_s, piece)], **reply)


def lines(*contents: object, pause_s: float = 0.001, **reply: Any) -> Reply:
    """A stream in Ollama's own protocol: a line of JSON each."""
    pieces = [f"{json.dumps(content)}\n".encode() for content in contents]
    parts = [part for piece in pieces for part in (pause_s, piece)]
    return Reply(parts, **{"content_type": "application/x-ndjson", **reply})


def whole(content: object, **reply: Any) -> Reply:
    """A whole answer; bytes are sent as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Reply([body], **{"content_type": "application/json", **reply})


def text(content: str, finish: str | None = None, **more: object) -> dict[str, object]:
    """An event or body of ``/completions``."""
    return {"choices": [{"index": 0, "text": content, "finish_reason": finish}], **more}


def delta(finish: str | None = None, index: int = 0, **carried: object) -> dict[str, object]:
    """An event of ``/chat/completions``."""
    return {"choices": [{"index": index, "delta": carried, "finish_reason": finish}]}


def usage(output: object, prompt: object = 3, **details: object) -> dict[str, object]:
    """The last event of a stream, with the counts."""
    return {"choices": [], "usage": {"completion_tokens": output, "prompt_tokens": prompt, **details}}


def good_stream(tokens: int = 4, finish: str = "length", prompt: int = 3) -> Reply:
    """A stream of ``/completions`` with which nothing is wrong."""
    words = [text(f" w{number}") for number in range(tokens)]
    return stream(*words, text("", finish), usage(tokens, prompt), "[DONE]")


def good_whole(tokens: int = 4, finish: str = "length", prompt: int = 3) -> Reply:
    """A whole answer of ``/completions`` with which nothing is wrong."""
    counts = {"completion_tokens": tokens, "prompt_tokens": prompt}
    return whole(text(" w" * tokens, finish, usage=counts))


class HostileServer:
    """``answer`` is called with each POST and may be replaced at any time; the requests are in ``asked``.

    ``pages`` answer each GET of their path.
    """

    def __init__(self, answer: Callable[[Asked], Reply], models: Sequence[str] = (MODEL,)) -> None:
        self.answer = answer
        self.models = list(models)
        self.pages: dict[str, Callable[[], Reply]] = {}
        self.asked: list[Asked] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(self))
        self._server.daemon_threads = True
        self.address = ("127.0.0.1", int(self._server.server_address[1]))
        self.url = f"http://127.0.0.1:{self.address[1]}"

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speaks TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def options(self) -> list[str]:
        """The options with which pytest measures this server."""
        return ["--llm-engine=openai", f"--llmperf-url={self.url}"]

    @contextmanager
    def running(self) -> Iterator[HostileServer]:
        """Serves until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()


def _make_handler(hostile: HostileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            """The page of this path, without its query; the list of models whatever else is asked for."""
            page = hostile.pages.get(self.path.partition("?")[0])
            if page is not None:
                self._send(page())
                return
            listed = {"object": "list", "data": [{"id": name, "object": "model"} for name in hostile.models]}
            self._send(whole(listed))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length", "0"))
            asked = Asked(self.path, json.loads(self.rfile.read(size) or b"{}"), dict(self.headers.items()))
            hostile.asked.append(asked)
            self._send(hostile.answer(asked))

        def _send(self, reply: Reply) -> None:
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Transfer-Encoding", "chunked")
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):
                for part in reply.parts:
                    if isinstance(part, bytes):
                        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n" if part else b"")
                    else:
                        time.sleep(part)
                self.wfile.write(b"0\r\n\r\n")

    return Handler
