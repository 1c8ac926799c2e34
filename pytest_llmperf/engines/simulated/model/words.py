"""Words as tokens: those that the simulated model says, and those that a text is cut into."""

from __future__ import annotations

import random
import re

_LIST = """
a and answer attention batch block budget cache each every fast for from holds in is key memory model of one page queue
reads request slow table the token value waits with
"""
VOCABULARY = tuple(_LIST.split())
_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s]+)|\s+")


def draw_by(seed: str) -> random.Random:
    """Draws that are the same for the same seed, which may be any text of JSON, also one that no encoding has."""
    return random.Random(seed.encode("utf-8", "surrogatepass"))


def list_words(seed: int, count: int) -> list[str]:
    """``count`` tokens of an answer, each a word with a space before it: the same for every request under one seed."""
    chosen = random.Random(f"{seed} words").choices(VOCABULARY, k=count)
    return [f" {word}" for word in chosen]


def split_text(text: str) -> list[str]:
    """The tokens of a text: words and runs of signs, each with the white space before it. Joined they are the text."""
    return _TOKEN.findall(text)
