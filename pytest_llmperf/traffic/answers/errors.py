"""The forms in which servers report an error, whatever protocol they speak."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_list, excerpt, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

# Where an object of any form has the error itself.
_ERROR_KEYS = frozenset({"error", "errors", "fault"})
# Values of "object" and "type" by which an object is an error itself.
_ERROR_KINDS = ("error", "Error")
# Where an object that carries no answer has the words of an error. Beside a mere message something must say so.
_DETAIL_KEYS = ("detail", "error_message", "error_msg", "errorMessage")
_MESSAGE_KEYS = ("message", "msg", "Message")
_MESSAGE_SIGNS = ("code", "status", "statusCode", "status_code", "type", "success", "error_code")
# Keys of objects that carry an answer, or a part of one.
_ANSWER_KEYS = ("choices", "output", "response", "delta", "usage", "done")
# Where the words of an error stand inside it.
_WORDS = ("message", "msg", "Message", *_DETAIL_KEYS, "faultstring", "error", "reason", "description", "code", "type")


def find_error(content: Mapping[str, Any], *, refused: bool = False) -> str:
    """Returns the message of the error that an object reports, in one line; "" if it reports none.

    ``refused`` says that the status of the answer reports an error already.
    """
    stated = _find_stated_error(content)
    if stated is not None:
        return describe_error(stated)
    # Every event of a stream comes this way: what is in most of them is looked for first.
    if content.get("choices") or any(content.get(key) is not None for key in _ANSWER_KEYS):
        return ""
    for key in _DETAIL_KEYS:
        if content.get(key):
            return describe_error(content[key])
    said = next((content[key] for key in _MESSAGE_KEYS if isinstance(content.get(key), str)), "")
    return excerpt(said) if refused or any(key in content for key in _MESSAGE_SIGNS) else ""


def _find_stated_error(content: Mapping[str, Any]) -> object:
    """Returns what an object says to be an error, which may be the object itself; None if it says so of nothing."""
    if not _ERROR_KEYS.isdisjoint(content):
        for key in sorted(_ERROR_KEYS & content.keys()):
            if content[key] is True:
                return {other: value for other, value in content.items() if other != key}
            if _says_something(content[key]):
                return content[key]
    if content.get("object") in _ERROR_KINDS or content.get("type") in _ERROR_KINDS:
        return content
    errors = [
        choice["error"] for choice in as_list(content.get("choices")) if isinstance(choice, dict) and "error" in choice
    ]
    return next(filter(_says_something, errors), None)


def _says_something(error: object) -> bool:
    """Whether it is an error: some servers state an empty one with each answer."""
    return any(error.values()) if isinstance(error, dict) else bool(error)


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
    if isinstance(error, dict):
        found = next((error[key] for key in _WORDS if error.get(key)), None)
        if found is not None:
            return describe_error(found)
    return excerpt(json.dumps(error))
