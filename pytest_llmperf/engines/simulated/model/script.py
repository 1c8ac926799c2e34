"""Answers by pattern: a file that says what the simulated engine answers to which prompts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.model.settings import PER_REQUEST, SimulationError, parse_setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ROLES = ("user", "tool", "assistant", "system")
_CONTENT = ("text", "json", "reasoning", "tool_calls")
_REFUSAL = ("status", "message", "retry_after")
_OTHERS = ("pattern", "role", "path", "times")


class ScriptError(ValueError):
    """A script that cannot be understood; one line with the file, the answer's number and the key."""


@dataclass(frozen=True)
class ScriptedCall:
    """A call of the tool ``name``; ``arguments`` as they are sent, which need not be JSON."""

    name: str
    arguments: str


@dataclass(frozen=True)
class ScriptedAnswer:
    """One answer of a script.

    Attributes:
        pattern: is searched for in the text of the last message, or in the texts to embed or to rank.
        role: that of the last message; "" for any.
        path: what the path of the request ends with; "" for any.
        times: how many requests it answers; 0 for all.
        status: the HTTP status of a refusal; 0 for an answer.
        retry_after: the value of its header of that name; "" for none.
        settings: those of the engine that this answer has of its own.
    """

    pattern: re.Pattern[str]
    role: str = ""
    path: str = ""
    times: int = 0
    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    status: int = 0
    message: str = "scripted failure"
    retry_after: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_content(self) -> bool:
        """Whether it says what the answer is, and not only how it comes."""
        return bool(self.text or self.reasoning or self.tool_calls)


class AnswerScript:
    """The answers of a file, in order; counts those that have been given."""

    def __init__(self, answers: Sequence[ScriptedAnswer] = ()) -> None:
        self._answers = answers
        self._given = [0] * len(answers)

    def take(self, path: str, role: str, text: str) -> ScriptedAnswer | None:
        """The first answer for such a request that is not used up; None if there is none."""
        for number, answer in enumerate(self._answers):
            fits = answer.role in ("", role) and path.endswith(answer.path) and answer.pattern.search(text)
            if fits and not 0 < answer.times <= self._given[number]:
                self._given[number] += 1
                return answer
        return None

    def restart(self) -> None:
        """Begins anew, with no answer used up."""
        self._given = [0] * len(self._answers)


def read_script(path: str) -> AnswerScript:
    """The script in a file; one without answers for the path "".

    Raises:
        ScriptError: the file cannot be read, or is not what it should be.
    """
    if not path:
        return AnswerScript()
    import tomllib  # a server without a script starts without it

    try:
        content = Path(path).read_text(encoding="utf-8-sig")
        asked = json.loads(content) if path.endswith(".json") else tomllib.loads(content)
    except (OSError, ValueError) as error:
        raise ScriptError(f"script={path!r} cannot be read: {error}") from None
    answers = asked.get("answer") if isinstance(asked, dict) and asked.keys() == {"answer"} else None
    if not isinstance(answers, list) or not answers:
        raise ScriptError(f"script={path!r} is no list of answers: it takes [[answer]] tables and nothing else")
    return AnswerScript([_read_answer(answer, f"script={path!r}, answer {n}") for n, answer in enumerate(answers, 1)])


def _read_answer(asked: object, place: str) -> ScriptedAnswer:
    if not isinstance(asked, dict):
        raise ScriptError(f"{place} is not a table")
    known = (*_OTHERS, *_CONTENT, *_REFUSAL)
    for key in asked:
        if key not in (*known, *PER_REQUEST):
            raise ScriptError(f"{place}: unknown key {key!r}; it takes {', '.join((*known, *PER_REQUEST))}")
    if "status" in asked and any(key in asked for key in _CONTENT):
        raise ScriptError(f"{place}: 'status' makes it a refusal, which has no {' and no '.join(_CONTENT)}")
    if "text" in asked and "json" in asked:
        raise ScriptError(f"{place}: 'text' and 'json' are both what it says: give one")
    if "status" not in asked and any(key in asked for key in _REFUSAL):
        raise ScriptError(f"{place}: 'message' and 'retry_after' belong to a refusal: give its 'status' too")
    return ScriptedAnswer(
        pattern=_read_pattern(asked, place),
        role=_read_role(asked, place),
        path=_read_text(asked, "path", place),
        times=_read_number(asked, "times", place, 1, 10**9),
        text=json.dumps(asked["json"], ensure_ascii=False) if "json" in asked else _read_text(asked, "text", place),
        reasoning=_read_text(asked, "reasoning", place),
        tool_calls=_read_calls(asked, place),
        status=_read_number(asked, "status", place, 400, 599),
        message=_read_text(asked, "message", place) or "scripted failure",
        retry_after=_read_text(asked, "retry_after", place),
        settings=_read_settings(asked, place),
    )


def _read_pattern(asked: Mapping[str, Any], place: str) -> re.Pattern[str]:
    try:
        return re.compile(_read_text(asked, "pattern", place))
    except re.error as error:
        raise ScriptError(f"{place}: 'pattern' is no regular expression: {error}") from None


def _read_role(asked: Mapping[str, Any], place: str) -> str:
    role = _read_text(asked, "role", place)
    if role not in ("", *_ROLES):
        raise ScriptError(f"{place}: 'role' is {role!r}; it is one of {', '.join(_ROLES)}")
    return role


def _read_text(asked: Mapping[str, Any], key: str, place: str) -> str:
    value = asked.get(key, "")
    if not isinstance(value, str):
        raise ScriptError(f"{place}: {key!r} is not a text")
    return value


def _read_number(asked: Mapping[str, Any], key: str, place: str, least: int, most: int) -> int:
    value = asked.get(key)
    if value is None:
        return 0
    if type(value) is not int or not least <= value <= most:
        raise ScriptError(f"{place}: {key!r} is not a whole number from {least} to {most}")
    return value


def _read_calls(asked: Mapping[str, Any], place: str) -> tuple[ScriptedCall, ...]:
    calls = asked.get("tool_calls", [])
    if not isinstance(calls, list):
        raise ScriptError(f"{place}: 'tool_calls' is not a list")
    found = []
    for call in calls:
        if (
            not isinstance(call, dict)
            or not call.keys() <= {"name", "arguments"}
            or not isinstance(call.get("name"), str)
        ):
            raise ScriptError(f"{place}: each of 'tool_calls' has a name and arguments, and nothing else")
        arguments = call.get("arguments", {})
        written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        found.append(ScriptedCall(call["name"], written))
    return tuple(found)


def _read_settings(asked: Mapping[str, Any], place: str) -> dict[str, Any]:
    try:
        return {key: parse_setting(key, value) for key, value in asked.items() if key in PER_REQUEST}
    except SimulationError as error:
        raise ScriptError(f"{place}: {error}") from None
