"""One request of a workload file, parsed from the keys and values of its entry."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_llmperf.traffic.client.posts import Messages

_CONTENTS = ("prompt", "messages", "input_length", "conversations")
_OUTPUTS = ("output_length", "output_tokens", "max_tokens", "max_completion_tokens")
_TIMING = ("timestamp", "hash_ids")
# Keys that name a request and change nothing in it.
_NAMES = ("id", "request_id")
# What Bailian's traces say beside: input_length is that of the whole prompt, so each turn is a request of its own.
_BAILIAN = ("chat_id", "parent_chat_id", "turn", "type")
_KNOWN = frozenset({*_CONTENTS, *_OUTPUTS, *_TIMING, *_NAMES})
_USERS = ("human", "user")
_LONGEST = 10**8


class FileLine(NamedTuple):
    """One request of a file.

    Attributes:
        prompt: a prompt or messages; None if the line has only a length.
        prompt_tokens: length of the prompt to make; None if the line has a prompt.
        output_tokens: the most tokens of the answer; None if the line does not say.
        blocks: identities of the blocks of the prompt; equal blocks have equal text.
    """

    prompt: Messages | None
    prompt_tokens: int | None
    output_tokens: int | None
    blocks: Sequence[int] = ()


def parse_line(content: Mapping[str, Any], count_tokens: Callable[[str], int] | None) -> FileLine | None:
    """Parses an entry; None for a recorded conversation without a message of the user.

    ``count_tokens`` counts the tokens of a recorded answer, whose length is then asked for.

    Raises:
        ValueError: a key is not known or a value is impossible; the message names the key.
    """
    _check_keys(content)
    given = [key for key in _CONTENTS if content.get(key) is not None]
    if len(given) != 1:
        raise ValueError(f"a line has one of {', '.join(_CONTENTS)}; this one has {' and '.join(given) or 'none'}")
    output = _read_output(content)
    (key,) = given
    if key == "input_length":
        return FileLine(None, _check_length(key, content[key]), output, _read_blocks(content))
    if content.get("hash_ids"):
        raise ValueError(f"hash_ids are the blocks of a prompt of input_length tokens: leave them out beside {key}")
    if key == "prompt":
        return FileLine(_check_prompt(content[key]), None, output)
    if key == "messages":
        return FileLine(_check_messages(content[key]), None, output)
    return _read_conversation(content[key], output, count_tokens)


def read_stamp(content: Mapping[str, Any]) -> float | None:
    """Returns the timestamp of an entry as it stands there; None without one.

    Raises:
        ValueError: it is no number, not finite, or below 0.
    """
    stamp = content.get("timestamp")
    if stamp is None:
        return None
    try:
        if type(stamp) in (int, float) and math.isfinite(stamp) and stamp >= 0:
            return float(stamp)
    except OverflowError:
        pass
    raise ValueError(f"timestamp is {_show(stamp)}: it must be a finite number of at least 0")


def read_time_unit(content: Mapping[str, Any]) -> str | None:
    """Returns the unit of the timestamps if the keys are those of a format that has one; None if they are not."""
    return "s" if "chat_id" in content else None


def _check_keys(content: Mapping[str, Any]) -> None:
    if content.keys() <= _KNOWN:
        return
    known = [*_CONTENTS, *_OUTPUTS, *_TIMING, *_NAMES, *(_BAILIAN if "chat_id" in content else ())]
    for key in content:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise ValueError(f"unknown key {excerpt(key)!r}; {hint}")


def _read_output(content: Mapping[str, Any]) -> int | None:
    given = [key for key in _OUTPUTS if content.get(key) is not None]
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both say how long the answer is: give one")
    return _check_length(given[0], content[given[0]]) if given else None


def _check_length(key: str, value: object) -> int:
    if type(value) is int and 1 <= value <= _LONGEST:
        return value
    raise ValueError(f"{key} is {_show(value)}: it must be a whole number of at least 1 token, at most {_LONGEST:,}")


def _read_blocks(content: Mapping[str, Any]) -> Sequence[int]:
    blocks = content.get("hash_ids")
    if blocks is None:
        return ()
    if not isinstance(blocks, list) or not set(map(type, blocks)) <= {int}:
        raise ValueError(f"hash_ids is {_show(blocks)}: it must be a list of whole numbers")
    try:
        return array("q", blocks)
    except OverflowError:
        return tuple(blocks)


def _check_prompt(value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"prompt is {_show(value)}: it must be a text that is not empty")


def _check_messages(value: object) -> list[Mapping[str, Any]]:
    if isinstance(value, list) and value and all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in value):
        return value
    raise ValueError(f"messages is {_show(value)}: it must be a list of messages, each with a role")


def _read_conversation(value: object, output: int | None, count_tokens: Callable[[str], int] | None) -> FileLine | None:
    """Reads the first message of the user, with the system's before it; the answer is what follows."""
    if not isinstance(value, list):
        raise ValueError(f"conversations is {_show(value)}: it must be a list of messages")
    said = [_read_said(message) for message in value]
    first = next((number for number, (role, text) in enumerate(said) if role in _USERS and text.strip()), None)
    if first is None:
        return None
    system = [{"role": "system", "content": text} for role, text in said[:first] if role == "system"]
    answer = said[first + 1][1] if first + 1 < len(said) and said[first + 1][0] not in _USERS else ""
    if output is None and count_tokens is not None and answer:
        output = max(1, count_tokens(answer))
    return FileLine([*system, {"role": "user", "content": said[first][1]}], None, output)


def _read_said(message: object) -> tuple[str, str]:
    if isinstance(message, Mapping):
        role, text = message.get("from", message.get("role")), message.get("value", message.get("content"))
        if isinstance(role, str) and isinstance(text, str):
            return role, text
    raise ValueError(f"conversations has {_show(message)}: each message must have a text in from and in value")


def _show(value: object) -> str:
    # The text of a whole number of thousands of digits cannot be made.
    return "a number of very many digits" if type(value) is int and value.bit_length() > 1000 else excerpt(repr(value))
