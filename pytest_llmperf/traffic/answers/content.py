"""What a message, or a part of one in a stream, carries: text, reasoning, and calls of tools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_dict, as_list, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAILS = "reasoning_details"
# Some servers send the same reasoning in two of these fields: the first that has text counts.
_REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_blocks", _DETAILS)
# The types of parts of a message that are reasoning begin with these words.
_REASONING_TYPES = ("reasoning", "thinking", "thought")
# A message without any of these, whose content is no list, carries nothing but text.
_BESIDE_TEXT = frozenset({*_REASONING_FIELDS, "tool_calls", "function_call", "refusal"})
_TEXT_KEYS = ("text", "thinking", "reasoning", "reasoning_text", "content", "summary", "refusal")
# Entries of the reasoning details that are not the tokens of the reasoning, but another text about it, or unreadable.
_NO_TOKENS = ("summary", "encrypted")


def is_plain(message: Mapping[str, Any]) -> bool:
    """Whether a message can carry nothing but text in its ``content``."""
    return _BESIDE_TEXT.isdisjoint(message) and not isinstance(message.get("content"), list)


def read_text(message: Mapping[str, Any]) -> str:
    """Returns the text of a message, or its refusal; "" if it has neither."""
    content = message.get("content")
    if isinstance(content, list):
        return gather_text([part for part in content if not _is_reasoning(part)]) or as_text(message.get("refusal"))
    return as_text(content) or as_text(message.get("refusal"))


def read_reasoning(message: Mapping[str, Any]) -> str:
    """Returns the reasoning in a message, in whichever field the server puts it; "" if it has none."""
    for name in _REASONING_FIELDS:
        value = message.get(name)
        if value and (text := gather_text(value)):
            return text
    return gather_text([part for part in as_list(message.get("content")) if _is_reasoning(part)])


def is_summary(message: Mapping[str, Any]) -> bool:
    """Whether the reasoning in a message is a summary, whose text is not that of the tokens that the server counts."""
    kinds = [as_text(as_dict(entry).get("type")) for entry in as_list(message.get(_DETAILS))]
    return bool(kinds) and all(kind.endswith(_NO_TOKENS) for kind in kinds)


def list_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tool calls in a message, or their parts, as the OpenAI API has them; also a call in its old form."""
    calls = [as_dict(call) for call in as_list(message.get("tool_calls"))]
    old = as_dict(message.get("function_call"))
    return [*calls, {"function": old}] if old else calls


def gather_text(value: object) -> str:
    """Returns all text in a part or in a list of parts, of any form."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := gather_text(value.get(key)))), "")
    return "".join(map(gather_text, as_list(value)))


def _is_reasoning(part: object) -> bool:
    return as_text(as_dict(part).get("type")).startswith(_REASONING_TYPES)
