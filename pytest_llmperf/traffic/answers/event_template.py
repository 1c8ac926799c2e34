"""A template for the events of a stream, most of which differ in their text only: it saves parsing their JSON."""

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
class EventTemplate:
    """The JSON before and after the text of an event."""

    before: str
    after: str

    @staticmethod
    def of(data: str, text: str, read: Callable[[dict[str, Any]], str]) -> EventTemplate | None:
        """Returns the template of the event ``data``, whose text is ``text``; None if its place is not certain.

        The place is certain if ``read`` finds another text that is put there, and the event carries nothing else.
        """
        if _PLAIN.fullmatch(text) is None:
            return None
        for opening in _OPENING.finditer(data):
            start, stop = opening.end(), opening.end() + len(text)
            if data[start:stop] == text and data[stop : stop + 1] == '"':
                found = EventTemplate(data[:start], data[stop:])
                probe = json.loads(f"{found.before}{_PROBE}{found.after}")
                if read(probe) == _PROBE:
                    return found
        return None

    def match(self, data: str) -> str | None:
        """Returns the text of an event that fits the template; None for any other event."""
        if not (data.startswith(self.before) and data.endswith(self.after)):
            return None
        text = data[len(self.before) : len(data) - len(self.after)]
        return text if _PLAIN.fullmatch(text) else None
