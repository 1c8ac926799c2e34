"""The text whose positions engines are compared at: passages of a fixed number of words, and contexts in them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PASSAGE_WORDS = 24
POSITION_WORDS = 8
MOST_PASSAGES = 64
FEWEST_PASSAGES = 8
DEFAULT_NAME = "the text of pytest-llmperf"
_WORD = re.compile(r"\s*\S+")


class TextError(ValueError):
    """A text that cannot be used; the message is one line."""


@dataclass(frozen=True)
class ProbeText:
    """A text, as passages of :data:`PASSAGE_WORDS` words; a position is after each :data:`POSITION_WORDS` of them.

    The context of a position is its passage up to there, and does not begin with what came before the passage: contexts
    stay short, and what an engine gets wrong in one passage says nothing of the next.

    Attributes:
        name: what messages call it.
        passages: at most :data:`MOST_PASSAGES`, evenly over the text.
    """

    name: str
    passages: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """What tells it from any other text, or from the same text with other positions."""
        parts = [f"{PASSAGE_WORDS}/{POSITION_WORDS}", *self.passages]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @cached_property
    def whole(self) -> str:
        """Its passages, one a line: what tokenizers are compared by."""
        return "\n".join(self.passages)

    @cached_property
    def contexts(self) -> tuple[tuple[str, ...], ...]:
        """The contexts of each passage, from the shortest to the longest."""
        return tuple(_list_contexts(passage) for passage in self.passages)


def divide_text(text: str, name: str) -> ProbeText:
    """The passages of a text.

    Raises:
        TextError: it is too short for a comparison.
    """
    words = _WORD.findall(text)
    starts = range(0, len(words) - PASSAGE_WORDS + 1, PASSAGE_WORDS)
    least = FEWEST_PASSAGES * PASSAGE_WORDS
    if len(starts) < FEWEST_PASSAGES:
        raise TextError(f"{name} has {len(words)} words between blanks, and a comparison needs {least}")
    # The same passage a second time says nothing new, and would make a verdict look surer than it is.
    passages = list(dict.fromkeys("".join(words[start : start + PASSAGE_WORDS]).strip() for start in starts))
    if len(passages) < FEWEST_PASSAGES:
        raise TextError(
            f"{name} repeats itself: it has {len(passages)} different passages of {PASSAGE_WORDS} words, and a "
            f"comparison needs {FEWEST_PASSAGES}"
        )
    step = max(1.0, len(passages) / MOST_PASSAGES)
    kept = [passages[int(number * step)] for number in range(min(len(passages), MOST_PASSAGES))]
    return ProbeText(name, tuple(kept))


def read_default_text() -> ProbeText:
    """The text of this package: prose, speech, instructions, figures, code and some words of other languages."""
    text = files("pytest_llmperf.quality").joinpath("default_text.txt").read_text(encoding="utf-8")
    return divide_text(text, DEFAULT_NAME)


def read_text_file(path: Path, name: str) -> ProbeText:
    """The text of a file in UTF-8.

    Raises:
        TextError: it cannot be read, or is too short.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TextError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise TextError(f"{name} is not text in UTF-8") from None
    return divide_text(text, name)


def _list_contexts(passage: str) -> tuple[str, ...]:
    words = _WORD.findall(passage)
    return tuple("".join(words[:end]) for end in range(POSITION_WORDS, len(words) + 1, POSITION_WORDS))
