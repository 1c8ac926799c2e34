"""Calls and answers as they stand on the wire, for the relay's tests."""

from __future__ import annotations

from tests.helpers.scripted_server import STREAM_END, STREAM_HEAD, chunk, event

PATH = "/v1/chat/completions"
# As long as the address of a relay and of a server behind it.
HOST = "127.0.0.1:11111"


def call(body: bytes = b'{"stream": true}', path: str = PATH, method: str = "POST", fields: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer sk-very-secret\r\n{fields}"
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{head}{length}\r\n".encode() + body


def chunked_call(*chunks: bytes) -> bytes:
    return call(b"", fields="Transfer-Encoding: chunked\r\n") + b"".join(map(chunk, chunks)) + STREAM_END


def sized_answer(
    body: bytes = b"{}", status: str = "200 OK", fields: str = "Content-Type: application/json\r\n"
) -> bytes:
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


WORDS = [event({"choices": [{"delta": {"content": word}, "finish_reason": None}]}) for word in ("one", "two")]
FINISH = event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"completion_tokens": 2, "prompt_tokens": 3}})
DONE = b"data: [DONE]\n\n"
EVENTS = [*WORDS, FINISH, USAGE, DONE]
STREAM = STREAM_HEAD + b"".join(map(chunk, EVENTS)) + STREAM_END
