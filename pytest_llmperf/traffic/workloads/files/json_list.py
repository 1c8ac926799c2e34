"""A list in JSON, read object by object: the whole document, or what stands under ``"data"`` in it."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.files.json_objects import DECODER, LONGEST_ENTRY, explain

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator

_PIECE = 2**20
_SPACE = re.compile(r"[ \t\r\n]*")
# An entry that ends with the text read so far fails there; a string without an end fails at its beginning.
_UNFINISHED = 16
_DATA = "data"


class JsonList:
    """Reads the objects of a list in JSON one by one, without the list as a whole.

    The list is the document, or stands under ``"data"`` in an object.
    """

    def __init__(self, stream: io.BufferedReader, name: str) -> None:
        self._stream = stream
        self._name = name
        self._decode = codecs.getincrementaldecoder("utf-8")().decode
        self._text = ""
        self._at = 0
        self._line = 1

    def read(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the line and the content of each entry.

        Raises:
            ValueError: what the file has is not a list of objects.
        """
        yield from self._read_document() if self._next() == "{" else self._read_list()
        if self._next():
            raise ValueError(f"{self._place}: there is more text behind the end of the list")

    def _read_document(self) -> Iterator[tuple[int, dict[str, Any]]]:
        mark = "{"
        while mark != "}":
            self._expect(mark)
            key = self._read_value()
            self._expect(":")
            if key == _DATA and self._next() == "[":
                yield from self._read_list()
            else:
                self._read_value()
            mark = "," if self._next() == "," else "}"
        self._expect("}")

    def _read_list(self) -> Iterator[tuple[int, dict[str, Any]]]:
        self._expect("[")
        if self._next() != "]":
            yield self._read_object()
            while self._next() == ",":
                self._expect(",")
                yield self._read_object()
        self._expect("]")

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

    def _read_object(self) -> tuple[int, dict[str, Any]]:
        if self._next() != "{":
            raise ValueError(f"{self._place}: an entry of the list is not an object with the keys of a request")
        return self._line, self._read_value()

    def _read_value(self) -> Any:
        self._next()
        place = self._place
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos >= len(self._text) - _UNFINISHED
                if not cut or not self._fill():
                    line = self._line + self._text.count("\n", self._at, error.pos)
                    raise explain(f"{self._name}:{line}", error) from None
            except (ValueError, RecursionError) as error:
                raise explain(place, error) from None
            else:
                # A number may go on in the next piece.
                if end < len(self._text) or not self._fill():
                    self._move(end)
                    return value

    def _move(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _fill(self) -> bool:
        """Reads a further piece, as long as what is left of the text; False at the end of the file."""
        left = self._text[self._at :]
        if len(left) > LONGEST_ENTRY:
            raise ValueError(f"{self._place}: an entry is longer than {LONGEST_ENTRY >> 20} MiB")
        data = self._stream.read(max(_PIECE, len(left)))
        try:
            self._text, self._at = left + self._decode(data, final=not data), 0
        except UnicodeDecodeError as error:
            raise ValueError(f"{self._place} or later: the text is not UTF-8 ({error.reason})") from None
        return bool(data)
