"""Next tokens as plain data, and the file of a reference that later runs are compared with."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.quality.next_tokens import NextTokens, TextNextTokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMA = 1
_KEY = "llmperf_reference"


class ReferenceFileError(ValueError):
    """A file that is no reference; the message is one line."""


def next_tokens_to_wire(found: TextNextTokens) -> dict[str, Any]:
    """As plain data of exact builtin types."""
    return {
        "text": str(found.text),
        "text_name": str(found.text_name),
        "engine": str(found.engine),
        "tokens": None if found.tokens is None else [int(token) for token in found.tokens],
        "passages": [
            [[one.context_tokens, {str(t): float(v) for t, v in one.likely.items()}] for one in passage]
            for passage in found.passages
        ],
    }


def next_tokens_from_wire(data: Mapping[str, Any]) -> TextNextTokens:
    """What :func:`next_tokens_to_wire` made the data of.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is not of that shape, or states no log-probabilities.
    """
    tokens = data["tokens"]
    return TextNextTokens(
        str(data["text"]),
        str(data["text_name"]),
        str(data["engine"]),
        None if tokens is None else tuple(int(token) for token in tokens),
        tuple(tuple(_read_position(*one) for one in passage) for passage in data["passages"]),
    )


def _read_position(context_tokens: int | None, likely: Mapping[str, float]) -> NextTokens:
    found = {str(token): float(value) for token, value in likely.items()}
    if not all(-math.inf < value <= 0 for value in found.values()):
        raise ValueError("a log-probability is a number of at most 0")
    return NextTokens(context_tokens, found)


def write_reference(texts: Sequence[Mapping[str, Any]]) -> str:
    """The text of a reference file with the next tokens of one engine, of each text once."""
    return json.dumps({_KEY: SCHEMA, "texts": list(texts)}, ensure_ascii=False, separators=(",", ":")) + "\n"


def read_reference(content: str, name: str) -> dict[str, TextNextTokens]:
    """The next tokens in a reference file, by the digest of their text.

    Raises:
        ReferenceFileError: it is not such a file, or not whole.
    """
    try:
        data = json.loads(content)
        if not isinstance(data, dict) or data.get(_KEY) != SCHEMA:
            raise ReferenceFileError(f"{name} is no reference: --llmperf-save-reference writes one")
        found = [next_tokens_from_wire(one) for one in data["texts"]]
    except ReferenceFileError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ReferenceFileError(f"{name} is no whole reference ({type(error).__name__}): write it anew") from None
    return {one.text: one for one in found}
