"""Texts that match a regular expression, for the values that a JSON schema describes by one."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

_DIGITS, _WORDS, _SPACES = string.digits, string.ascii_letters + string.digits + "_", " "
_ALL = _WORDS + " -.,:/"
_CLASSES = {
    "d": _DIGITS,
    "w": _WORDS,
    "s": _SPACES,
    "D": string.ascii_letters,
    "W": "-.",
    "S": _WORDS,
    "n": "\n",
    "t": "\t",
    "r": "\r",
}
_REPEAT = re.compile(r"\{(\d+)(,?)(\d*)\}")
_MORE = 3
_TRIES = 200


class PatternError(ValueError):
    """A pattern for which no text can be made; one line."""


def make_text(pattern: str, draw: random.Random, least: int = 0, most: int | None = None) -> str:
    """A text of ``least`` to ``most`` characters in which ``pattern`` is found.

    Raises:
        PatternError: the pattern has a part that is not known here, or no text of that length was found.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise PatternError(f"the pattern {pattern!r} is none: {error}") from None
    maker = _Maker(pattern, draw)
    for more in range(_TRIES):
        text = maker.make(more % (least + _MORE + 1))
        if least <= len(text) and (most is None or len(text) <= most) and compiled.search(text):
            return text
    raise PatternError(f"no text was found that matches the pattern {pattern!r} and its length")


@dataclass
class _Maker:
    """Makes one text after the other; ``more`` is how often a part is repeated at most beyond what it must be."""

    pattern: str
    draw: random.Random
    at: int = 0
    more: int = 0

    def make(self, more: int) -> str:
        self.at, self.more = 0, more
        text = self._alternatives()
        if self.at < len(self.pattern):
            raise PatternError(f"the pattern {self.pattern!r} has a part that is not known here, from {self._rest()!r}")
        return text

    def _rest(self) -> str:
        return self.pattern[self.at : self.at + 8]

    def _alternatives(self) -> str:
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return self.draw.choice(found)

    def _sequence(self) -> str:
        text = ""
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            begin = self.at
            piece = self._atom()
            times = self.draw.randint(*self._repeats())
            end = self.at
            text += piece * min(times, 1)
            for _ in range(times - 1):
                self.at = begin
                text += self._atom()
            self.at = end
        return text

    def _repeats(self) -> tuple[int, int]:
        least, most = 1, 1
        if self._take("*"):
            least, most = 0, self.more
        elif self._take("+"):
            least, most = 1, 1 + self.more
        elif self._take("?"):
            least, most = 0, 1
        elif match := _REPEAT.match(self.pattern, self.at):
            self.at = match.end()
            least = int(match[1])
            most = least if not match[2] else int(match[3]) if match[3] else least + self.more
            most = min(most, least + self.more)
        else:
            return least, most
        self._take("?")  # a lazy one takes the same texts
        return least, most

    def _atom(self) -> str:
        sign = self.pattern[self.at]
        self.at += 1
        if sign in "^$":
            return ""
        if sign == ".":
            return self.draw.choice(_WORDS)
        if sign == "[":
            return self.draw.choice(self._class())
        if sign == "(":
            return self._group()
        if sign == "\\":
            return self._escape()
        return sign

    def _group(self) -> str:
        if self._take("?") and not self._take(":"):
            name = re.compile(r"P?<\w+>").match(self.pattern, self.at)
            if name is None:
                raise PatternError(
                    f"the pattern {self.pattern!r} has a group that is not known here: '(?{self._rest()}'"
                )
            self.at = name.end()
        text = self._alternatives()
        self.at += 1  # re.compile has seen that each group is closed
        return text

    def _escape(self) -> str:
        sign = self.pattern[self.at]
        self.at += 1
        if sign in "bBAZ":
            return ""
        if sign in _CLASSES:
            return self.draw.choice(_CLASSES[sign])
        if sign.isalnum():
            raise PatternError(f"the pattern {self.pattern!r} has a part that is not known here: '\\{sign}'")
        return sign

    def _class(self) -> str:
        """The characters of the class whose bracket has been taken."""
        is_negated = self._take("^")
        found, first = "", True
        while first or self.pattern[self.at] != "]":
            first = False
            begin = self._class_member()
            if len(begin) == 1 and self.pattern[self.at] == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                end = self._class_member()
                found += "".join(map(chr, range(ord(begin), ord(end) + 1)))
            else:
                found += begin
        self.at += 1
        return "".join(sign for sign in _ALL if sign not in found) or "~" if is_negated else found

    def _class_member(self) -> str:
        sign = self.pattern[self.at]
        self.at += 1
        if sign != "\\":
            return sign
        sign = self.pattern[self.at]
        self.at += 1
        return _CLASSES.get(sign, sign)

    def _take(self, sign: str) -> bool:
        found = self.pattern.startswith(sign, self.at)
        self.at += found
        return found
