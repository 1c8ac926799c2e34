"""Answers for Python's own HTTP client, read strictly.

That client is asked for what is not timed: models, health, metrics. By itself it would take a negative length or a size
with an underscore for a number, and lines of any kind for a head.
"""

from __future__ import annotations

import http.client
import io
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_llmperf.system.http.answer import CUT, TimedAnswer
from pytest_llmperf.system.http.heads import HTTPError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_READ_SIZE = 1 << 16


class BrokenAnswerError(http.client.HTTPException):
    """The answer is not HTTP/1.1, or is not complete; the message says why."""


class CutAnswerError(BrokenAnswerError, ConnectionResetError):
    """The connection has ended in the middle of the answer."""


class StrictResponse(http.client.HTTPResponse):
    """An answer that is read as those that are timed are."""

    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(sock, debuglevel, method, url)
        self._answer = TimedAnswer(method or "GET")
        self._socket = sock

    def begin(self) -> None:
        """Reads the head.

        Raises:
            RemoteDisconnected: the connection has ended without an answer.
            BrokenAnswerError: what came is none; :class:`CutAnswerError` if it is not whole.
        """
        answer, content = self._answer, _Content(self._answer, self.fp, self._socket)
        while answer.status is None:
            if not content.receive():
                cause = answer.why_incomplete()
                raise CutAnswerError(cause) if cause == CUT else http.client.RemoteDisconnected(cause)
        self.status = self.code = answer.status
        self.reason = answer.reason
        self.version = 11
        self.headers = self.msg = http.client.HTTPMessage()
        for name, value in answer.headers.items():
            self.headers[name] = value
        # The content comes without its framing, up to its end.
        self.chunked, self.length = False, None
        self.will_close = answer.ends_with_connection or not answer.keeps_open
        self.fp = io.BufferedReader(content)

    def flush(self) -> None:
        """Does nothing: an answer is read only. Python's own fails where the connection has been closed before."""


class StrictHTTPConnection(http.client.HTTPConnection):
    """A connection whose answers are read strictly."""

    response_class = StrictResponse


class StrictHTTPSConnection(http.client.HTTPSConnection):
    """A connection with TLS whose answers are read strictly."""

    response_class = StrictResponse


class _Content(io.RawIOBase):
    """The content of an answer as a file, read from the file of a socket."""

    def __init__(self, answer: TimedAnswer, source: io.BufferedReader, sock: socket.socket) -> None:
        self._answer = answer
        self._source = source
        self._socket = sock
        self._left = b""

    def receive(self) -> bool:
        """Reads on; returns whether anything came."""
        data = self._source.read1(_READ_SIZE)
        try:
            if data and self._answer.take(data, 0) and not self._answer.reusable and self._answer.keeps_open:
                # What came beyond the answer would begin the next one.
                with suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
        except HTTPError as error:
            raise BrokenAnswerError(f"the answer is not HTTP/1.1: {error}") from None
        return bool(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fills a buffer.

        Raises:
            BrokenAnswerError: the answer breaks off, or is not HTTP/1.1.
        """
        answer = self._answer
        while not self._left:
            if answer.pieces:
                self._left = b"".join(data for _, data in answer.pieces)
                answer.pieces.clear()
            elif answer.complete:
                return 0
            elif not self.receive():
                if cause := answer.why_incomplete():
                    raise CutAnswerError(cause)
                return 0
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._left))
        view[:size], self._left = self._left[:size], self._left[size:]
        return size

    def close(self) -> None:
        if not self.closed:
            self._source.close()
        super().close()
