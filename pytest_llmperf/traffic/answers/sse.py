"""Parses server-sent events in the stamped pieces of a response body."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.answers.errors import (
    find_error,
    names_error,
    names_error_of_a_kind,
    tells_of_failure,
)
from pytest_llmperf.traffic.answers.json_fields import parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LINE_END = re.compile(rb"\r\n|\n|\r")
_ERROR = b"error"
_FIELDS = (b"data", b"event", b"id", b"retry", _ERROR)
_FIELD = re.compile(rb"[A-Za-z][\w.-]*")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_events(pieces: Sequence[tuple[int, bytes]]) -> list[tuple[int, str]]:
    """Returns the data of each event with the stamp (ns) of the piece that brought the end of its closing blank line.

    ``pieces`` are (stamp, bytes) in order of arrival, split anywhere. A last event without its closing blank line
    counts, with the stamp of the last piece. The data of an ``event: error``, and of a line ``error: ...`` as older
    llama.cpp sends, is always an object with the key ``error``. A line that is none of an event, such as the text of a
    proxy's error, comes as data of its own.
    """
    whole = b"".join(data for _, data in pieces)
    ends = list(accumulate(len(data) for _, data in pieces))
    return _parse_plain_events(whole, pieces, ends) or _parse_any_events(whole, pieces, ends)


def is_blank(data: str) -> bool:
    """Whether an event carries nothing: no data, or the mark of the end, which says nothing of the answer."""
    return data.strip() in ("", "[DONE]")


def _parse_plain_events(
    whole: bytes, pieces: Sequence[tuple[int, bytes]], ends: Sequence[int]
) -> list[tuple[int, str]] | None:
    """Parses a body of nothing but ``data: ...`` lines with a blank line after each; None for any other."""
    blocks = whole.split(b"\n\n")
    if blocks.pop() or b"\r" in whole or 2 * len(blocks) != whole.count(b"\n"):
        return None
    found: list[tuple[int, str]] = []
    stop = piece = 0
    for block in blocks:
        if not block.startswith(b"data: "):
            return None
        stop += len(block) + 2
        while ends[piece] < stop:
            piece += 1
        found.append((pieces[piece][0], block[6:].decode(errors="replace")))
    return found


def _parse_any_events(whole: bytes, pieces: Sequence[tuple[int, bytes]], ends: Sequence[int]) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    data: list[bytes] = []
    name = b""
    for line, stop in _lines(whole):
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field in (b"data", _ERROR):
                data.append(value)
                name = _ERROR if field == _ERROR else name
            elif field == b"event":
                name = _ERROR if _is_error(value) else value
            elif text := _read_foreign(line):
                found.append((pieces[bisect_left(ends, stop)][0], text))
        else:
            if (data or name == _ERROR) and not _is_aside(name, data):
                # The piece that holds the byte before `stop` is the first whose end reaches `stop`.
                found.append((pieces[bisect_left(ends, stop)][0], _text(name, data)))
            data, name = [], b""
    return found


def _is_error(name: bytes) -> bool:
    text = name.decode(errors="replace")
    # The events of /responses have a type that says it, and some are of a tool that failed.
    last = text if text.startswith("response.") else text.rpartition(".")[2]
    return names_error(last) or names_error_of_a_kind(last) or tells_of_failure(last)


def _is_aside(name: bytes, data: Sequence[bytes]) -> bool:
    """Whether an event of a name carries no object: pings and marks of the end carry a time, a word, or nothing."""
    return name not in (b"", b"message", _ERROR) and not b"".join(data).lstrip().startswith(b"{")


def _read_foreign(line: bytes) -> str:
    """Returns the text of a line that is no part of an event; "" for one that a reader of events may ignore."""
    name, colon, value = line.partition(b":")
    text = line.decode(errors="replace")
    if colon and (not name or name in _FIELDS):
        return ""
    if colon and _FIELD.fullmatch(name):
        # Fields of other names are ignored, unless they are for errors.
        return _text(_ERROR, [value.strip()]) if _is_error(name) else ""
    content = parse_object(text)
    if content is not None:
        return text if find_error(content) else ""
    # The last line of a stream that was cut may be half a name.
    return "" if not text.strip() or any(field.startswith(line) for field in _FIELDS) else text


def _lines(whole: bytes) -> Iterator[tuple[bytes, int]]:
    """Yields each line and the offset after its end, and one more blank line, which closes the last event."""
    start = len(_BYTE_ORDER_MARK) if whole.startswith(_BYTE_ORDER_MARK) else 0
    for end in _LINE_END.finditer(whole, start):
        yield whole[start : end.start()], end.end()
        start = end.end()
    if start < len(whole):
        yield whole[start:], len(whole)
    yield b"", len(whole)


def _text(name: bytes, data: Sequence[bytes]) -> str:
    text = b"\n".join(data).decode(errors="replace")
    if name != _ERROR:
        return text
    content = parse_object(text)
    if content is None:
        return json.dumps({"error": text or "an event of that name"})
    return text if content.get("error") else json.dumps({"error": {**content, "event": "error"}})
