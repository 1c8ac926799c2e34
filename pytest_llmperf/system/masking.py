"""Hides secrets in what is written down for others: command lines and settings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"
_WORDS = "token|secret|password|passwd|passphrase|credentials?|auth|authorization|signature"
_SECRET = rf"(?:(?:(?<![a-z])|api)key|(?<![a-z])(?:{_WORDS}))"
_SECRET_NAME = re.compile(rf".*{_SECRET}", re.IGNORECASE)
# ``api_key=…``, ``"api_key": "…"``, ``Authorization: Bearer …``: without quotes all that follows may be the value.
_NAMED = re.compile(rf"""({_SECRET}["']?\s*[=:]\s*["']?)(?:(?<=")[^"]*|(?<=')[^']*|.+)""", re.IGNORECASE | re.DOTALL)
_USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^/\s@]+@", re.IGNORECASE)
_QUERY = re.compile(r"([?&][^=&#\s]+=)[^&#\s]+")
_IS_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret, as ``api_key`` does, and ``max_num_batched_tokens`` does not."""
    return _SECRET_NAME.fullmatch(name) is not None


def mask_secrets(text: str) -> str:
    """One word of a command line, with ``***`` for values of secrets, users of URLs and values in their queries."""
    text = _USER.sub(rf"\g<1>{MASK}@", text)
    if _IS_URL.search(text):
        text = _QUERY.sub(rf"\g<1>{MASK}", text)
    return _NAMED.sub(rf"\g<1>{MASK}", text)


def mask_words(words: Iterable[str]) -> list[str]:
    """The words of a command line, masked; that of ``--api-key WORD`` too."""
    masked: list[str] = []
    hides_next = False
    for word in words:
        masked.append(MASK if hides_next and not word.startswith("-") else mask_secrets(word))
        hides_next = word.startswith("-") and "=" not in word and is_secret(word.lstrip("-"))
    return masked
