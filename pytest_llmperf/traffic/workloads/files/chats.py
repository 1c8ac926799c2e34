"""Chats in a workload file: recorded conversations, and turns that follow the answers that the server gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.files.parsed import FurtherTurn, ParsedRequest
from pytest_llmperf.traffic.workloads.files.values import check_length, check_stamp, check_text, read_delay, show

if TYPE_CHECKING:
    from collections.abc import Callable

_USERS = ("human", "user")
# Columns of GuideLLM that are numbered by turn.
_INDEXED = re.compile(r"(prompt|output_tokens_count|completion_tokens_count)[-_](\d{1,6})")
_TURN_KEYS = frozenset({"text", "output_length", "delay", "role", "type", "timestamp"})


def parse_conversation(
    value: object, output: int | None, count_tokens: Callable[[str], int] | None
) -> ParsedRequest | None:
    """Reads the first message of the user, with the system's before it, from a recorded conversation.

    The length of the answer is ``output``, or that of the recorded one by ``count_tokens``. None without a user.

    Raises:
        ValueError: it is no conversation.
    """
    if not isinstance(value, list):
        raise ValueError(f"conversations is {show(value)}: it must be a list of messages")
    said = [_read_said(message) for message in value]
    first = next((number for number, (role, text) in enumerate(said) if role in _USERS and text.strip()), None)
    if first is None:
        return None
    system = [{"role": "system", "content": text} for role, text in said[:first] if role == "system"]
    answer = said[first + 1][1] if first + 1 < len(said) and said[first + 1][0] not in _USERS else ""
    if output is None and count_tokens is not None and answer:
        output = max(1, count_tokens(answer))
    return ParsedRequest([*system, {"role": "user", "content": said[first][1]}], None, output)


def _read_said(message: object) -> tuple[str, str]:
    if isinstance(message, Mapping):
        role, text = message.get("from", message.get("role")), message.get("value", message.get("content"))
        if isinstance(role, str) and isinstance(text, str):
            return role, text
    raise ValueError(f"conversations has {show(message)}: each message must have a text in from and in value")


def parse_turns(value: object, system: Mapping[str, Any] | None, output: int | None) -> ParsedRequest:
    """Parses the ``turns`` of a chat: texts, or objects of AIPerf with a text, a length and a delay.

    ``output`` is the length of the answers of turns that give none.

    Raises:
        ValueError: they are none, or a key of one is not known.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"turns is {show(value)}: it must be a list of texts, or of objects with a text")
    return _join([_parse_turn(turn, first=not number) for number, turn in enumerate(value)], system, output)


def _parse_turn(turn: object, *, first: bool) -> FurtherTurn:
    if isinstance(turn, str):
        return FurtherTurn(check_text("turns", turn), None, 0.0)
    if not isinstance(turn, dict):
        raise ValueError(f"turns has {show(turn)}: each must be a text, or an object with a text")
    if unknown := next((key for key in turn if key not in _TURN_KEYS), None):
        raise ValueError(f"unknown key {unknown[:50]!r} in turns; known are {', '.join(sorted(_TURN_KEYS))}")
    if turn.get("role", "user") != "user":
        raise ValueError(f"role is {show(turn['role'])} in turns: they are those of the user")
    if turn.get("timestamp") is not None and not first:
        check_stamp("timestamp", turn["timestamp"])
        raise ValueError("timestamp in turns after the first is not read: give delay")
    output = turn.get("output_length")
    return FurtherTurn(
        check_text("text", turn.get("text")),
        None if output is None else check_length("output_length", output),
        read_delay(turn.get("delay")) or 0.0,
    )


def read_first_stamp(value: object) -> float | None:
    """The timestamp of the first turn, in ms; None without one.

    Raises:
        ValueError: it is no moment.
    """
    first = value[0] if isinstance(value, list) and value else None
    stamp = first.get("timestamp") if isinstance(first, dict) else None
    return None if stamp is None else check_stamp("timestamp", stamp)


def find_indexed(content: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    """Finds the keys of an entry that are numbered by turn, each with its name and number; empty for none."""
    if not any(key[-1:].isdigit() for key in content):
        return {}
    found = {key: _INDEXED.fullmatch(key) for key in content}
    return {key: (match[1], int(match[2])) for key, match in found.items() if match is not None}


def parse_indexed(
    content: Mapping[str, Any], indexed: Mapping[str, tuple[str, int]], system: Mapping[str, Any] | None
) -> ParsedRequest:
    """Parses turns that are numbered keys, such as ``prompt_0`` and ``output_tokens_count_0``.

    Raises:
        ValueError: a turn has no prompt, two keys give one thing, or a value is impossible.
    """
    turns: dict[int, dict[str, Any]] = {}
    for key, (name, number) in indexed.items():
        if content[key] is None:
            continue
        name = name.replace("completion", "output")
        if name in turns.setdefault(number, {}):
            raise ValueError(f"{key} gives {name} of turn {number} once more: leave one")
        turns[number][name] = content[key]
    parsed = []
    for number, turn in sorted(turns.items()):
        key = f"prompt_{number}"
        output = turn.get("output_tokens_count")
        text = check_text(key, turn.get("prompt"))
        parsed.append(
            FurtherTurn(text, None if output is None else check_length(f"output_tokens_count_{number}", output), 0.0)
        )
    if not parsed:
        raise ValueError("no turn has a prompt")
    return _join(parsed, system, None)


def _join(turns: list[FurtherTurn], system: Mapping[str, Any] | None, output: int | None) -> ParsedRequest:
    first, *further = (turn._replace(output_tokens=turn.output_tokens or output) for turn in turns)
    said = [{"role": "user", "content": first.text}]
    return ParsedRequest([*([system] if system else []), *said], None, first.output_tokens, further=further)
