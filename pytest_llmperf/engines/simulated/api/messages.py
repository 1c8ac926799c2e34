"""``/v1/messages`` of Anthropic's API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.request import (
    Ask,
    Reply,
    RequestError,
    find_texts,
    is_warmup,
    make_event,
    read_count,
    read_object,
    read_objects,
    read_stop,
)
from pytest_llmperf.engines.simulated.api.tools import choose_tools, list_tool_words, read_tool
from pytest_llmperf.engines.simulated.model.content import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.simulated.model.content import Ending, Part, Tool
    from pytest_llmperf.engines.simulated.model.schedule import Emission
    from pytest_llmperf.engines.simulated.model.settings import Simulation

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_STOP_REASONS: Mapping[Ending, str] = {
    "stop": "end_turn",
    "stop word": "stop_sequence",
    "length": "max_tokens",
    "tool calls": "tool_use",
}
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


class MessagesApi:
    """Messages of blocks, with tools."""

    def describe_error(self, status: int, message: str, code: str | None = None) -> dict[str, Any]:
        """The body of a refusal in Anthropic's form; it has no code beside its type."""
        usual = "invalid_request_error" if status < 500 else "api_error"
        return {"type": "error", "error": {"type": _ERRORS.get(status, usual), "message": message}}

    def read(self, asked: Mapping[str, Any], simulation: Simulation) -> Ask:
        """What a body asks for; see :class:`Api`."""
        max_tokens = read_count(asked, "max_tokens")
        if max_tokens is None:
            raise RequestError(400, "max_tokens is missing")
        return self.read_prompt(asked, simulation, max_tokens)

    def read_prompt(self, asked: Mapping[str, Any], simulation: Simulation, max_tokens: int | None = None) -> Ask:
        """The same without a limit of tokens, as it is for a request that counts those of its prompt."""
        messages = read_objects(asked, "messages")
        if not messages:
            raise RequestError(400, "messages are missing: give a list of objects with role and content")
        tools = [read_tool(tool, "input_schema") for tool in read_objects(asked, "tools")]
        allowed, must_call = _choose(tools, read_object(asked, "tool_choice"))
        texts = [*find_texts(asked.get("system")), *(_write_message(message) for message in messages)]
        return Ask(
            simulation=simulation,
            prompt=(*list_tool_words(asked.get("tools")), *" ".join(texts).split()),
            wanted=Wanted(
                role="tool" if _has_result(messages[-1]) else str(messages[-1].get("role")),
                text=_write_message(messages[-1]),
                tools=allowed,
                must_call=must_call,
                stop=read_stop(asked, "stop_sequences"),
                max_tokens=max_tokens,
            ),
            stream=asked.get("stream") is True,
            is_warmup=is_warmup(asked),
        )

    def make_writer(self, reply: Reply) -> MessageWriter:
        """What writes an answer."""
        return MessageWriter(reply, self.describe_error)


def _choose(tools: list[Tool], choice: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    kind = choice.get("type", "auto")
    if kind != "tool" and kind not in _CHOICES:
        raise RequestError(400, f"tool_choice: the type {kind!r} is none of auto, any, tool, none")
    return choose_tools(tools, _CHOICES.get(kind, choice), choice.get("name"))


def _has_result(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    blocks = content if isinstance(content, list) else []
    return any(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)


def _write_message(message: Mapping[str, Any]) -> str:
    """The text by which a message stands in the prompt."""
    content = message.get("content")
    if not isinstance(content, list):
        return " ".join(find_texts(content))
    return " ".join(_write_block(block) for block in content)


def _write_block(block: object) -> str:
    if not isinstance(block, dict):
        raise RequestError(400, "the content of a message is neither a text nor a list of blocks")
    if block.get("type") == "tool_result":
        return " ".join(find_texts(block.get("content")))
    if block.get("type") == "tool_use":
        return f"{block.get('name')} {json.dumps(block.get('input'))}"
    if block.get("type") == "thinking":
        return str(block.get("thinking"))
    return " ".join(find_texts([block]))


class MessageWriter:
    """Writes one answer; see :class:`Writer`. Each part of the content is a block."""

    def __init__(self, reply: Reply, describe_error: Any) -> None:
        self._reply = reply
        self._content = reply.content
        self._describe_error = describe_error

    def begin(self) -> bytes:
        message = self._make_message([], None, tokens=0)
        return _make_event("message_start", message=message) + _make_event("ping")

    def write(self, emission: Emission) -> bytes:
        number, part = emission.part, self._content.parts[emission.part]
        events = b""
        if not emission.first:
            block = self._make_block(number, part, is_whole=False)
            events = _make_event("content_block_start", index=number, content_block=block)
        tokens = part.tokens[max(part.kind == "call", emission.first) : emission.last]
        if tokens:
            events += _make_event("content_block_delta", index=number, delta=_make_delta(part, "".join(tokens)))
        if emission.last < len(part.tokens):
            return events
        if part.kind == "reasoning":
            signature = {"type": "signature_delta", "signature": _SIGNATURE}
            events += _make_event("content_block_delta", index=number, delta=signature)
        return events + _make_event("content_block_stop", index=number)

    def end(self) -> bytes:
        delta = {"stop_reason": self._stop_reason, "stop_sequence": self._content.stop_word or None}
        usage = self._count_usage(self._content.tokens)
        return _make_event("message_delta", delta=delta, **usage) + _make_event("message_stop")

    def fail(self, message: str) -> bytes:
        return make_event(self._describe_error(500, message), "error")

    def make_whole(self) -> dict[str, Any]:
        blocks = [self._make_block(number, part) for number, part in enumerate(self._content.parts)]
        return self._make_message(blocks, self._stop_reason, self._content.tokens)

    @property
    def _stop_reason(self) -> str:
        return _STOP_REASONS[self._content.ending]

    def _make_message(self, blocks: list[dict[str, Any]], stop_reason: str | None, tokens: int) -> dict[str, Any]:
        head: dict[str, Any] = {"id": f"msg_{self._reply.number}", "type": "message", "role": "assistant"}
        head |= {"model": self._reply.ask.simulation.model, "content": blocks, "stop_reason": stop_reason}
        stop_word = self._content.stop_word if stop_reason else ""
        return head | {"stop_sequence": stop_word or None, **self._count_usage(tokens)}

    def _make_block(self, number: int, part: Part, *, is_whole: bool = True) -> dict[str, Any]:
        if part.kind == "call":
            block = {"type": "tool_use", "id": f"toolu_{self._reply.number}_{number}", "name": part.tokens[0]}
            return block | {"input": _parse_arguments(part.text) if is_whole else {}}
        if part.kind == "reasoning":
            signature = _SIGNATURE if is_whole else ""
            return {"type": "thinking", "thinking": part.text if is_whole else "", "signature": signature}
        return {"type": "text", "text": part.text if is_whole else ""}

    def _count_usage(self, tokens: int) -> dict[str, Any]:
        """``input_tokens`` are those that did not come from the cache, which are stated apart."""
        ask, cached = self._reply.ask, self._reply.cached_tokens
        if ask.simulation.usage == "never":
            return {}
        usage: dict[str, Any] = {"input_tokens": ask.prompt_tokens, "output_tokens": tokens}
        if ask.simulation.states_cached:
            usage["input_tokens"] -= cached
            usage |= {"cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}
        return {"usage": usage}


_SIGNATURE = "c2ltdWxhdGVk"


def _make_delta(part: Part, text: str) -> dict[str, str]:
    if part.kind == "call":
        return {"type": "input_json_delta", "partial_json": text}
    if part.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": text}
    return {"type": "text_delta", "text": text}


def _parse_arguments(text: str) -> Any:
    """The arguments of a call; those that are not JSON, as a script may have them or a limit of tokens leaves them, as
    nothing."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _make_event(name: str, /, **fields: Any) -> bytes:
    return make_event({"type": name, **fields}, name)
