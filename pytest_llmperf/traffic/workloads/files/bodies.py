"""Whole requests to the OpenAI API in a workload file: its batch files, and the payloads of AIPerf."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.client.arguments import is_known_word, suggest_word
from pytest_llmperf.traffic.workloads.files.parsed import ParsedRequest
from pytest_llmperf.traffic.workloads.files.values import check_length, check_messages, check_object, check_text, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BATCH = frozenset({"method", "url", "body"})
"""The keys that an entry of a batch file has beside its name."""
_URLS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt"}
_LIMITS = ("max_tokens", "max_completion_tokens")
# The load says itself which model is asked, and whether answers are streamed.
_LEFT_OUT = ("model", "stream", "stream_options")


def parse_batch(content: Mapping[str, Any]) -> tuple[ParsedRequest, Iterable[str]]:
    """Parses an entry of a batch file of the OpenAI API; returns its request, and the keys that are not used.

    Raises:
        ValueError: a key is not known or a value is impossible; the message names the key.
    """
    for key in content:
        if key not in BATCH and key != "custom_id":
            raise ValueError(f"unknown key {key[:50]!r}; an entry of a batch has custom_id, method, url and body")
    if content["method"] != "POST":
        raise ValueError(f"method is {show(content['method'])}: it must be 'POST'")
    kind = _URLS.get(content["url"]) if isinstance(content["url"], str) else None
    if kind is None:
        raise ValueError(f"url is {show(content['url'])}: it must be {' or '.join(_URLS)}")
    body = check_object("body", content["body"])
    if body.get(kind) is None:
        raise ValueError(f"body has no {kind}, which {content['url']} needs")
    return parse_body(body)


def parse_body(
    body: Mapping[str, Any], output: int | None = None, extra: Mapping[str, Any] | None = None
) -> tuple[ParsedRequest, Iterable[str]]:
    """Parses the body of a request; returns the request, and the keys that are not used.

    ``output`` is the length of the answer if the entry gives it elsewhere, ``extra`` are further fields.

    Raises:
        ValueError: a key is not known or a value is impossible; the message names the key.
    """
    given = [key for key in ("messages", "prompt") if body.get(key) is not None]
    if len(given) != 1:
        raise ValueError(f"a body has messages or a prompt; this one has {' and '.join(given) or 'neither'}")
    limits = {key: check_length(key, body[key]) for key in _LIMITS if body.get(key) is not None}
    if len(set(limits.values())) + (output is not None) > 1:
        given = [*limits, *([] if output is None else ["output_length"])]
        raise ValueError(f"{' and '.join(given)} both say how long the answer is: give one")
    for key in ("n", "best_of"):
        if body.get(key) not in (None, 1):
            raise ValueError(f"{key} is {show(body[key])}: several answers at once cannot be measured")
    fields = {key: value for key, value in body.items() if key not in (*given, *_LIMITS, *_LEFT_OUT, "n", "best_of")}
    for key in fields:
        if not is_known_word(key):
            near = suggest_word(key)
            hint = f"did you mean {near}?" if near else "it is no field of a request that any known server has"
            raise ValueError(f"unknown key {key[:50]!r}; {hint}")
    content = body[given[0]]
    prompt = check_messages("messages", content) if given == ["messages"] else check_text("prompt", content)
    most = output if output is not None else next(iter(limits.values()), None)
    unused = [key for key in _LEFT_OUT if body.get(key) is not None]
    return ParsedRequest(prompt, None, most, fields={**fields, **(extra or {})}), unused
