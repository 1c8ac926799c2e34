"""Answers and requests as they may stand on the wire, and what a strict reader makes of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from tests.helpers.relay_wires import call, chunked_call

if TYPE_CHECKING:
    from random import Random

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"
CUT = "the server closed the connection in the middle of the answer"
NONE = "the server closed the connection without an answer"
NO_STATUS_LINE = "it does not begin with a status line"
NO_FIELD = "a line of its head is no header field"
NO_SIZE = "the size of a chunk is not a number"
NO_LENGTH = "its content-length is not a number of at most 18 digits"
NO_CODING = "its transfer-encoding is not that of HTTP/1.1 in chunks"
BARE_IN_HEAD = "a line of its head ends without a carriage return"
BARE_IN_BODY = "a line between its chunks ends without a carriage return"
LONG_HEAD = "its head is longer than 64 KiB"
LONG_LINE = "a line between its chunks does not end"


class Wire(NamedTuple):
    """Bytes and what comes of them: ``content``, ``more`` bytes after the end, or why they are refused."""

    data: bytes
    content: bytes = b""
    fault: str = ""
    reusable: bool = True


def sized(length: bytes, body: bytes = b"hello", first: bytes = OK, more: bytes = b"") -> bytes:
    return first + b"Content-Length: " + length + b"\r\n" + more + b"\r\n" + body


def field(line: bytes) -> bytes:
    return sized(b"5", more=line + b"\r\n")


ANSWERS: dict[str, Wire] = {
    # ------------------------------------------------------------------------------------------------ what is plain
    "sized": Wire(sized(b"5"), b"hello"),
    "in chunks": Wire(CHUNKED + HELLO + b"7\r\n, world\r\n" + END, b"hello, world"),
    "empty": Wire(sized(b"0", b"")),
    "no chunk": Wire(CHUNKED + END),
    "chunks that look like an end": Wire(CHUNKED + b"9\r\n0\r\n\r\n\r\n\r\n\r\n" + END, b"0\r\n\r\n\r\n\r\n"),
    "no content": Wire(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "no content, with a length": Wire(sized(b"0", b"", b"HTTP/1.1 204 No Content\r\n")),
    "not modified, with a length": Wire(sized(b"9", b"", b"HTTP/1.1 304 Not Modified\r\n")),
    "not modified, in chunks": Wire(CHUNKED.replace(b"200 OK", b"304 Not Modified")),
    "without a reason": Wire(sized(b"5", first=b"HTTP/1.1 200\r\n"), b"hello"),
    "an empty reason": Wire(sized(b"5", first=b"HTTP/1.1 200 \r\n"), b"hello"),
    "a reason in Latin-1": Wire(sized(b"5", first=b"HTTP/1.1 404 Pas trouv\xe9\r\n"), b"hello"),
    "an unknown status": Wire(sized(b"5", first=b"HTTP/1.1 799 Odd\r\n"), b"hello"),
    "leading zeros": Wire(sized(b"0005"), b"hello"),
    "leading zeros of a size": Wire(CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    "sizes in both cases": Wire(CHUNKED + b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END, b"0123456789" * 2),
    "spaces around a length": Wire(sized(b" \t 5 \t"), b"hello"),
    "no space before a value": Wire(OK + b"Content-Length:5\r\n\r\nhello", b"hello"),
    "an empty value": Wire(field(b"X:"), b"hello"),
    "a value in Latin-1": Wire(field(b"X: \xe4\xff"), b"hello"),
    "a field twice": Wire(field(b"Set-Cookie: a\r\nSet-Cookie: b"), b"hello"),
    "Chunked": Wire(CHUNKED.replace(b"chunked", b"Chunked") + HELLO + END, b"hello"),
    "extensions": Wire(CHUNKED + b'5;a=1;b="x y"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
    "spaces before an extension": Wire(CHUNKED + b"5 \t;a\r\nhello\r\n" + END, b"hello"),
    "a trailer": Wire(CHUNKED + HELLO + b"0\r\nX-Sum: 1\r\nX-More:\r\n\r\n", b"hello"),
    "a trailer with a length": Wire(CHUNKED + HELLO + b"0\r\nContent-Length: 1\r\n\r\n", b"hello"),
    "after 100": Wire(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"5"), b"hello"),
    "after 102 and 103": Wire(
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\nContent-Length: 7\r\n\r\n"
        + sized(b"5"),
        b"hello",
    ),
    # --------------------------------------------------------------------------------------- the end of a connection
    "until closed": Wire(OK + b"\r\nhello", b"hello", reusable=False),
    "until closed, HTTP/1.0": Wire(b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", reusable=False),
    "nothing until closed": Wire(OK + b"\r\n", reusable=False),
    "HTTP/1.0 with a length": Wire(sized(b"5", first=b"HTTP/1.0 200 OK\r\n"), b"hello", reusable=False),
    "close": Wire(field(b"Connection: close"), b"hello", reusable=False),
    "close among others": Wire(field(b"Connection: x, CLOSE\r\nConnection: y"), b"hello", reusable=False),
    "not close": Wire(field(b"Connection: closely"), b"hello"),
    "bytes after a length": Wire(sized(b"5", b"hello, world"), b"hello", reusable=False),
    "bytes after the last chunk": Wire(CHUNKED + HELLO + END + b"0", b"hello", reusable=False),
    "a line break after the end": Wire(sized(b"5", b"hello\r\n"), b"hello", reusable=False),
    "a body after 204": Wire(sized(b"5", first=b"HTTP/1.1 204 No Content\r\n"), reusable=False),
    "two answers": Wire(sized(b"5") + sized(b"3", b"bye"), b"hello", reusable=False),
    "nothing": Wire(b"", fault=NONE),
    "an interim answer alone": Wire(b"HTTP/1.1 100 Continue\r\n\r\n", fault=NONE),
    "half a head": Wire(OK + b"Content-Le", fault=CUT),
    "half a body": Wire(sized(b"9"), b"hello", CUT),
    "half a size": Wire(CHUNKED + HELLO + b"1", b"hello", CUT),
    "half a chunk": Wire(CHUNKED + b"9\r\nhello", b"hello", CUT),
    "half an end of a chunk": Wire(CHUNKED + HELLO[:-1], b"hello", CUT),
    "no last chunk": Wire(CHUNKED + HELLO, b"hello", CUT),
    "half a last chunk": Wire(CHUNKED + HELLO + END[:-1], b"hello", CUT),
    "half a trailer": Wire(CHUNKED + HELLO + b"0\r\nX-Sum: 1\r\n", b"hello", CUT),
    # -------------------------------------------------------------------------------------------------- first lines
    "another protocol": Wire(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", fault=NO_STATUS_LINE),
    "another protocol that says no more": Wire(b"SSH-2.0-OpenSSH_9.6\r\n", fault=NO_STATUS_LINE),
    "a text without an end": Wire(b"Hello", fault=NO_STATUS_LINE),
    "bare line feeds of another protocol": Wire(b"220 mail\n\n", fault=NO_STATUS_LINE),
    "HTTP/0.9": Wire(b"<html>\r\n\r\n", fault=NO_STATUS_LINE),
    "HTTP/2": Wire(sized(b"5", first=b"HTTP/2 200 OK\r\n"), fault=NO_STATUS_LINE),
    "HTTP/1.2": Wire(sized(b"5", first=b"HTTP/1.2 200 OK\r\n"), fault=NO_STATUS_LINE),
    "small letters": Wire(sized(b"5", first=b"http/1.1 200 OK\r\n"), fault=NO_STATUS_LINE),
    "two spaces": Wire(sized(b"5", first=b"HTTP/1.1  200 OK\r\n"), fault=NO_STATUS_LINE),
    "a status of two digits": Wire(sized(b"5", first=b"HTTP/1.1 20 OK\r\n"), fault=NO_STATUS_LINE),
    "a status of four digits": Wire(sized(b"5", first=b"HTTP/1.1 2000 OK\r\n"), fault=NO_STATUS_LINE),
    "a status that begins with 0": Wire(sized(b"5", first=b"HTTP/1.1 020 OK\r\n"), fault=NO_STATUS_LINE),
    "a signed status": Wire(sized(b"5", first=b"HTTP/1.1 +20 OK\r\n"), fault=NO_STATUS_LINE),
    "an empty line first": Wire(b"\r\n" + sized(b"5"), fault=NO_STATUS_LINE),
    "a byte-order mark first": Wire(b"\xef\xbb\xbf" + sized(b"5"), fault=NO_STATUS_LINE),
    "a switch that nothing asked for": Wire(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nhello",
        fault="it switches to another protocol, which nothing asked for",
    ),
    # ------------------------------------------------------------------------------------------------------- fields
    "a line without a colon": Wire(field(b"hello"), fault=NO_FIELD),
    "a line without a name": Wire(field(b": x"), fault=NO_FIELD),
    "a space before the colon": Wire(OK + b"Content-Length : 5\r\n\r\nhello", fault=NO_FIELD),
    "a space in a name": Wire(field(b"X Y: 1"), fault=NO_FIELD),
    "a line that goes on": Wire(field(b"X: 1\r\n and more"), fault=NO_FIELD),
    "a length in the next line": Wire(OK + b"Content-Length:\r\n 5\r\n\r\nhello", fault=NO_FIELD),
    "a first field that goes on": Wire(OK + b" X: 1\r\nContent-Length: 5\r\n\r\nhello", fault=NO_FIELD),
    "a zero byte": Wire(field(b"X: a\0b"), fault=NO_FIELD),
    "an escape sequence": Wire(field(b"X: \x1b[2J"), fault=NO_FIELD),
    "a carriage return in a value": Wire(field(b"X: a\rContent-Length: 3"), fault=NO_FIELD),
    "a carriage return before the break": Wire(field(b"X: a\r"), fault=NO_FIELD),
    "bare line feeds": Wire(sized(b"5").replace(b"\r\n", b"\n"), fault=BARE_IN_HEAD),
    "one bare line feed": Wire(field(b"X: a\nContent-Length: 3"), fault=BARE_IN_HEAD),
    "an empty line of a line feed": Wire(OK + b"Content-Length: 5\r\n\nhello", fault=BARE_IN_HEAD),
    "a long head": Wire(field(b"X: " + b"x" * (1 << 16)), fault=LONG_HEAD),
    "a head without an end": Wire(OK + b"X: " + b"x" * (1 << 16), fault=LONG_HEAD),
    # ------------------------------------------------------------------------------------------------------ lengths
    **{
        f"the length {length!r}": Wire(sized(length), fault=NO_LENGTH)
        for length in (
            b"+5",
            b"-5",
            b"-0",
            b"1_0",
            b"0x5",
            b"5.0",
            b"5e0",
            b"",
            b"five",
            b"5, 5",
            b"5 5",
            b"5;",
            b"\xb2",
        )
    },
    "a length of 19 digits": Wire(sized(b"1" * 19), fault=NO_LENGTH),
    "a length of 5000 digits": Wire(sized(b"9" * 5000), fault=NO_LENGTH),
    "a length twice": Wire(sized(b"5", more=b"Content-Length: 5\r\n"), fault="it has content-length more than once"),
    "two lengths": Wire(sized(b"5", more=b"content-length: 3\r\n"), fault="it has content-length more than once"),
    "a length and chunks": Wire(
        sized(b"5", CHUNKED[:0] + HELLO + END, more=b"Transfer-Encoding: chunked\r\n"),
        fault="it has both content-length and transfer-encoding",
    ),
    "chunks twice": Wire(
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + HELLO + END,
        fault="it has transfer-encoding more than once",
    ),
    **{
        f"the coding {coding!r}": Wire(
            OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + HELLO + END, fault=NO_CODING
        )
        for coding in (b"gzip, chunked", b"chunked, gzip", b"identity", b"xchunked", b"chunked;q=1", b"", b"chunked,")
    },
    "chunks of HTTP/1.0": Wire(CHUNKED.replace(b"1.1", b"1.0") + HELLO + END, fault=NO_CODING),
    # ------------------------------------------------------------------------------------------------------- chunks
    **{
        f"the size {size!r}": Wire(CHUNKED + size + b"\r\nhello\r\n" + END, fault=NO_SIZE)
        for size in (
            *(b"", b"+5", b"-5", b"0x5", b"5_", b"0_5", b" 5", b"5 ", b"5h", b"zz", b"5\t", b"5,", b"\xb2", b"5\r"),
            *(b"5;\0", b"5;a\r", b"1" * 16, b"0" * 16, b"-0", b"5;\x1b[2J"),
        )
    },
    "a size that ends in a line feed": Wire(CHUNKED + b"5\nhello\r\n" + END, fault=BARE_IN_BODY),
    "a chunk that ends in a line feed": Wire(CHUNKED + b"5\r\nhello\n" + END, b"hello", BARE_IN_BODY),
    "a last chunk that ends in a line feed": Wire(CHUNKED + HELLO + b"0\n\n", b"hello", BARE_IN_BODY),
    "a body that ends in a line feed": Wire(CHUNKED + HELLO + b"0\r\n\n", b"hello", BARE_IN_BODY),
    "a chunk that is longer than its size": Wire(
        CHUNKED + b"4\r\nhello\r\n" + END, b"hell", "a chunk is longer than its size"
    ),
    "a chunk that is shorter than its size": Wire(CHUNKED + b"6\r\nhello\r\n" + END, b"hello\r", BARE_IN_BODY),
    "a long extension": Wire(CHUNKED + b"5;" + b"x" * 5000 + b"\r\nhello\r\n" + END, fault=LONG_LINE),
    "a size without an end": Wire(CHUNKED + b"5" * 5000, fault=LONG_LINE),
    "a trailer that is none": Wire(CHUNKED + HELLO + b"0\r\nhello\r\n\r\n", b"hello", NO_FIELD),
    "a trailer with an escape sequence": Wire(CHUNKED + HELLO + b"0\r\nX: \x1b[2J\r\n\r\n", b"hello", NO_FIELD),
    "a long trailer": Wire(
        CHUNKED + HELLO + b"0\r\n" + (b"X: " + b"x" * 1021 + b"\r\n") * 65,
        b"hello",
        "its trailer is longer than 64 KiB",
    ),
}


REQUESTS: dict[str, tuple[bytes, bytes]] = {
    "sized": (call(b"hello"), b"hello"),
    "chunked": (chunked_call(b"one", b"two"), b"onetwo"),
    "without a body": (call(b"", method="GET"), b""),
    "with an unknown method": (call(b"hello", method="QUERY"), b"hello"),
    "of HTTP/1.0": (call(b"hello").replace(b"1.1", b"1.0"), b"hello"),
    "with odd characters in its path": (call(b"hello", path='/v1/\xe4?a={}|"<>'), b"hello"),
}
NO_REQUEST_LINE = "it does not begin with a request line"
REFUSED: dict[str, tuple[bytes, str]] = {
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NO_REQUEST_LINE),
    "TLS": (b"\x16\x03\x01 TLS\r\n\r\n", NO_REQUEST_LINE),
    "a space in its path": (call().replace(b"/v1", b"/v1 2"), NO_REQUEST_LINE),
    "two spaces": (call().replace(b"POST ", b"POST  "), NO_REQUEST_LINE),
    "no path": (call().replace(b"/v1/chat/completions ", b""), NO_REQUEST_LINE),
    "HTTP/0.9": (b"GET /\r\n\r\n", NO_REQUEST_LINE),
    "a line feed in its first line": (call().replace(b" HTTP", b"\nX: HTTP"), BARE_IN_HEAD),
    "bare line feeds": (call(b"").replace(b"\r\n", b"\n") + b"Host: hello", BARE_IN_HEAD),
    "a carriage return in its path": (call().replace(b"/v1", b"/v1\r"), NO_REQUEST_LINE),
    "two hosts": (call(fields="Host: b\r\n"), "it has host more than once"),
    "two lengths": (call(b"hello", fields="Content-Length: 3\r\n"), "it has content-length more than once"),
    "a length and chunks": (
        call(b"hello", fields="Transfer-Encoding: chunked\r\n"),
        "it has both content-length and transfer-encoding",
    ),
    "another coding": (call(b"", fields="Transfer-Encoding: gzip, chunked\r\n") + HELLO + END, NO_CODING),
    "a length that is none": (call(b"", fields="Content-Length: many\r\n"), NO_LENGTH),
    "a signed length": (call(b"", fields="Content-Length: +5\r\n") + b"hello", NO_LENGTH),
    "a field that goes on": (call(fields="X: 1\r\n Host: b\r\n"), NO_FIELD),
    "a space before a colon": (call(fields="X : 1\r\n"), NO_FIELD),
    "a signed size": (call(b"", fields="Transfer-Encoding: chunked\r\n") + b"+5\r\nhello\r\n", NO_SIZE),
    "a head without an end": (b"x" * (1 << 16) + b"y", LONG_HEAD),
}


def split_at_random(data: bytes, random: Random) -> list[bytes]:
    """Cuts bytes into pieces: some long, some of a byte, in any order."""
    cuts = {0, len(data)}
    for _ in range(random.choice((1, 3, 10, 40))):
        at = random.randrange(len(data) + 1)
        cuts |= {at, min(len(data), at + random.choice((1, 1, 2, 5)))}
    return [data[a:b] for a, b in pairwise(sorted(cuts))]
