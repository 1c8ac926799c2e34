"""The forms in which servers report an error, whatever protocol they speak."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_count, as_text, excerpt, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

# Names of fields in which an object of any form has an error, its code or its words.
_ERROR = re.compile(
    r"(?:(?:is|has|last|api|server|engine|upstream|internal)_)?(?:err(?:or)?s?|exceptions?|faults?|failures?|tracebacks?)"
    r"(?:_?(?:code|details?|info|message|msg|no|reason|string|text|type))?"
)
# Names of errors of a kind, such as "throttlingException", and reasons of failures, whose values are their words.
_ERROR_OF_A_KIND = re.compile(r"(?!tool|retr|warn|ignor|recover|non_?fatal)\w+_(?:error|exception|fault|failure)")
_REASON = re.compile(r"\w+_reason")
_CODE = re.compile(r"(?i)(?:code|no|type)$")
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Values of "object" and "type" by which an object is an error itself end so.
_ERROR_KINDS = ("error", "Error", "exception", "Exception")
_KIND_KEYS = ("object", "type", "__type", "event")
# Where an object says how the request went, and the words by which it went wrong.
_STATES = ("status", "state", "code", "status_code", "statusCode", "http_status")
_FAILED = re.compile(
    r"(?i)(?:fail|err|abort|cancel|timed?[ _-]?out|expir|reject|crash|kill|interrupt|denied|unavail|malform"
    r"|model_?unload|user_?stop)|\w+_(?:error|failure)$"
)
_REFUSALS = range(400, 600)
# Values of a field for errors that report none.
_FINE = ("", "0", "200", "ok", "success", "none", "null", "false", "n/a", "no error", "no_error")
# Messages of what went well, whatever code stands beside them.
_SUCCESS = ("ok", "success")
# Where an object that carries no answer has the words of an error. Beside a mere message something must say so.
_DETAIL_KEYS = ("detail", "error_message", "error_msg", "errorMessage")
_MESSAGE_KEYS = ("message", "msg", "Message")
_SIGNS_OF_LIFE = ("ping", "heartbeat", "keepalive", "keep-alive")
# Values of "type" and "status" beside the message of a request that goes on.
_GOING_ON = (
    *("info", "progress", "status"),
    *("loading", "starting", "queued", "pending", "waiting", "processing", "running", "in_progress"),
)
# How the server behind a gateway ended, and how LM Studio says it in its statistics.
_FURTHER_ENDINGS = ("native_finish_reason", "nativeFinishReason", "stop_reason", "stopReason")
_TELLING = frozenset({*_STATES, *_DETAIL_KEYS, *_MESSAGE_KEYS, *_FURTHER_ENDINGS, "success", "ok", "title"})
# The beginnings of the "type" of a problem document (RFC 9457).
_PROBLEM_TYPES = ("about:", "http://", "https://", "urn:")
# Objects whose errors are not those of the answer: a tool that failed, what has a reader of its own, and words of the
# request that a server repeats.
_OTHERS_ERRORS = ("item", "part", "response", "metadata")
_MESSAGE_SIGNS = ("code", "Code", "status", "statusCode", "status_code", "type", "error_code")
# Keys of objects that carry an answer, or a part of one.
_ANSWER_KEYS = ("choices", "output", "response", "delta", "done")
# Where the words of an error stand inside it.
_WORDS = (
    *("message", "msg", "Message", "status_msg", *_DETAIL_KEYS, "faultstring", "error", "reason", "description"),
    *("title", "code", "type", "status"),
)


def find_error(content: Mapping[str, Any], *, refused: bool = False, by_status: bool = True) -> str:
    """Returns the message of the error that an object reports, in one line; "" if it reports none.

    ``refused`` says that the status of the answer reports an error already, ``by_status`` that a status in the object
    may report one: that of a response is one of its endings.
    """
    parts = _list_parts(content)
    # Every event of a stream comes this way, and hardly any of them has a field that may tell of an error.
    if not (refused or _is_called_error(content) or any(_may_report(tuple(part)) for part in parts)):
        return ""
    for part in parts:
        stated = _find_stated_error(part)
        if stated is not None:
            return describe_error(stated)
    if _is_called_error(content):
        return describe_error(content)
    if failed := _find_failed_state(content, by_status=by_status):
        return describe_error(failed if _find_words(content) is None else content)
    for part in parts[1:]:
        if _is_bad_state(part):
            return describe_error(part)
    if any(content.get(key) for key in _ANSWER_KEYS) or content.get("type") in _SIGNS_OF_LIFE:
        return ""
    for key in _DETAIL_KEYS:
        if _says_something(content.get(key)):
            return describe_error(content[key])
    if _is_problem(content):
        return excerpt(content["title"])
    said = next((content[key] for key in _MESSAGE_KEYS if isinstance(content.get(key), str)), "")
    if not refused and _says_success(content):
        return ""
    signs = [content.get(key) for key in _MESSAGE_SIGNS if content.get(key) not in _GOING_ON]
    # Choices that are none are a sign as well: an event of an answer has no message of its own.
    if refused or any(map(_says_something, signs)) or (_says_something(said) and "choices" in content):
        return excerpt(said)
    return ""


@lru_cache(maxsize=1024)
def names_error(field: str) -> bool:
    """Whether a field of this name holds an error."""
    return _ERROR.fullmatch(_split_words(field)) is not None


@lru_cache(maxsize=1024)
def names_error_of_a_kind(field: str) -> bool:
    """Whether a field of this name has the words of an error or of a failure, if it has words."""
    words = _split_words(field)
    return _ERROR_OF_A_KIND.fullmatch(words) is not None or (
        _REASON.fullmatch(words) is not None and _FAILED.match(words) is not None
    )


def _split_words(field: str) -> str:
    return _WORD_START.sub("_", field).lower()


def tells_of_failure(state: object) -> bool:
    """Whether a state, in a word or as a code of HTTP, is that of a request that went wrong."""
    if isinstance(state, str):
        return _FAILED.match(state) is not None or (state.isdecimal() and len(state) == 3 and int(state) in _REFUSALS)
    return as_count(state) in _REFUSALS


@lru_cache(maxsize=4096)
def _may_report(fields: tuple[str, ...]) -> bool:
    """Whether an object with these fields may report an error, whatever is in them."""
    return any(
        names_error(field) or names_error_of_a_kind(field) or _names_failure(field) or field in _TELLING
        for field in fields
    )


def _list_parts(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns an object and all in it that may report an error: its choices, their messages, a server's own fields."""
    parts = [content]
    choices = content.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict):
            parts += [choice, *(choice[key] for key in ("delta", "message") if isinstance(choice.get(key), dict))]
    return parts + [value for key, value in content.items() if isinstance(value, dict) and key not in _OTHERS_ERRORS]


def _find_stated_error(part: Mapping[str, Any]) -> object:
    """Returns what a part of an answer has in its fields for errors, in words if there are; None if it has nothing."""
    found = {key: part[key] for key in part if names_error(key) and _says_something(part[key])}
    found |= {
        key: value
        for key, value in part.items()
        if isinstance(value, str | dict) and names_error_of_a_kind(key) and _says_something(value)
    }
    found |= {key: key for key, value in part.items() if value is True and _names_failure(key)}
    if not found:
        # What a gateway was told by the server behind it says more than its own word for it.
        # The stop_reason beside a finish reason is the stop word that was found, as vLLM states it.
        keys = [key for key in _FURTHER_ENDINGS if not (key == "stop_reason" and part.get("finish_reason") == "stop")]
        ended = next((key for key in keys if tells_of_failure(part.get(key))), None)
        return f"{ended} is {part[ended]!r}" if ended else None
    verbal = [key for key, value in found.items() if isinstance(value, str | dict | list) and not _CODE.search(key)]
    if verbal:
        return found[min(verbal, key=len)]
    told = {key: value for key, value in part.items() if (key in _WORDS or key in found) and value is not True}
    return told or found


def _names_failure(key: str) -> bool:
    return key.lower().endswith(("ed", "out")) and tells_of_failure(key)


def _is_bad_state(part: Mapping[str, Any]) -> bool:
    """Whether a field of a server's own, such as ``base_resp``, has the code of an error and its words."""
    words = any(as_text(part.get(key)) for key in ("message", "msg", "status_msg"))
    return words and not _says_success(part) and any(_says_something(part.get(key)) for key in ("code", "status_code"))


def _is_problem(content: Mapping[str, Any]) -> bool:
    """Whether an object is a problem document of RFC 9457 with a title alone."""
    is_typed = as_text(content.get("type")).startswith(_PROBLEM_TYPES) or "instance" in content
    return bool(as_text(content.get("title"))) and is_typed


def _is_called_error(content: Mapping[str, Any]) -> bool:
    return any(as_text(content.get(key)).endswith(_ERROR_KINDS) for key in _KIND_KEYS)


def _find_failed_state(content: Mapping[str, Any], *, by_status: bool) -> dict[str, Any]:
    """Returns the fields by which an object says that the request went wrong; {} if it does not."""
    found = {key: False for key in ("success", "ok") if content.get(key) is False}
    states = {key: content[key] for key in _STATES if key in content and (by_status or key != "status")}
    return found | {key: state for key, state in states.items() if tells_of_failure(state)}


def _says_success(part: Mapping[str, Any]) -> bool:
    """Whether the message of an object is that all went well, and no state contradicts it."""
    said = [as_text(part.get(key)).strip().lower() for key in (*_MESSAGE_KEYS, "status_msg")]
    return any(text in _SUCCESS for text in said) and not any(tells_of_failure(part.get(key)) for key in _STATES)


def _says_something(error: object) -> bool:
    """Whether it is an error: some servers state an empty one with each answer."""
    if isinstance(error, dict):
        return not _says_success(error) and any(map(_says_something, error.values()))
    if isinstance(error, list):
        return any(map(_says_something, error))
    if isinstance(error, str):
        return error.strip().lower() not in _FINE
    return bool(error) and error != 200


def describe_refusal(body: str) -> str:
    """Returns the message in the body of an answer with an error status, in one line."""
    return find_error(parse_object(body) or {}, refused=True) or excerpt(body)


def describe_error(error: object) -> str:
    """Returns the words of an error of any form, in one line. Some servers put JSON with an error into its text."""
    if isinstance(error, str):
        inner = parse_object(error)
        return (find_error(inner) if inner else "") or excerpt(error)
    if isinstance(error, list) and error:
        return describe_error(error[0])
    if isinstance(error, dict) and (found := _find_words(error)) is not None:
        return describe_error(found)
    return excerpt(json.dumps(error))


def _find_words(error: Mapping[str, Any]) -> object:
    """Returns what has the words of an error inside it; None if it has none."""
    return next((error[key] for key in _WORDS if error.get(key)), None)
