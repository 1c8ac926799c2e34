"""``/v1/chat/completions`` of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api import logprobs
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
from pytest_llmperf.engines.simulated.api.tools import choose_tools, list_tool_words, read_format, read_tool
from pytest_llmperf.engines.simulated.model.content import Part, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.simulated.model.content import Ending, Tool
    from pytest_llmperf.engines.simulated.model.schedule import Emission
    from pytest_llmperf.engines.simulated.model.settings import Simulation

DONE = b"data: [DONE]\n\n"
FINISH_REASONS: Mapping[Ending, str] = {
    "stop": "stop",
    "stop word": "stop",
    "length": "length",
    "tool calls": "tool_calls",
}


def describe_error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """The body of a refusal in OpenAI's form."""
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": code or status}}


def count_usage(reply: Reply, tokens: int) -> dict[str, Any]:
    """The token counts, with ``tokens`` of the answer so far."""
    ask = reply.ask
    counts: dict[str, Any] = {
        "prompt_tokens": ask.prompt_tokens,
        "completion_tokens": tokens,
        "total_tokens": ask.prompt_tokens + tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens} if ask.simulation.states_cached else None,
    }
    if reasoning := reply.content.count("reasoning"):
        counts["completion_tokens_details"] = {"reasoning_tokens": min(tokens, reasoning)}
    return counts


def read_usage(asked: Mapping[str, Any], simulation: Simulation) -> tuple[bool, bool]:
    """Whether a stream states its token counts at its end, and whether with each chunk."""
    options = read_object(asked, "stream_options")
    usage = simulation.usage == "always" or (simulation.usage == "asked" and options.get("include_usage") is True)
    return usage, usage and options.get("continuous_usage_stats") is True


class ChatApi:
    """Chats, with tools and structured output."""

    describe_error = staticmethod(describe_error)

    def read(self, asked: Mapping[str, Any], simulation: Simulation) -> Ask:
        """What a body asks for; see :class:`Api`."""
        if asked.get("functions") is not None:
            raise RequestError(400, "functions are not known to the simulated engine: use tools")
        messages = asked.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise RequestError(400, "messages are missing: give a list of objects with role and content")
        usage, continuous_usage = read_usage(asked, simulation)
        words = [word for message in messages for word in _list_words(message)]
        return Ask(
            simulation=simulation,
            prompt=(*list_tool_words(asked.get("tools")), *words),
            wanted=_read_wanted(asked, messages[-1]),
            stream=asked.get("stream") is True,
            usage=usage,
            continuous_usage=continuous_usage,
            logprobs=_read_logprobs(asked),
            is_warmup=is_warmup(asked),
        )

    def make_writer(self, reply: Reply) -> ChatWriter:
        """What writes an answer."""
        return ChatWriter(reply)


def _list_words(message: Mapping[str, Any]) -> list[str]:
    called = [read_object(call, "function") for call in read_objects(message, "tool_calls")]
    calls = [f"{function.get('name')} {function.get('arguments')}" for function in called]
    return " ".join([*find_texts(message.get("content")), *calls]).split()


def _read_wanted(asked: Mapping[str, Any], last: Mapping[str, Any]) -> Wanted:
    tools, must_call = _read_tools(asked)
    form = read_object(asked, "response_format")
    return Wanted(
        role={"developer": "system", "function": "tool"}.get(role := str(last.get("role")), role),
        text=" ".join(find_texts(last.get("content"))),
        tools=tools,
        must_call=must_call,
        schema=read_format(form, read_object(form, "json_schema").get("schema"), "response_format"),
        stop=read_stop(asked, "stop"),
        max_tokens=read_count(asked, "max_completion_tokens", "max_tokens"),
    )


def _read_tools(asked: Mapping[str, Any]) -> tuple[tuple[Tool, ...], bool]:
    tools = []
    for tool in read_objects(asked, "tools"):
        if tool.get("type") != "function":
            raise RequestError(400, f"tools: the type {tool.get('type')!r} is not known to the simulated engine")
        tools.append(read_tool(read_object(tool, "function"), "parameters"))
    choice = asked.get("tool_choice")
    named = read_object(choice, "function").get("name") if isinstance(choice, dict) else None
    return choose_tools(tools, choice, named)


def _read_logprobs(asked: Mapping[str, Any]) -> int | None:
    top = logprobs.read_count(asked, "top_logprobs")
    if asked.get("logprobs") in (None, False):
        return None
    if asked["logprobs"] is not True:
        raise RequestError(400, f"logprobs={asked['logprobs']!r} is neither true nor false")
    return top or 0


class ChatWriter:
    """Writes one answer; see :class:`Writer`."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._ask, self._content = reply.ask, reply.content
        self._sent = 0
        self._calls = [number for number, part in enumerate(reply.content.parts) if part.kind == "call"]

    def begin(self) -> bytes:
        """A chunk with a role and no token, if the settings say so."""
        if not self._ask.simulation.role_chunk:
            return b""
        return self._make_chunk({"role": "assistant", "content": ""})

    def write(self, emission: Emission) -> bytes:
        part = self._content.parts[emission.part]
        self._sent += emission.last - emission.first
        if part.kind == "call":
            return self._make_chunk({"tool_calls": [self._make_call_delta(part, emission)]})
        text = "".join(part.tokens[emission.first : emission.last])
        if part.kind == "reasoning":
            return self._make_chunk({"reasoning_content": text})
        return self._make_chunk({"content": text}, stated=self._list_logprobs(part, emission.first, emission.last))

    def end(self) -> bytes:
        events = self._make_chunk({}, FINISH_REASONS[self._content.ending])
        if self._ask.usage:
            usage = {"choices": [], "usage": count_usage(self._reply, self._content.tokens)}
            events += make_event(self._make_head("chat.completion.chunk") | usage)
        return events + DONE

    def fail(self, message: str) -> bytes:
        return make_event(describe_error(500, message)) + DONE

    def make_whole(self) -> dict[str, Any]:
        calls = [self._make_call(number) for number in range(len(self._calls))]
        text, reasoning = self._content.join("text"), self._content.join("reasoning")
        message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
        if reasoning:
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": FINISH_REASONS[self._content.ending]}
        texts = [part for part in self._content.parts if part.kind == "text"]
        choice["logprobs"] = self._list_logprobs(texts[0], 0, len(texts[0].tokens)) if texts else None
        whole = self._make_head("chat.completion") | {"choices": [choice]}
        if self._ask.simulation.usage != "never":
            whole["usage"] = count_usage(self._reply, self._content.tokens)
        return whole

    def _make_call_delta(self, part: Part, emission: Emission) -> dict[str, Any]:
        arguments = "".join(part.tokens[max(1, emission.first) : emission.last])
        index = self._calls.index(emission.part)
        if emission.first:
            return {"index": index, "function": {"arguments": arguments}}
        return {"index": index, **self._make_call(index), "function": {"name": part.tokens[0], "arguments": arguments}}

    def _make_call(self, index: int) -> dict[str, Any]:
        part = self._content.parts[self._calls[index]]
        function = {"name": part.tokens[0], "arguments": part.text}
        return {"id": f"call_{self._reply.number}_{index}", "type": "function", "function": function}

    def _list_logprobs(self, part: Part, first: int, last: int) -> dict[str, Any] | None:
        if self._ask.logprobs is None:
            return None
        return {"content": logprobs.list_for_chat(self._ask, part.tokens, first, last), "refusal": None}

    def _make_chunk(self, delta: Mapping[str, Any], finish: str | None = None, stated: object = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": stated, "finish_reason": finish}
        event = self._make_head("chat.completion.chunk") | {"choices": [choice]}
        if self._ask.usage:
            event["usage"] = count_usage(self._reply, self._sent) if self._ask.continuous_usage else None
        return make_event(event)

    def _make_head(self, kind: str) -> dict[str, Any]:
        created, model = self._reply.created, self._ask.simulation.model
        return {"id": f"chatcmpl-{self._reply.number}", "object": kind, "created": created, "model": model}
