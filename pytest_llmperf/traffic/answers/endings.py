"""What makes an answer one: a known ending, and something that was answered. Everything else is a failed request."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.answers.answer import Arrival

_AT_LENGTH = frozenset({"length", "model_length"})
KNOWN = _AT_LENGTH | {"stop", "stop_sequence", "eos", "eos_token", "tool_calls", "function_call", "content_filter"}
"""Finish reasons of answers, in every protocol but ``/responses``. A server that aborts an answer gives another one."""
NO_ANSWER = frozenset({"load", "unload"})
"""Finish reasons of Ollama for requests that load or unload a model, and ask for no tokens."""
# By the status of /responses and the reason in its incomplete_details.
_RESPONSES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("completed", ""): "stop",
        ("incomplete", "max_output_tokens"): "length",
        ("incomplete", "content_filter"): "content_filter",
    }
)
# One character of UTF-8 takes up to four tokens, of which the first three have no text.
_LONGEST_PART_OF_CHARACTER = 3


def describe_nothing(arrival: Arrival) -> str:
    """What came in place of an answer, in one line."""
    came = excerpt(arrival.body)
    return f"status {arrival.status} without an answer{f': {came}' if came else ''}"


def why_unfinished(ending: object, part: str) -> str:
    """Why ``part`` ("the stream", "the answer") has no known ending; "" if it has one. None and "" are no ending."""
    if ending in (None, ""):
        return f"{part} ended without a finish reason"
    if isinstance(ending, str) and ending in KNOWN:
        return ""
    return f"{part} ended with {excerpt(repr(ending))}"


def find_worse(ending: object, later: object) -> object:
    """Returns the ending that counts of two in one stream: nothing that follows mends one that is not known.

    Beside any other one ``stop`` says nothing: some servers send it last, whatever they have sent before.
    """
    if not later or (ending and (later == "stop" or why_unfinished(ending, ""))):
        return ending or None
    return later


def describe_models(first: str, later: str) -> str:
    """Why an answer is not one: a model of another name went on with it."""
    return f"two models answered: {excerpt(first)!r}, then {excerpt(later)!r}"


def find_finish_reason(status: str, reason: str) -> str | None:
    """Returns the finish reason for a status of ``/responses`` and the reason of an incomplete one; None if unknown."""
    return _RESPONSES.get((status, reason))


def why_empty(ending: str, tokens: int | None) -> str:
    """Why an answer without text, reasoning, tool call and refusal does not count; "" if it does.

    It counts if it was cut at its length within its first character. A model that ends its answer with its first token
    has answered nothing that could be measured. ``tokens`` are those that the server counted, None if it did not.
    """
    if ending in _AT_LENGTH and tokens is not None and 1 <= tokens <= _LONGEST_PART_OF_CHARACTER:
        return ""
    counted = "" if tokens is None else f" after {tokens} token{'' if tokens == 1 else 's'}"
    return f"the answer is empty: it ended with {ending!r}{counted}"
