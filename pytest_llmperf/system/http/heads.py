"""The heads of HTTP/1.1 messages, parsed strictly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_HEAD = 1 << 16
"""The most bytes of a head, and of the fields behind a body in chunks."""
UNASKED_SWITCH = "it switches to another protocol, which nothing asked for"
END = b"\r\n\r\n"
ANSWER = b"HTTP/1."
"""How the head of every answer begins."""
_NO_STATUS_LINE = "it does not begin with a status line"
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD = re.compile(rf"({_TOKEN}):([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST_LINE = re.compile(rf"({_TOKEN}) ([!-~\x80-\xff]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_LENGTH = re.compile(r"[0-9]{1,18}")
# Fields of which two readers may each take another one.
_ONCE = ("content-length", "transfer-encoding", "host")


class HTTPError(Exception):
    """The bytes are not HTTP/1.1, or may be read in two ways; the message says what is wrong without quoting them."""


class Framing(NamedTuple):
    """What a head says of its body: its ``length`` in bytes, None if it states none, or that it is ``chunked``."""

    length: int | None
    chunked: bool


class RequestHead(NamedTuple):
    """The head of a request; ``fields`` by their names in lower case.

    ``is_old`` says whether it is of HTTP/1.0, ``keeps_open`` whether the connection is to carry another message.
    """

    method: str
    target: str
    fields: Mapping[str, str]
    framing: Framing
    is_old: bool
    keeps_open: bool

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class AnswerHead(NamedTuple):
    """The head of an answer; ``fields`` by their names in lower case.

    ``keeps_open`` says whether the connection may carry another message, unless the body ends with it.
    """

    status: int
    reason: str
    fields: Mapping[str, str]
    framing: Framing
    keeps_open: bool

    @property
    def is_interim(self) -> bool:
        """Whether another answer to the same request follows."""
        return self.status < 200 and self.status != 101


def find_end(data: bytes | bytearray, begin: int = 0, seen: int = 0, prefix: bytes = b"") -> int:
    """Returns where the body begins after the head at ``begin``; -1 if the head is not whole.

    The first ``seen`` bytes of the head have been looked at before. It must begin with ``prefix``.

    Raises:
        HTTPError: this is no head, whatever follows.
    """
    if not prefix.startswith(data[begin : begin + len(prefix)]):
        raise HTTPError(_NO_STATUS_LINE)
    longest = begin + LONGEST_HEAD
    end = data.find(END, begin + max(0, seen - len(END) + 1), longest)
    stop = min(len(data), longest) if end < 0 else end
    if data.count(b"\n", begin + seen, stop) != data.count(b"\r\n", begin + max(0, seen - 1), stop):
        raise HTTPError("a line of its head ends without a carriage return")
    if end < 0 and len(data) >= longest:
        raise HTTPError(f"its head is longer than {LONGEST_HEAD >> 10} KiB")
    return -1 if end < 0 else end + len(END)


def parse_request_head(wire: bytes) -> RequestHead:
    """Parses the bytes of a whole head of a request.

    Raises:
        HTTPError: they are none.
    """
    start, *lines = wire[: -len(END)].decode("latin-1").split("\r\n")
    match = _REQUEST_LINE.fullmatch(start)
    if match is None:
        raise HTTPError("it does not begin with a request line")
    fields = parse_fields(lines)
    is_old = match[3] == "0"
    return RequestHead(
        match[1], match[2], fields, _parse_framing(fields, is_old), is_old, not (is_old or _closes(fields))
    )


def parse_answer_head(wire: bytes) -> AnswerHead:
    """Parses the bytes of a whole head of an answer.

    Raises:
        HTTPError: they are none.
    """
    start, *lines = wire[: -len(END)].decode("latin-1").split("\r\n")
    match = _STATUS_LINE.fullmatch(start)
    if match is None:
        raise HTTPError(_NO_STATUS_LINE)
    fields = parse_fields(lines)
    is_old = match[1] == "0"
    framing, keeps_open = _parse_framing(fields, is_old), not (is_old or _closes(fields))
    return AnswerHead(int(match[2]), match[3] or "", fields, framing, keeps_open)


def parse_fields(lines: Iterable[str]) -> dict[str, str]:
    """Parses header lines; the values of a name that stands more than once are joined by commas.

    Raises:
        HTTPError: a line is none, or goes on in the next one; or a field stands twice that may stand once.
    """
    fields: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise HTTPError("a line of its head is no header field")
        name, value = match[1].lower(), match[2].strip(" \t")
        if name not in fields:
            fields[name] = value
        elif name in _ONCE:
            raise HTTPError(f"it has {name} more than once")
        else:
            fields[name] += f", {value}"
    return fields


def _closes(fields: Mapping[str, str]) -> bool:
    return "close" in [option.strip() for option in fields.get("connection", "").lower().split(",")]


def _parse_framing(fields: Mapping[str, str], is_old: bool) -> Framing:
    length, encoding = fields.get("content-length"), fields.get("transfer-encoding")
    if encoding is not None and length is not None:
        raise HTTPError("it has both content-length and transfer-encoding")
    if encoding is not None and (is_old or encoding.lower() != "chunked"):
        raise HTTPError("its transfer-encoding is not that of HTTP/1.1 in chunks")
    if length is not None and not _LENGTH.fullmatch(length):
        raise HTTPError("its content-length is not a number of at most 18 digits")
    return Framing(None if length is None else int(length), encoding is not None)


# ------------------------------------------------------------------------------------------------------------ writing


def write_head(start: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """Returns the bytes of a head with this first line, and the empty line that ends it.

    Raises:
        ValueError: a field cannot be sent; the message names it and does not show its value, which may be a key.
    """
    lines = [start]
    for name, value in fields:
        line = f"{name}: {value}"
        match = _FIELD.fullmatch(line)
        if match is None or match[1] != name or not line.isascii():
            raise ValueError(f"the header {name!r} must be a text of ASCII characters in one line")
        lines.append(line)
    return "\r\n".join([*lines, "", ""]).encode("ascii")
