"""The entries of a workload file, one at a time: JSON lines, a list in JSON, or CSV, each also compressed by gzip."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import json
import re
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from pytest_llmperf.traffic.answers.json_fields import excerpt
from pytest_llmperf.traffic.workloads.csv_rows import parse_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeVar

    Parsed = TypeVar("Parsed")

_GZIP = b"\x1f\x8b"
_UNREADABLE = {
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
}
_FORMS = "give JSON lines, a list in JSON or CSV, in UTF-8, as they are or compressed by gzip"
_BLANK = b" \t\r\n"
_LONGEST_ENTRY = 64 * 2**20
_PIECE = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
# An entry that ends with the text read so far fails there; a string without an end fails at its beginning.
_UNFINISHED = 16


class Entry(NamedTuple):
    """One entry of a file.

    Attributes:
        place: where it stands, such as ``trace.jsonl:3``.
        content: its keys and values.
        time_unit: unit of its timestamp, such as ``"s"``, if the format of the file says so; None if not.
    """

    place: str
    content: dict[str, Any]
    time_unit: str | None = None


def read_entries(path: Path) -> Iterator[Entry]:
    """Yields the entries of a file; at no time more than one of them and a piece of the file are in memory.

    Raises:
        ValueError: the file or an entry cannot be read; the message is one line that begins with the place.
        OSError: the file cannot be opened.
    """
    name = path.name
    with contextlib.ExitStack() as files:
        stream = files.enter_context(path.open("rb"))
        if stream.peek(2).startswith(_GZIP):
            # The class behind gzip.open reads ahead by itself; the buffer is for peek.
            stream = files.enter_context(io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream))))
        try:
            yield from _read_stream(stream, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name} is damaged, or not compressed by gzip: {excerpt(str(error))}") from None


def _read_stream(stream: io.BufferedReader, name: str) -> Iterator[Entry]:
    head = stream.peek(_PIECE)
    for mark, kind in _UNREADABLE.items():
        if head.startswith(mark):
            raise ValueError(f"{name} is {kind}: {_FORMS}")
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    first = head.lstrip(_BLANK)[:1]
    if first == b"[":
        return _List(stream, name).read()
    if first in (b"{", b""):
        return _read_lines(stream, name)
    return _read_rows(stream, name)


def _read_texts(stream: io.BufferedReader, name: str) -> Iterator[tuple[str, str]]:
    """Yields the place and the text of each line."""
    number = 0
    while line := stream.readline(_LONGEST_ENTRY):
        number += 1
        place = f"{name}:{number}"
        if len(line) == _LONGEST_ENTRY:
            raise ValueError(f"{place}: the line is longer than {_LONGEST_ENTRY >> 20} MiB")
        try:
            yield place, line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: the text is not UTF-8 ({error.reason} at byte {error.start + 1})") from None


def _read_lines(stream: io.BufferedReader, name: str) -> Iterator[Entry]:
    for place, text in _read_texts(stream, name):
        if text.strip():
            try:
                content = _DECODER.decode(text)
            except (ValueError, RecursionError) as error:
                raise _explain(place, error) from None
            if not isinstance(content, dict):
                raise ValueError(f"{place}: {excerpt(repr(content))} is not an object with the keys of a request")
            yield Entry(place, content)


def _read_rows(stream: io.BufferedReader, name: str) -> Iterator[Entry]:
    rows = csv.reader((text for _, text in _read_texts(stream, name)), strict=True)
    try:
        columns = _explained(f"{name}:1", parse_header, next(rows))
        for row in rows:
            if row:
                place = f"{name}:{rows.line_num}"
                yield Entry(place, *_explained(place, columns.parse, row))
    except csv.Error as error:
        raise _explain(f"{name}:{rows.line_num}", error) from None


def _explained(place: str, parse: Callable[[list[str]], Parsed], row: list[str]) -> Parsed:
    try:
        return parse(row)
    except ValueError as error:
        raise _explain(place, error) from None


def _explain(place: str, error: Exception) -> ValueError:
    """Makes the message of what a parser raised one line that begins with the place."""
    if isinstance(error, json.JSONDecodeError):
        return ValueError(f"{place}: not JSON ({error.msg} at column {error.colno})")
    if isinstance(error, RecursionError):
        return ValueError(f"{place}: the JSON is nested too deep")
    return ValueError(f"{place}: {excerpt(str(error))}")


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{excerpt(next(key for key in keys if keys.count(key) > 1))!r} is given twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_build_object)


class _List:
    """Reads the objects of a list in JSON one by one, without the list as a whole."""

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0
        self._line = 1

    def read(self) -> Iterator[Entry]:
        """Yields the entries.

        Raises:
            ValueError: what the file has is not a list of objects.
        """
        self._expect("[")
        if self._next() != "]":
            yield self._read_object()
            while self._next() == ",":
                self._expect(",")
                yield self._read_object()
        self._expect("]")
        if self._next():
            raise ValueError(f"{self._place}: there is more text behind the end of the list")

    @property
    def _place(self) -> str:
        return f"{self._name}:{self._line}"

    def _next(self) -> str:
        """Returns the next character that is no white space, without taking it; "" at the end of the file."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._move(match.end())
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def _expect(self, character: str) -> None:
        found = self._next()
        if found != character:
            what = f"{found!r}" if found else "the end of the file"
            raise ValueError(f"{self._place}: not JSON ({what} in place of {character!r})")
        self._move(self._at + 1)

    def _read_object(self) -> Entry:
        if self._next() != "{":
            raise ValueError(f"{self._place}: an entry of the list is not an object with the keys of a request")
        place = self._place
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _UNFINISHED
                if not cut or not self._fill():
                    line = self._line + self._text.count("\n", self._at, error.pos)
                    raise _explain(f"{self._name}:{line}", error) from None
            except (ValueError, RecursionError) as error:
                raise _explain(place, error) from None
            else:
                self._move(end)
                return Entry(place, value)

    def _move(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _fill(self) -> bool:
        """Reads a further piece, as long as what is left of the text; False at the end of the file."""
        left = self._text[self._at :]
        if len(left) > _LONGEST_ENTRY:
            raise ValueError(f"{self._place}: an entry is longer than {_LONGEST_ENTRY >> 20} MiB")
        data = self._stream.read(max(_PIECE, len(left)))
        try:
            self._text, self._at = left + self._decode(data, final=not data), 0
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._place} or later: the text is not UTF-8 ({error.reason})") from None
        return bool(data)
