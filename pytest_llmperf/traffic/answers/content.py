"""What a message, or a part of one in a stream, carries: text, reasoning, calls of tools, and sound or images."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_dict, as_list, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAILS = "reasoning_details"
# Some servers send the same reasoning in two fields: the first that has text counts, of these before any other.
_REASONING_FIELDS = ("reasoning_content", "reasoning")
# Names of fields with reasoning, and of those that say something about it.
_REASONING = re.compile(r"(?i)reasoning|think|thought")
_ABOUT_REASONING = re.compile(r"(?i)(?:effort|format|id|index|ms|seconds|signature|status|time|tokens|type)$")
_SUMMARY = re.compile(r"(?i)summar")
# The types of parts of a message that are reasoning begin with these words.
_REASONING_TYPES = ("reasoning", "thinking", "thought")
_MEDIA = ("audio", "image", "images")
# A message with no other field than these, whose content is no list, carries nothing but text.
_TEXT_ALONE = frozenset(
    (
        *("content", "finish_reason", "index", "logprobs", "matched_stop", "name"),
        *("prompt_token_ids", "role", "stop_reason", "text", "token_ids"),
    )
)
_TEXT_KEYS = (
    "text",
    "thinking",
    "reasoning",
    "reasoning_text",
    "reasoningText",
    "content",
    "summary",
    "refusal",
    "transcript",
)
# Entries of the reasoning details that are not the tokens of the reasoning, but another text about it, or unreadable.
_NO_TOKENS = ("summary", "encrypted")


def is_plain(message: Mapping[str, Any]) -> bool:
    """Whether a message can carry nothing but text in its ``content``."""
    return _TEXT_ALONE.issuperset(message) and not isinstance(message.get("content"), list)


def read_text(message: Mapping[str, Any]) -> str:
    """Returns the text of a message, its refusal, or what its sound says; "" if it has none of them."""
    content = message.get("content")
    if isinstance(content, list):
        text = gather_text([part for part in content if not _is_reasoning(part)])
    else:
        text = "" if _is_thought(message) else as_text(content)
    return text or as_text(message.get("refusal")) or as_text(as_dict(message.get("audio")).get("transcript"))


def read_reasoning(message: Mapping[str, Any]) -> str:
    """Returns the reasoning in a message, in whichever field the server puts it; "" if it has none."""
    for name in _list_reasoning_fields(message):
        if text := gather_text(message[name]):
            return text
    content = message.get("content")
    if _is_thought(message):
        return gather_text(content)
    return gather_text([part for part in as_list(content) if _is_reasoning(part)])


def is_summary(message: Mapping[str, Any]) -> bool:
    """Whether the reasoning in a message is a summary, whose text is not that of the tokens that the server counts."""
    kinds = [as_text(as_dict(entry).get("type")) for entry in as_list(message.get(_DETAILS))]
    if kinds:
        return all(kind.endswith(_NO_TOKENS) for kind in kinds)
    read = next((name for name in _list_reasoning_fields(message) if gather_text(message[name])), "")
    return _SUMMARY.search(read) is not None


def count_media_bytes(message: Mapping[str, Any]) -> int:
    """Returns the size of the sound and the images in a message, as they are encoded; 0 if it has none."""
    return sum(len(json.dumps(message[name])) for name in _MEDIA if message.get(name))


def list_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tool calls in a message, or their parts, as the OpenAI API has them; also a call in its old form.

    Some servers send a single call without a list around it.
    """
    stated = message.get("tool_calls")
    calls = [stated] if isinstance(stated, dict) else [as_dict(call) for call in as_list(stated)]
    old = as_dict(message.get("function_call"))
    return [*calls, {"function": old}] if old else calls


def gather_text(value: object) -> str:
    """Returns all text in a part or in a list of parts, of any form."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := gather_text(value.get(key)))), "")
    return "".join(map(gather_text, as_list(value)))


@lru_cache(maxsize=1024)
def _names_reasoning(key: str) -> bool:
    return _REASONING.search(key) is not None and _ABOUT_REASONING.search(key) is None


def _list_reasoning_fields(message: Mapping[str, Any]) -> list[str]:
    """Returns the fields that hold reasoning, those that are not a summary first."""
    found = [name for name in message if message[name] and _names_reasoning(name)]
    if len(found) < 2:
        return found
    return sorted(found, key=lambda name: (name not in _REASONING_FIELDS, _SUMMARY.search(name) is not None))


def _is_thought(message: Mapping[str, Any]) -> bool:
    """Whether a message says that its content is reasoning, as Gemini's does beside it."""
    if any(message[name] is True for name in _list_reasoning_fields(message)):
        return True
    return any(_is_thought(as_dict(part)) for part in as_dict(message.get("extra_content")).values())


def _is_reasoning(part: object) -> bool:
    fields = as_dict(part)
    return as_text(fields.get("type")).startswith(_REASONING_TYPES) or _is_thought(fields)
