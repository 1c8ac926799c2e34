"""What one engine expects next at fixed positions of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LIKELY = 20
"""How many of the most likely tokens an engine is asked for at each position: as many as vLLM and Ollama give."""


@dataclass(frozen=True)
class NextTokens:
    """The most likely next tokens after one context.

    Attributes:
        context_tokens: the tokens of the context, special ones included, as the engine counts them; None if it did not.
        likely: natural logarithms of the probabilities, by the text of the token; at most :data:`MOST_LIKELY`. Special
            tokens, such as the end of an answer, have an empty text. Empty if the engine states none: Ollama where it
            ends its answer, llama.cpp where the most likely token is a part of a character.
    """

    context_tokens: int | None
    likely: Mapping[str, float]

    @property
    def first(self) -> str:
        """The most likely token; of several that are equally likely, the first in the order of their texts."""
        return min(self.likely, key=lambda token: (-self.likely[token], token), default="")


@dataclass(frozen=True)
class TextNextTokens:
    """The next tokens at all positions of a text, by one engine.

    Attributes:
        text: the digest of the text and of its positions.
        text_name: what messages call the text.
        engine: what messages call the engine.
        tokens: the ids of the text's tokens, special ones included; None if the engine does not state them.
        passages: the positions of each passage of the text, in order.
    """

    text: str
    text_name: str
    engine: str
    tokens: tuple[int, ...] | None
    passages: tuple[tuple[NextTokens, ...], ...]

    @property
    def positions(self) -> int:
        """The number of positions."""
        return sum(len(passage) for passage in self.passages)
