"""``/v1/responses`` of OpenAI's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.chat import describe_error
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
)
from pytest_llmperf.engines.simulated.api.tools import choose_tools, list_tool_words, read_format, read_tool
from pytest_llmperf.engines.simulated.model.content import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.engines.simulated.model.content import Part, Tool
    from pytest_llmperf.engines.simulated.model.schedule import Emission
    from pytest_llmperf.engines.simulated.model.settings import Simulation

# What needs a server that keeps answers, or that answers later.
_UNKNOWN = ("previous_response_id", "conversation", "background", "prompt", "include")
# Fields of a request that its answer repeats, with what they are where they are not given.
_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}


class ResponsesApi:
    """Answers as lists of items, with tools and structured output; nothing of them is kept."""

    describe_error = staticmethod(describe_error)

    def read(self, asked: Mapping[str, Any], simulation: Simulation) -> Ask:
        """What a body asks for; see :class:`Api`."""
        for key in _UNKNOWN:
            if asked.get(key):
                raise RequestError(400, f"{key} is not known to the simulated engine")
        items = _read_items(asked)
        tools = _read_tools(asked)
        choice = asked.get("tool_choice")
        allowed, must_call = choose_tools(tools, choice, choice.get("name") if isinstance(choice, dict) else None)
        form = read_object(read_object(asked, "text"), "format")
        role, text = _describe_last(items[-1])
        words = " ".join([str(asked.get("instructions") or ""), *map(_write_item, items)]).split()
        return Ask(
            simulation=simulation,
            prompt=(*list_tool_words(asked.get("tools")), *words),
            wanted=Wanted(
                role=role,
                text=text,
                tools=allowed,
                must_call=must_call,
                schema=read_format(form, form.get("schema"), "text.format"),
                max_tokens=read_count(asked, "max_output_tokens"),
            ),
            stream=asked.get("stream") is True,
            is_warmup=is_warmup(asked),
            echoed={key: usual if asked.get(key) is None else asked[key] for key, usual in _REPEATED.items()},
        )

    def make_writer(self, reply: Reply) -> ResponseWriter:
        """What writes an answer."""
        return ResponseWriter(reply)


def _read_items(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = asked.get("input")
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    items = read_objects(asked, "input") if isinstance(given, list) else []
    if not items:
        raise RequestError(400, "input is missing: give a string or a list of items")
    return items


def _describe_last(item: Mapping[str, Any]) -> tuple[str, str]:
    kind = item.get("type", "message")
    if kind == "function_call_output":
        return "tool", _write_item(item)
    role = str(item.get("role", "assistant"))
    return ("system" if role == "developer" else role), _write_item(item)


def _write_item(item: Mapping[str, Any]) -> str:
    """The text by which an item of the input stands in the prompt."""
    kind = item.get("type", "message")
    if kind == "message":
        return " ".join(find_texts(item.get("content")))
    if kind == "function_call_output":
        return " ".join(find_texts(item.get("output")))
    if kind == "function_call":
        return f"{item.get('name')} {item.get('arguments')}"
    if kind == "reasoning":
        return " ".join(find_texts(item.get("content")))
    raise RequestError(400, f"input: the type {kind!r} is not known to the simulated engine")


def _read_tools(asked: Mapping[str, Any]) -> list[Tool]:
    tools = []
    for tool in read_objects(asked, "tools"):
        if tool.get("type") != "function":
            raise RequestError(400, f"tools: the type {tool.get('type')!r} is not known to the simulated engine")
        tools.append(read_tool(tool, "parameters"))
    return tools


class ResponseWriter:
    """Writes one answer; see :class:`Writer`. Each part of the content is an item of the output."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._content = reply.content
        self._events = 0

    def begin(self) -> bytes:
        response = self._make_response("in_progress", [])
        return self._make_event("response.created", response=response) + self._make_event(
            "response.in_progress", response=response
        )

    def write(self, emission: Emission) -> bytes:
        number, part = emission.part, self._content.parts[emission.part]
        events = self._open(number, part) if not emission.first else b""
        tokens = part.tokens[max(part.kind == "call", emission.first) : emission.last]
        if tokens:
            events += self._make_delta(number, part, "".join(tokens))
        return events + (self._close(number, part) if emission.last == len(part.tokens) else b"")

    def end(self) -> bytes:
        whole = self.make_whole()
        return self._make_event(f"response.{whole['status']}", response=whole)

    def fail(self, message: str) -> bytes:
        error = {"code": "server_error", "message": message}
        return self._make_event("response.failed", response=self._make_response("failed", []) | {"error": error})

    def make_whole(self) -> dict[str, Any]:
        items = [self._make_item(number, part) for number, part in enumerate(self._content.parts)]
        is_cut = self._content.ending == "length"
        whole = self._make_response("incomplete" if is_cut else "completed", items)
        if is_cut:
            whole["incomplete_details"] = {"reason": "max_output_tokens"}
        if self._reply.ask.simulation.usage != "never":
            whole["usage"] = self._count_usage()
        return whole

    # --- items and their events

    def _open(self, number: int, part: Part) -> bytes:
        item = self._make_item(number, part, is_whole=False)
        events = self._make_event("response.output_item.added", output_index=number, item=item)
        if part.kind == "call":
            return events
        content = _make_content(part, "")
        return events + self._make_event("response.content_part.added", **self._place(number, part), part=content)

    def _make_delta(self, number: int, part: Part, text: str) -> bytes:
        extra: dict[str, Any] = {"logprobs": []} if part.kind == "text" else {}
        return self._make_event(f"{_NAMES[part.kind]}.delta", **self._place(number, part), delta=text, **extra)

    def _close(self, number: int, part: Part) -> bytes:
        item = self._make_item(number, part)
        done, place = f"{_NAMES[part.kind]}.done", self._place(number, part)
        if part.kind == "call":
            events = self._make_event(done, **place, name=part.tokens[0], arguments=part.text)
        else:
            extra: dict[str, Any] = {"logprobs": []} if part.kind == "text" else {}
            events = self._make_event(done, **place, text=part.text, **extra)
            content = _make_content(part, part.text)
            events += self._make_event("response.content_part.done", **place, part=content)
        return events + self._make_event("response.output_item.done", output_index=number, item=item)

    def _place(self, number: int, part: Part) -> dict[str, Any]:
        place = {"item_id": self._make_id(number, part), "output_index": number}
        return place if part.kind == "call" else place | {"content_index": 0}

    def _make_item(self, number: int, part: Part, *, is_whole: bool = True) -> dict[str, Any]:
        is_cut = self._content.ending == "length" and number == len(self._content.parts) - 1
        status = "in_progress" if not is_whole else "incomplete" if is_cut else "completed"
        item: dict[str, Any] = {"id": self._make_id(number, part), "status": status}
        content = [_make_content(part, part.text)] if is_whole else []
        if part.kind == "call":
            called = {"name": part.tokens[0], "arguments": part.text if is_whole else ""}
            return item | {"type": "function_call", "call_id": f"call_{self._reply.number}_{number}"} | called
        if part.kind == "reasoning":
            return item | {"type": "reasoning", "summary": [], "content": content}
        return item | {"type": "message", "role": "assistant", "content": content}

    def _make_id(self, number: int, part: Part) -> str:
        return f"{_PREFIXES[part.kind]}_{self._reply.number}_{number}"

    # --- the whole

    def _make_response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        ask = self._reply.ask
        head = {"id": f"resp_{self._reply.number}", "object": "response", "created_at": self._reply.created}
        head |= {"model": ask.simulation.model, "status": status, "output": output}
        return head | {"error": None, "incomplete_details": None, "usage": None, **ask.echoed}

    def _count_usage(self) -> dict[str, Any]:
        ask, tokens = self._reply.ask, self._content.tokens
        cached = {"cached_tokens": self._reply.cached_tokens} if ask.simulation.states_cached else None
        return {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": cached,
            "output_tokens": tokens,
            "output_tokens_details": {"reasoning_tokens": self._content.count("reasoning")},
            "total_tokens": ask.prompt_tokens + tokens,
        }

    def _make_event(self, name: str, /, **fields: Any) -> bytes:
        event = {"type": name, "sequence_number": self._events, **fields}
        self._events += 1
        return make_event(event, name)


_NAMES = {
    "text": "response.output_text",
    "reasoning": "response.reasoning_text",
    "call": "response.function_call_arguments",
}
_PREFIXES = {"text": "msg", "reasoning": "rs", "call": "fc"}


def _make_content(part: Part, text: str) -> dict[str, Any]:
    if part.kind == "reasoning":
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
