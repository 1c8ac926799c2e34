"""Builds what a request posts from the arguments of a test and the dialect of the engine, and checks it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import check_count
from pytest_llmperf.traffic.client.request import Post

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.client.dialect import Dialect, Endpoint

    Messages = str | Sequence[Mapping[str, Any]]


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
    own = {key: value for key, value in settings.items() if key != "share_prefix"}
    share = bool(settings.get("share_prefix"))
    prefix_settings = dialect.prefix_settings(share)
    body = {**dialect.defaults, **prefix_settings, **content, **own}
    check_count("max_tokens", body["max_tokens"])
    if body.get("n", 1) != 1:
        raise ValueError(f"n={body['n']!r} cannot be measured: servers count the tokens of the first choice only")
    streamed = bool(body["stream"])
    if streamed:
        asked = body.get("stream_options") or {}
        body["stream_options"] = {"include_usage": True, **dialect.stream_options, **asked}
    # A test that sets the engine's own switches for its cache has asked for what they do.
    shared = share or bool(own.get("cache_prompt") or own.get("cache_salt"))
    return Post(path, body, streamed, shared, fresh=bool(prefix_settings) and not shared)
