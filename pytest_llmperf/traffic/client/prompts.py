"""Finds the prompt in the body of a request, in every protocol that servers of models speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Prompts of other models, of other salts or behind another nonce have nothing in common in any cache.
_CONTEXT = ("model", "cache_salt", "llmperf_nonce")
# Templates put tools before the first message. Some leave them out, so their characters do not count.
_BEFORE = ("tools", "functions", "template")
_TEXTS = ("instructions", "system", "messages", "input", "prompt", "suffix", "images")
# Fields that hold text; everything else in a message is data, or says what the text is.
_TEXT_FIELDS = frozenset({"content", "text", "input", "output", "thinking", "reasoning", "reasoning_content"})

# Hosted servers are told by it what to keep; it moves from message to message as a chat goes on.
_NOT_IN_PROMPT = frozenset({"cache_control"})


def find_prompt(body: Mapping[str, Any], *, fresh: bool = False, shared: bool = False) -> Prompt | None:
    """The prompt of a request with this body; None if it is nested too deeply to be read.

    ``fresh`` says that the request keeps it from being taken from a cache, as llama.cpp's ``cache_prompt`` does;
    ``shared`` that the test has asked for the other.
    """
    context = "\n".join(str(body.get(key, "")) for key in _CONTEXT)
    try:
        return Prompt.of(_list_pieces(body), context, fresh=fresh or body.get("cache_prompt") is False, shared=shared)
    except RecursionError:
        return None


def parse_prompt(body: bytes) -> Prompt | None:
    """The prompt of a request with this body of JSON; None if it cannot be read."""
    content = parse_body(body)
    return None if content is None else find_prompt(content)


def parse_body(body: bytes) -> dict[str, Any] | None:
    """The body of a request as a JSON object; None if it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _list_pieces(body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    for key in _BEFORE:
        if body.get(key):
            yield _dump(body[key]), False
    for key in _TEXTS:
        if body.get(key):
            yield f"\0{key}", False
            yield from _read(body[key], text=key != "images")


def _read(value: Any, *, text: bool) -> Iterator[tuple[str, bool]]:
    """The texts in a value, each with whether it is text, in the order in which they stand."""
    if isinstance(value, str):
        yield value, text
    elif isinstance(value, dict):
        for key in sorted(map(str, value)):
            if key not in _NOT_IN_PROMPT:
                yield f"\0{key}", False
                yield from _read(value.get(key), text=key in _TEXT_FIELDS)
    elif isinstance(value, list):
        for inner in value:
            yield from _read(inner, text=text)
    elif value is not None:
        yield f"{json.dumps(value)},", text


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
