"""The requests of one entry of a workload file, parsed from its keys and values, whatever format they are of."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_llmperf.traffic.answers.json_fields import excerpt
from pytest_llmperf.traffic.workloads.files.bodies import BATCH, parse_batch, parse_body
from pytest_llmperf.traffic.workloads.files.chats import (
    find_indexed,
    parse_conversation,
    parse_indexed,
    parse_turns,
    read_first_stamp,
)
from pytest_llmperf.traffic.workloads.files.parsed import ParsedRequest
from pytest_llmperf.traffic.workloads.files.values import (
    check_length,
    check_messages,
    check_object,
    check_stamp,
    check_text,
    read_delay,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

# The names of a prompt: that of vLLM, then those of GuideLLM, of AIPerf.
_PROMPTS = ("prompt", "instruction", "question", "input", "context", "content", "text", "text_input")
_SYSTEM = ("prefix", "system_prompt", "system")
_CONTENTS = (
    *("prompt", "messages", "input_length", "conversations", "turns", "texts", "payload", "payloads"),
    *_PROMPTS[1:],
)
_OUTPUTS = (
    *("output_length", "output_tokens", "max_tokens", "max_completion_tokens"),
    *("output_tokens_count", "completion_tokens_count"),
)
_TIMING = ("timestamp", "hash_ids")
_OTHERS = ("tools", "extra")
# Names of a request, which change nothing in it.
_NAMES = ("id", "request_id", "custom_id", "question_id", "category")
# What formats say beside, and is not used: each entry is a request by itself, and prompts are counted where they are
# made. It is named in reports.
_UNUSED = ("session_id", "delay", "prompt_tokens_count", "input_tokens_count", "role", "type", "message_mode")
# What Bailian's traces say beside: input_length is that of the whole prompt, so each turn is a request of its own.
_BAILIAN = ("chat_id", "parent_chat_id", "turn", "type")
_UNUSED_ANYWHERE = (*_UNUSED, *_BAILIAN[:3])
_KNOWN = frozenset({*_CONTENTS, *_OUTPUTS, *_TIMING, *_OTHERS, *_NAMES, *_UNUSED, *_SYSTEM})
_KNOWN_BESIDE_CHATS = _KNOWN | set(_BAILIAN)
# The keys by which the format of AIPerf is told from others: its timestamps are milliseconds.
_AIPERF = frozenset({"text", "texts", "text_input", "turns", "payload", "session_id"})
_AIPERF_TYPES = ("single_turn", "multi_turn", "random_pool", "mooncake_trace")
_MEDIA = frozenset({"image", "images", "audio", "audios", "video", "videos", "image_files", "picture", "photo", "img"})
_NOT_READ = {
    **dict.fromkeys(_MEDIA, "images, audio and video in files are not sent: give messages with them"),
    "requests": "traces of WEKA are not read: write each request with timestamp, input_length and output_length",
    "relative_timestamp": "give timestamp",
    "requeue_delay": "requests are not put off",
    "conversation_turns": "graphs of conversations are not read: give turns",
}


class Entry(NamedTuple):
    """What an entry of a file says.

    Attributes:
        requests: its requests; several for a session of whole ones, none for a conversation without a user.
        stamp: its timestamp as it stands there; None without one.
        time_unit: the unit of the timestamp, such as ``"s"``, if the format has one; None if not.
        unused: keys that are known and change nothing that is sent.
    """

    requests: Sequence[ParsedRequest]
    stamp: float | None
    time_unit: str | None
    unused: Iterable[str]


def parse_entry(content: Mapping[str, Any], count_tokens: Callable[[str], int] | None) -> Entry:
    """Parses an entry. ``count_tokens`` counts the tokens of a recorded answer, whose length is then asked for.

    Raises:
        ValueError: a key is not known or a value is impossible; the message names the key.
    """
    if content.keys() >= BATCH:
        request, unused = parse_batch(content)
        return Entry((request,), None, None, unused)
    if "model" in content and not content.keys().isdisjoint(("messages", "prompt")):
        request, unused = parse_body(content)
        return Entry((request,), None, None, unused)
    indexed = find_indexed(content)
    _check_keys(content, indexed)
    read_delay(content.get("delay"))
    unused = _list_given(content, _UNUSED_ANYWHERE)
    stamp = None if content.get("timestamp") is None else check_stamp("timestamp", content["timestamp"])
    if indexed:
        _refuse(content, next(iter(indexed)), *_CONTENTS, *_OUTPUTS, *_OTHERS, "hash_ids")
        return Entry((parse_indexed(content, indexed, _read_system(content)),), stamp, None, unused)
    if stamp is None:
        stamp = read_first_stamp(content.get("turns"))
    requests, further = _parse_content(content, count_tokens)
    return Entry(requests, stamp, _find_time_unit(content), [*unused, *further])


def _parse_content(
    content: Mapping[str, Any], count_tokens: Callable[[str], int] | None
) -> tuple[Sequence[ParsedRequest], Iterable[str]]:
    """Parses the one key that says what is sent; returns the requests, and what of them is not used."""
    given = _list_given(content, _CONTENTS)
    if len(given) != 1:
        raise ValueError(f"an entry has one of {', '.join(_CONTENTS)}; this one has {' and '.join(given) or 'none'}")
    (key,) = given
    value, output = content[key], _read_output(content)
    if key == "input_length":
        _refuse(content, key, *_SYSTEM, "tools")
        blocks, fields = _read_blocks(content), _read_extra(content)
        return (ParsedRequest(None, check_length(key, value), output, blocks, fields),), ()
    if content.get("hash_ids"):
        raise ValueError(f"hash_ids are the blocks of a prompt of input_length tokens: leave them out beside {key}")
    if key == "payload":
        _refuse(content, key, *_SYSTEM, "tools")
        request, unused = parse_body(check_object(key, value), output, _read_extra(content))
        return (request,), unused
    if key == "payloads":
        _refuse(content, key, *_SYSTEM, *_OTHERS, *_OUTPUTS, "timestamp")
        return _parse_payloads(value)
    if key == "turns":
        _refuse(content, key, *_OTHERS)
        return (parse_turns(value, _read_system(content), output),), ()
    fields = _read_extra(content)
    if key == "conversations":
        _refuse(content, key, *_SYSTEM, *_OTHERS)
        found = parse_conversation(value, output, count_tokens)
        return () if found is None else (found,), ()
    if key == "messages":
        _refuse(content, key, *_SYSTEM)
        return (ParsedRequest(check_messages(key, value), None, output, fields=fields),), ()
    if key == "texts":
        if not isinstance(value, list) or len(value) != 1:
            raise ValueError(f"texts is {show(value)}: it must be a list of one text, as requests are sent one by one")
        value = value[0]
    _refuse(content, key, "tools")
    text, system = check_text(key, value), _read_system(content)
    prompt = text if system is None else [system, {"role": "user", "content": text}]
    return (ParsedRequest(prompt, None, output, fields=fields),), ()


def _parse_payloads(value: object) -> tuple[Sequence[ParsedRequest], Iterable[str]]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"payloads is {show(value)}: it must be a list of whole requests")
    parsed = [parse_body(check_object("payloads", body)) for body in value]
    return [request for request, _ in parsed], dict.fromkeys(key for _, unused in parsed for key in unused)


def _find_time_unit(content: Mapping[str, Any]) -> str | None:
    if "chat_id" in content:
        return "s"
    return None if _AIPERF.isdisjoint(content) else "ms"


def _check_keys(content: Mapping[str, Any], indexed: Mapping[str, Any]) -> None:
    if content.get("role", "user") != "user":
        raise ValueError(f"role is {show(content['role'])}: prompts are sent as 'user'; give messages for others")
    if content.get("message_mode", "history") != "history":
        raise ValueError(f"message_mode is {show(content['message_mode'])}: give turns for chats with real answers")
    if "chat_id" not in content and content.get("type", _AIPERF_TYPES[0]) not in _AIPERF_TYPES:
        raise ValueError(f"type is {show(content['type'])}: known are {', '.join(_AIPERF_TYPES)}")
    known = _KNOWN_BESIDE_CHATS if "chat_id" in content else _KNOWN
    if content.keys() <= known:
        return
    for key in content:
        if key in known or key in indexed:
            continue
        if key in _NOT_READ:
            raise ValueError(f"key {key!r}: {_NOT_READ[key]}")
        near = get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join((*_CONTENTS, *_OUTPUTS, *_TIMING))}"
        raise ValueError(f"unknown key {excerpt(key)!r}; {hint}")


def _list_given(content: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    """Those of the keys that the entry has, in their order; null is none."""
    return [key for key in keys if key in content and content[key] is not None]


def _refuse(content: Mapping[str, Any], beside: str, *keys: str) -> None:
    for key in _list_given(content, keys):
        raise ValueError(f"{key} beside {beside} is not read: leave it out")


def _read_output(content: Mapping[str, Any]) -> int | None:
    given = _list_given(content, _OUTPUTS)
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both say how long the answer is: give one")
    return check_length(given[0], content[given[0]]) if given else None


def _read_system(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    given = _list_given(content, _SYSTEM)
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)} both give the message of the system: give one")
    return {"role": "system", "content": check_text(given[0], content[given[0]])} if given else None


def _read_extra(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """The further fields of a request's body: AIPerf's ``extra``, and ``tools``."""
    extra = content.get("extra")
    fields = {} if extra is None else check_object("extra", extra)
    if reserved := sorted({"messages", "prompt", "model", "stream", "n", *_OUTPUTS} & fields.keys()):
        raise ValueError(f"extra has {reserved[0]}, which is not one of its fields: leave it out there")
    tools = content.get("tools")
    return fields if tools is None else {**fields, "tools": tools}


def _read_blocks(content: Mapping[str, Any]) -> list[int]:
    blocks = content.get("hash_ids")
    if blocks is None:
        return []
    if not isinstance(blocks, list) or not set(map(type, blocks)) <= {int}:
        raise ValueError(f"hash_ids is {show(blocks)}: it must be a list of whole numbers")
    return blocks
