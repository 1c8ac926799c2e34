"""Translates requests of the OpenAI API to Ollama's own, whose settings the server all honours.

``generate`` is sent raw, as a completion is elsewhere. A prompt begins with a nonce unless it may come from the cache:
anywhere else, the text before the nonce would still be found there.
"""

from __future__ import annotations

import json
import secrets
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.ollama.options import KEEP_ALIVE, STARTUP_OPTIONS, check_option
from pytest_llmperf.traffic.answers import ollama
from pytest_llmperf.traffic.client.api import HttpApi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NONCE = "llmperf_nonce"
_NONCES = 10**8
# More than 30 equal chunks in a row end an answer as if it had failed, and models that are to go on come to that.
AGAINST_REPEATS = {"frequency_penalty": 0.5, "repeat_last_n": 32}
_LENGTH = ("options", "num_predict")
_CALLS = {"/completions": "generate", "/chat/completions": "chat"}
# The server's own fields of a body, beside those that are made here.
_FIELDS = frozenset({"think", "format", "logprobs", "top_logprobs", "truncate", "raw"})
_GENERATE_FIELDS = _FIELDS | {"system", "template", "suffix", "images"}
_CHAT_FIELDS = (_FIELDS - {"raw"}) | {"tools"}
_FIELDS_OF = {"generate": _GENERATE_FIELDS, "chat": _CHAT_FIELDS}
_RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
# The client's own, and what changes nothing.
_LEFT_OUT = frozenset({"model", "stream", "stream_options", "prompt", "messages", "n", "options", NONCE})


def prefix_settings(share: bool) -> Mapping[str, Any]:
    """The fields that make a prompt new from its first token on; none if it may ``share`` what is cached."""
    return {} if share else {NONCE: _write_nonce(secrets.randbelow(_NONCES))}


def prefix_group(name: str) -> Mapping[str, Any]:
    """The fields that make a prompt new to all but those of its group."""
    return {NONCE: _write_nonce(int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) % _NONCES)}


def _write_nonce(number: int) -> str:
    # Digits, since tokenizers make as many tokens of each number of so many.
    return f"[{number:08d}] "


NONCE_EXAMPLE = _write_nonce(12345678)


def native_request(path: str, body: Mapping[str, Any], pinned: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Path and body of Ollama's own API for a request of the OpenAI API; ``pinned`` are the options of the load.

    Raises:
        ValueError: a setting that the server would ignore or misread, or that would make it start the model again.
    """
    call = _CALLS[path]
    options = {**pinned, **_options(call, body)}
    own = {key: value for key, value in body.items() if key in _FIELDS_OF[call]}
    for key in STARTUP_OPTIONS:
        if options.get(key) != pinned.get(key):
            raise ValueError(_would_reload(key, options[key]))
    # Otherwise a prompt that is too long is cut without a word.
    common = {"model": body["model"], "stream": body["stream"], "truncate": False, "options": options}
    nonce = body.get(NONCE, "")
    if call == "chat":
        return "/api/chat", {**common, **own, "messages": _messages(body["messages"], nonce)}
    return "/api/generate", {**common, "raw": True, **own, "prompt": nonce + body["prompt"]}


def _would_reload(key: str, value: object) -> str:
    return (
        f"{key}={value!r} would load the model again in the middle of a test: set it for all requests, "
        f"with --llmperf-engine-arg=ollama:{key}={value}"
    )


def _options(call: str, body: Mapping[str, Any]) -> dict[str, Any]:
    loose = {key: value for key, value in body.items() if key not in _LEFT_OUT}
    options = {}
    for key, value in {**loose, **body.get("options", {})}.items():
        if key in _FIELDS_OF[call]:
            continue
        if key in _GENERATE_FIELDS | _CHAT_FIELDS:
            raise ValueError(f"{call} of Ollama takes no {key}")
        if key == KEEP_ALIVE:
            raise ValueError(_would_reload(key, value))
        name = _RENAMED.get(key, key)
        options[name] = [value] if name == "stop" and isinstance(value, str) else value
        check_option(name, options[name])
    return options


def _messages(messages: Sequence[Mapping[str, Any]], nonce: str) -> list[dict[str, Any]]:
    found = [dict(message) for message in messages]
    for message in found:
        if not isinstance(message.get("content") or "", str):
            raise ValueError("the content of a message must be a text; images go beside it: images=[base64, ...]")
        if "tool_calls" in message:
            message["tool_calls"] = [_call(call) for call in message["tool_calls"]]
    found[0]["content"] = nonce + (found[0].get("content") or "")
    return found


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    """A tool call of an earlier answer, whose arguments are an object here."""
    function = dict(call["function"])
    if isinstance(function.get("arguments"), str):
        function["arguments"] = json.loads(function["arguments"])
    return {**call, "function": function}


def native_api(root: str, pinned: Mapping[str, Any], *, counts_uncached: bool = False) -> HttpApi:
    """Ollama's own API, below ``root``; ``pinned`` are the options that the model was loaded with.

    ``counts_uncached`` says that this server leaves out of a prompt's tokens what it found in its cache.
    """
    read = ollama.read_uncached if counts_uncached else ollama.read
    return HttpApi(root, lambda path, body: native_request(path, body, pinned), read, _LENGTH)
