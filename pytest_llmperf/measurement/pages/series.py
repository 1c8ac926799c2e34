"""Which series of a Prometheus page are meant: a name, with the labels that they must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = r"[a-zA-Z_:][\w:]*"
_PAIR = r'([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\[\\"n])*)"'
_SERIES = re.compile(rf"\s*({_NAME})\s*(?:\{{\s*((?:{_PAIR}\s*(?:,\s*|(?=\}})))*)\}}\s*)?", re.ASCII)
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True)
class PageSeries:
    """The series of this name that have at least these labels; ``text`` as it was written."""

    name: str
    labels: tuple[tuple[str, str], ...]
    text: str

    @staticmethod
    def parse(text: str) -> PageSeries:
        """``vllm:num_requests_running{engine="0"}``: the labels may be left out.

        Raises:
            ValueError: it is not written so, or has a label twice.
        """
        found = _SERIES.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a series: write it as on the page, such as 'name{{label=\"value\"}}'")
        pairs = [(name, _ESCAPE.sub(_unescape, value)) for name, value in re.findall(_PAIR, found[2] or "", re.ASCII)]
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"{text!r} has a label twice")
        return PageSeries(found[1], tuple(sorted(pairs)), text.strip())

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether a sample of the page is of these series."""
        return name == self.name and all(labels.get(key) == value for key, value in self.labels)

    def rename(self, suffix: str) -> PageSeries:
        """The series of a histogram: ``_bucket``, ``_sum`` or ``_count`` behind its name."""
        braces = self.text[len(self.name) :]
        return PageSeries(f"{self.name}{suffix}", self.labels, f"{self.name}{suffix}{braces}")


def _unescape(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]
