"""Builds what a request posts from the arguments of a test and the dialect of the engine, and checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import check_count
from pytest_llmperf.traffic.client.arguments import parse_extra_body, parse_headers, parse_timeout
from pytest_llmperf.traffic.client.request import Post

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint

    Messages = str | Sequence[Mapping[str, Any]]

DEFAULT_TOKENS = 128
"""The most tokens of an answer unless a test says how many."""
_NOT_IN_BODY = frozenset({"share_prefix", "headers", "timeout", "extra_body"})
# The fields that None leaves out.
_LEFT_OUT_BY_NONE = ("max_tokens", "max_completion_tokens", "temperature", "stream_options")


def completion(endpoint: Endpoint, dialect: Dialect, prompt: object, settings: Mapping[str, Any]) -> Post:
    """``POST /completions``.

    Raises:
        ValueError: the prompt is not one string, or a setting cannot be measured.
    """
    if not isinstance(prompt, str):
        raise ValueError("prompt must be a string; run() takes several prompts, chat() takes messages")
    return _post("/completions", {"model": endpoint.model, "prompt": prompt}, dialect, settings)


def conversation(endpoint: Endpoint, dialect: Dialect, messages: Messages, settings: Mapping[str, Any]) -> Post:
    """``POST /chat/completions``; a string is one message of the user.

    Raises:
        ValueError: there is no message, or a setting cannot be measured.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if not messages:
        raise ValueError("messages must hold at least one message")
    return _post("/chat/completions", {"model": endpoint.model, "messages": list(messages)}, dialect, settings)


def _post(path: str, content: Mapping[str, Any], dialect: Dialect, settings: Mapping[str, Any]) -> Post:
    own = {key: value for key, value in settings.items() if key not in _NOT_IN_BODY}
    own |= parse_extra_body(settings.get("extra_body"))
    share = bool(settings.get("share_prefix"))
    prefix_settings = dialect.prefix_settings(share)
    body = {**dialect.defaults, **prefix_settings, **content, **own}
    left_out = {key for key in _LEFT_OUT_BY_NONE if body.get(key, ...) is None}
    body = _limit_tokens({key: value for key, value in body.items() if key not in left_out})
    for key in ("n", "best_of"):
        if body.get(key, 1) != 1:
            raise ValueError(
                f"{key}={body[key]!r} cannot be measured: servers count the tokens of several answers at once"
            )
    streamed = bool(body["stream"])
    if streamed and "stream_options" not in left_out:
        asked = body.get("stream_options") or {}
        body["stream_options"] = {"include_usage": True, **dialect.stream_options, **asked}
    # A test that sets the engine's own switches for its cache has asked for what they do.
    obeyed = {*dialect.obeyed, *prefix_settings}
    shared = share or any(own.get(key) for key in obeyed)
    kept = bool(prefix_settings) and all(body.get(key) == value for key, value in prefix_settings.items())
    return Post(
        path,
        body,
        streamed,
        shared,
        fresh=kept and not shared,
        obeyed=obeyed,
        headers=parse_headers(settings.get("headers")),
        timeout_s=parse_timeout(settings.get("timeout")),
    )


def _limit_tokens(body: dict[str, Any]) -> dict[str, Any]:
    """Checks the limits of an answer's length; ``max_completion_tokens`` takes the place of the default one.

    Raises:
        ValueError: a limit is no number of tokens, or there are two.
    """
    limits = [key for key in ("max_tokens", "max_completion_tokens") if key in body]
    for key in limits:
        check_count(key, body[key])
    if len(limits) < 2:
        return body
    if body["max_tokens"] != DEFAULT_TOKENS:
        raise ValueError("max_tokens and max_completion_tokens both limit the answer: give one")
    return {key: value for key, value in body.items() if key != "max_tokens"}
