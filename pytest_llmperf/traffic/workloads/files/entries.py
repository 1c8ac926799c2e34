"""The entries of a workload file, one at a time: JSON lines, a list in JSON, or CSV, each also compressed by gzip."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import re
import zlib
from typing import TYPE_CHECKING, Any, cast

from pytest_llmperf.traffic.answers.json_fields import excerpt
from pytest_llmperf.traffic.workloads.files.csv_rows import parse_header
from pytest_llmperf.traffic.workloads.files.json_list import JsonList
from pytest_llmperf.traffic.workloads.files.json_objects import DECODER, LONGEST_ENTRY, explain
from pytest_llmperf.traffic.workloads.files.values import show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_llmperf.traffic.workloads.files.csv_rows import Columns

    # The number of a line, its keys and values, and the unit of its timestamp if the format of the file has one.
    RawEntry = tuple[int, dict[str, Any], str | None]

_GZIP = b"\x1f\x8b"
_UNREADABLE = {
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "a Parquet file",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    codecs.BOM_UTF32_LE: "text in UTF-32",
    codecs.BOM_UTF16_LE: "text in UTF-16",
    codecs.BOM_UTF16_BE: "text in UTF-16",
    _GZIP: "compressed by gzip twice",
}
_FORMS = "give JSON lines, a list in JSON or CSV, in UTF-8, as they are or compressed by gzip"
_BLANK = b" \t\r\n"
# A document whose list stands under "data", behind nothing but plain values.
_DOCUMENT = re.compile(rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|[-+.\w]+)\s*,)*\s*"data"\s*:\s*\[')
_HEAD = 2**16


def read_entries(path: Path) -> Iterator[RawEntry]:
    """Yields the line, the keys and values, and the unit of the timestamp of each entry of a file.

    The unit is None if the format of the file has none, as all do but those of some CSV. At no time more than one entry
    and a piece of the file are in memory.

    Raises:
        ValueError: the file or an entry cannot be read; the message is one line that begins with the place.
        OSError: the file cannot be opened.
    """
    name = path.name
    with contextlib.ExitStack() as files:
        stream: io.BufferedReader = files.enter_context(io.BufferedReader(path.open("rb", 0), _HEAD))
        if stream.peek(2).startswith(_GZIP):
            # The class behind gzip.open reads ahead by itself; the buffer is for peek.
            stream = files.enter_context(io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), _HEAD))
        try:
            yield from _read_stream(stream, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{name} is damaged, or not compressed by gzip: {excerpt(str(error))}") from None


def _read_stream(stream: io.BufferedReader, name: str) -> Iterator[RawEntry]:
    head = stream.peek(_HEAD)
    for mark, kind in _UNREADABLE.items():
        if head.startswith(mark):
            raise ValueError(f"{name} is {kind}: {_FORMS}")
    if b"\0" in head[:4]:
        raise ValueError(f"{name} is no text in UTF-8, but perhaps in UTF-16: {_FORMS}")
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    first = head.lstrip(_BLANK)[:1]
    if first == b"[" or _DOCUMENT.match(head):
        return ((line, content, None) for line, content in JsonList(stream, name).read())
    if first in (b"{", b""):
        return _read_lines(stream, name)
    return _read_rows(stream, name)


def _read_texts(stream: io.BufferedReader, name: str) -> Iterator[str]:
    """Yields the text of each line."""
    number = 0
    while line := stream.readline(LONGEST_ENTRY):
        number += 1
        if len(line) == LONGEST_ENTRY:
            raise ValueError(f"{name}:{number}: the line is longer than {LONGEST_ENTRY >> 20} MiB")
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            what = f"the text is not UTF-8 ({error.reason} at byte {error.start + 1})"
            raise ValueError(f"{name}:{number}: {what}") from None


def _read_lines(stream: io.BufferedReader, name: str) -> Iterator[RawEntry]:
    for number, text in enumerate(_read_texts(stream, name), 1):
        if text.isspace():
            continue
        try:
            content = DECODER.decode(text)
        except (ValueError, RecursionError) as error:
            raise explain(f"{name}:{number}", error) from None
        if not isinstance(content, dict):
            raise ValueError(f"{name}:{number}: {show(content)} is not an object with the keys of a request")
        yield number, content, None


def _read_rows(stream: io.BufferedReader, name: str) -> Iterator[RawEntry]:
    rows = csv.reader(_read_texts(stream, name), strict=True)
    columns: Columns | None = None
    try:
        for row in rows:
            try:
                if not row:
                    continue
                if columns is None:
                    columns = parse_header(row)
                    continue
                content, unit = columns.parse(row)
            except ValueError as error:
                raise explain(f"{name}:{rows.line_num}", error) from None
            yield rows.line_num, content, unit
    except csv.Error as error:
        raise explain(f"{name}:{rows.line_num}", error) from None
