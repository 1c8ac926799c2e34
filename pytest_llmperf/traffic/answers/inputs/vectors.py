"""Finds the vectors and scores in an answer, in the forms that servers give them."""

from __future__ import annotations

import math
import re
from typing import Any

from pytest_llmperf.traffic.answers.errors import find_error, names_error
from pytest_llmperf.traffic.answers.json_fields import as_list

# The lists of an answer with a part for each text, and the fields of a part with its vector.
_LISTS = ("data", "embeddings", "results", "scores")
_VECTORS = ("embedding", "data", "vector")
# What a part says of its text: a score, the shares of classes, or the name of one.
_SCORES = ("relevance_score", "score", "probs", "scores", "label")

# Whole numbers of a vector between its first and its last in a piece, as many as are worth the work.
_INNER_NUMBERS = re.compile(rb"(?<=[\d.]),[-+\d.eE,\s]{64,},")


def thin_out(piece: bytes) -> bytes:
    """Takes out most numbers of the vectors in a piece of an answer, which stays what it is: only their length counts.

    A vector of 1000 numbers takes 20 kB.
    """
    return _INNER_NUMBERS.sub(b",", piece)


def find_vectors(content: object) -> list[Any]:
    """The vectors of an answer, one for each text: lists of numbers, text in base64, or None for one that is missing.

    A text may have a vector for each of its tokens.
    """
    if isinstance(content, dict):
        listed = next((content[key] for key in _LISTS if content.get(key)), None)
        if isinstance(listed, dict):  # a list for each type of number
            listed = next(filter(None, listed.values()), None)
        if listed is None:
            return [content[key] for key in _VECTORS if content.get(key)][:1]
        content = listed
    return [_find(part, _VECTORS) for part in as_list(content)]


def find_scores(content: object) -> list[Any]:
    """What an answer says of each text, or None for one of which it says nothing."""
    if isinstance(content, dict):
        listed = next((content[key] for key in _LISTS if isinstance(content.get(key), list)), None)
        content = [content] if listed is None and _find(content, _SCORES) is not None else listed
    return [_find(part, _SCORES) for part in as_list(content)]


def _find(part: object, keys: tuple[str, ...]) -> object:
    """The first of these fields of a part, None if it states an error; a part that is no object is the value itself."""
    if not isinstance(part, dict):
        return part
    if find_error({key: part[key] for key in part if names_error(key)}):
        return None
    return next((part[key] for key in keys if part.get(key) is not None), None)


def is_given(value: object) -> bool:
    """Whether it is a vector, a score or a class: text, a finite number, or a list or an object of these alone.

    A server that could not compute one gives null, or what is not a number.
    """
    if isinstance(value, list):
        if set(map(type, value)) <= {int, float}:
            return bool(value) and all(map(math.isfinite, value))
        return all(map(is_given, value))
    if isinstance(value, dict):
        return bool(value) and all(map(is_given, value.values())) and not any(map(names_error, value))
    if isinstance(value, bool):
        return False
    return bool(value) if isinstance(value, str) else isinstance(value, int | float) and math.isfinite(value)
