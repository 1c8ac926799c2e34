"""Reading a stream's events by the one before: most differ from it in the text they carry and in nothing else."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_OPENING = re.compile(r'"(?:content|text)"\s*:\s*"')
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_PROBE = "?"


@dataclass(frozen=True)
class Template:
    """The JSON around the text of an event. Between the same two parts any other string is that event's text."""

    before: str
    after: str

    @staticmethod
    def of(data: str, text: str, read: Callable[[dict[str, Any]], str]) -> Template | None:
        """What surrounds ``text`` in ``data``, from which ``read`` has read it; None where that is not certain.

        It is certain once another text in the same place is read as that text, and changes nothing else.
        """
        if _PLAIN.fullmatch(text) is None:
            return None
        for opening in _OPENING.finditer(data):
            start, stop = opening.end(), opening.end() + len(text)
            if data[start:stop] == text and data[stop : stop + 1] == '"':
                found = Template(data[:start], data[stop:])
                probe = json.loads(f"{found.before}{_PROBE}{found.after}")
                if read(probe) == _PROBE:
                    return found
        return None

    def text_of(self, data: str) -> str | None:
        """The text of an event that differs from the template's only in it; None for every other event."""
        if not (data.startswith(self.before) and data.endswith(self.after)):
            return None
        text = data[len(self.before) : len(data) - len(self.after)]
        return text if _PLAIN.fullmatch(text) else None
