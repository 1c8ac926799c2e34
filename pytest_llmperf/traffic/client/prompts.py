"""Finds the prompt in the body of a request, in every protocol that servers of models speak.

A prompt is its text. In which form it is sent (a string or parts, a chat, a completion or a response, with which roles)
and under which name of a model changes little or nothing of what a prefix cache finds again.
"""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.prompts import Prompt

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

# What a server puts before the prompt and what is not in the body: its own record of a conversation, or its tokens.
_REFERENCES = ("previous_response_id", "conversation", "context", "template", "chat_template")
# In the order in which templates write them.
_TEXTS = (
    *(
        "tools",
        "functions",
        "documents",
        "instructions",
        "system",
        "system_instruction",
        "systemInstruction",
        "preamble",
    ),
    *("images", "image_data", "input_extra", "input_prefix", "chat_history", "messages", "contents", "input", "inputs"),
    *("prompt", "prompt_token_ids", "input_ids", "text", "message", "input_suffix", "suffix"),
)
_TOOLS = frozenset({"tools", "functions"})
# What is asked, in one field of each protocol: by the end of the path. Others' fields are no part of its prompt.
_ASKED_IN = {
    **dict.fromkeys(("/chat/completions", "/api/chat", "/messages"), "messages"),
    **dict.fromkeys(("/completions", "/completion", "/infill", "/api/generate"), "prompt"),
    "/responses": "input",
}
_ASKED = frozenset({"messages", "contents", "input", "inputs", "prompt", "text", "message"})
# Fields that hold several prompts if they hold a list of texts, or of lists of tokens.
_BATCHED = ("prompt", "prompt_token_ids", "input_ids", "text", "inputs")
# Fields of a message or of a part of one that say what it is, or whose it is.
_NOT_IN_PROMPT = frozenset(
    {"role", "type", "id", "call_id", "tool_call_id", "status", "cache_control", "detail", "format", "annotations"}
    | {"mime_type", "mimeType", "media_type", "encoding"}
)
# Fields that hold data: what they hold has no length in characters.
_DATA = frozenset(
    {"images", "image_data", "image_url", "input_image", "input_audio", "audio", "audio_url", "video", "video_url"}
    | {"file", "file_data", "file_id", "file_url", "source", "inline_data", "inlineData", "encrypted_content"}
)
# An image, a sound or a document takes up some hundred tokens: so many characters stand in for it.
_DATA_CHARACTERS = 1024
_DIGEST_BYTES = 32
# llama.cpp's own switch, which is on unless a request turns it off.
_SWITCH = "cache_prompt"


def find_prompt(
    path: str, body: Mapping[str, Any], obeyed: Collection[str] = (), *, fresh: bool = False, shared: bool = False
) -> Prompt | None:
    """The prompt of a request with this body; None if it is nested too deeply to be read.

    Args:
        path: that of the request, without its query.
        body: that of the request.
        obeyed: fields by which the engine keeps prompts apart in its cache; of others it is not known that it does.
        fresh: whether the request keeps the prompt from being taken from a cache.
        shared: whether the test has asked for the other.
    """
    salts = [f"{key}={body[key]}" for key in sorted(obeyed) if key != _SWITCH and body.get(key)]
    fresh = fresh or (_SWITCH in obeyed and body.get(_SWITCH) is False)
    try:
        context = "\n".join(salts)
        prompt = Prompt.of(_list_pieces(path, body), context, fresh=fresh, shared=shared)
        single = [Prompt.of(_list_pieces(path, one), context).marks for one in _list_single(body)]
        return replace(prompt, others=b"".join(single))
    except RecursionError:
        return None


def parse_prompt(path: str, body: bytes, obeyed: Collection[str] = ()) -> Prompt | None:
    """The prompt of a request with this body, which is all of it if it is no JSON object; None if there is no body."""
    content = parse_body(body)
    if content is None:
        return Prompt.of([(_stand_for(body), True)]) if body else None
    return find_prompt(path, content, obeyed)


def parse_body(body: bytes) -> dict[str, Any] | None:
    """The body of a request as a JSON object; None if it is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _list_single(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The bodies of requests for each of several prompts; nothing of a request for one."""
    for key in _BATCHED:
        several = body.get(key)
        if isinstance(several, list) and len(several) > 1 and isinstance(several[0], str | list):
            yield from ({**body, key: one} for one in several)


def _list_pieces(path: str, body: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    asked = next((field for end, field in _ASKED_IN.items() if path.endswith(end)), "")
    unread = _ASKED - {asked} if asked else ()
    for key in _REFERENCES:
        if body.get(key):
            yield f"\0{key}={_dump(body[key])}", False
    if isinstance(body.get("prompt"), dict):  # of a prompt that the server keeps
        yield f"\0prompt={_dump(body['prompt'])}", False
    for key in _TEXTS:
        if key in _TOOLS:
            yield from _read_tools(body.get(key))
        elif body.get(key) and key not in unread:
            yield from _read(body[key], data=key in _DATA)


def _read_tools(tools: Any) -> Iterator[tuple[str, bool]]:
    """What a template writes of tools; chat completions wrap each of them, responses do not."""
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            inner = tool.get("function")
            told = inner if isinstance(inner, dict) else tool
            yield _dump({key: value for key, value in told.items() if key not in {"type", "strict"}}), True


def _read(value: Any, *, data: bool) -> Iterator[tuple[str, bool]]:
    """The texts in a value, in the order in which they stand; of an object its images before its texts."""
    if isinstance(value, str):
        yield (_stand_for(_strip_address(value).encode(errors="replace")) if data else value), True
    elif isinstance(value, dict):
        if value.get("type") == "item_reference":
            yield f"\0item={value.get('id')}", False
        for key in sorted(map(str, value), key=lambda key: (key not in _DATA, key)):
            if key not in _NOT_IN_PROMPT:
                yield from _read(value.get(key), data=data or key in _DATA)
    elif isinstance(value, list):
        for inner in value:
            yield from _read(inner, data=data)
    elif value is not None:
        yield f"{json.dumps(value)},", True


def _strip_address(data: str) -> str:
    """The data in a ``data:`` URL, which other protocols send bare."""
    return data.partition(",")[2] if data.startswith("data:") else data


def _stand_for(data: bytes) -> str:
    """The characters that stand in for data."""
    digest = blake2b(data, digest_size=_DIGEST_BYTES).hexdigest()
    return digest * (_DATA_CHARACTERS // len(digest))


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
