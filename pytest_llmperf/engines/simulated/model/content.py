"""What an answer of the simulated model says: text, reasoning and tool calls, cut into tokens."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pytest_llmperf.engines.simulated.model.json_values import SchemaError, make_value
from pytest_llmperf.engines.simulated.model.words import list_words, split_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.simulated.model.script import ScriptedAnswer
    from pytest_llmperf.engines.simulated.model.settings import Simulation

Ending = Literal["stop", "stop word", "length", "tool calls"]
# A request for any JSON object gets one with this key.
ANY_OBJECT = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}


@dataclass(frozen=True)
class Tool:
    """A function that an answer may call; ``schema`` is that of its arguments."""

    name: str
    schema: object = True
    description: str = ""


@dataclass(frozen=True)
class Wanted:
    """What a request wants its answer to be, in the words of no API.

    Attributes:
        role: of the last message: ``user``, ``tool``, ``assistant`` or ``system``.
        text: that of the last message.
        must_call: whether a tool has to be called; ``tools`` then holds those that may be.
        schema: that of an answer in JSON; None for any text.
        stop: what ends a text before it.
        max_tokens: None if the request sets no limit.
    """

    role: str = "user"
    text: str = ""
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    schema: object = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True)
class Part:
    """One part of an answer. The first token of a call is the name of its tool, the others are its arguments."""

    kind: Literal["reasoning", "text", "call"]
    tokens: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text, or the arguments of a call."""
        return "".join(self.tokens[self.kind == "call" :])


@dataclass(frozen=True)
class Content:
    """A whole answer; ``stop_word`` is that which ended it, or ""."""

    parts: tuple[Part, ...]
    ending: Ending
    stop_word: str = ""

    @property
    def lengths(self) -> list[int]:
        """The tokens of each part."""
        return [len(part.tokens) for part in self.parts]

    @property
    def tokens(self) -> int:
        """All tokens."""
        return sum(self.lengths)

    def count(self, kind: str) -> int:
        """The tokens of all parts of a kind."""
        return sum(len(part.tokens) for part in self.parts if part.kind == kind)

    def join(self, kind: str) -> str:
        """The text of all parts of a kind."""
        return "".join(part.text for part in self.parts if part.kind == kind)

    def list_calls(self) -> list[Part]:
        """The tool calls."""
        return [part for part in self.parts if part.kind == "call"]


def compose(wanted: Wanted, simulation: Simulation, scripted: ScriptedAnswer | None = None) -> Content:
    """The answer to a request: what the script says, a tool call, JSON, or words.

    Raises:
        SchemaError: no value fits a schema of the request.
    """
    fixed = _compose_fixed(wanted, simulation, scripted)
    if fixed is None:
        return _stop_text(_compose_words(wanted, simulation), wanted.stop)
    if not (scripted and scripted.reasoning) and simulation.reasoning_tokens:
        fixed.insert(0, Part("reasoning", tuple(list_words(simulation.seed, simulation.reasoning_tokens))))
    ending: Ending = "tool calls" if any(part.kind == "call" for part in fixed) else "stop"
    content = _stop_text(Content(tuple(fixed), ending), wanted.stop)
    return _cut(content, wanted.max_tokens)


def _compose_words(wanted: Wanted, simulation: Simulation) -> Content:
    most = wanted.max_tokens or simulation.default_max_tokens
    count = min(simulation.output_tokens or most, most)
    tokens = tuple(list_words(simulation.seed, count))
    border = min(simulation.reasoning_tokens, count)
    parts = Part("reasoning", tokens[:border]), Part("text", tokens[border:])
    ending: Ending = "stop" if 0 < simulation.output_tokens <= most else "length"
    return Content(tuple(part for part in parts if part.tokens), ending)


def _compose_fixed(wanted: Wanted, simulation: Simulation, scripted: ScriptedAnswer | None) -> list[Part] | None:
    """The parts of an answer that ends by itself; None where nothing says what it is."""
    if scripted is not None and scripted.has_content:
        return _compose_scripted(scripted)
    if _calls_tool(wanted, simulation):
        return [_call(_choose_tool(wanted), wanted, simulation)]
    if wanted.schema is not None:
        value = make_value(wanted.schema, wanted.text, f"{simulation.seed} json {wanted.text}")
        return [Part("text", tuple(split_text(json.dumps(value, ensure_ascii=False))))]
    return None


def _compose_scripted(scripted: ScriptedAnswer) -> list[Part]:
    parts = [Part("reasoning", tuple(split_text(scripted.reasoning))), Part("text", tuple(split_text(scripted.text)))]
    calls = [Part("call", (call.name, *split_text(call.arguments))) for call in scripted.tool_calls]
    return [part for part in (*parts, *calls) if part.tokens]


def _calls_tool(wanted: Wanted, simulation: Simulation) -> bool:
    if not wanted.tools or simulation.tool_use == "never":
        return False
    return wanted.must_call or (simulation.tool_use == "auto" and wanted.role != "tool")


def _choose_tool(wanted: Wanted) -> Tool:
    """The tool whose name and description have most words of the message; of several the first."""
    asked = set(re.findall(r"[a-z0-9]+", wanted.text.lower()))
    return max(wanted.tools, key=lambda tool: len(asked & _list_words_of(tool)))


def _list_words_of(tool: Tool) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", f"{tool.name} {tool.description}".lower()))


def _call(tool: Tool, wanted: Wanted, simulation: Simulation) -> Part:
    try:
        value: Any = make_value(tool.schema, wanted.text, f"{simulation.seed} {tool.name} {wanted.text}")
    except SchemaError as error:
        raise SchemaError(f"tool {tool.name!r}: {error}") from None
    return Part("call", (tool.name, *split_text(json.dumps(value, ensure_ascii=False))))


def _stop_text(content: Content, stop: Sequence[str]) -> Content:
    """The answer up to the first of the stop words in its text, which is left out."""
    for number, part in enumerate(content.parts):
        if part.kind != "text":
            continue
        found = sorted((at, word) for word in stop if (at := part.text.find(word)) >= 0)
        if found:
            kept = replace(part, tokens=_cut_text(part.tokens, found[0][0]))
            return Content(tuple(p for p in (*content.parts[:number], kept) if p.tokens), "stop word", found[0][1])
    return content


def _cut_text(tokens: Sequence[str], length: int) -> tuple[str, ...]:
    kept: list[str] = []
    for token in tokens:
        if length <= 0:
            break
        kept.append(token[:length])
        length -= len(token)
    return tuple(kept)


def _cut(content: Content, most: int | None) -> Content:
    """The answer as far as ``most`` tokens go."""
    if most is None or content.tokens <= most:
        return content
    kept: list[Part] = []
    for part in content.parts:
        kept.append(replace(part, tokens=part.tokens[:most]))
        most -= len(kept[-1].tokens)
    return Content(tuple(part for part in kept if part.tokens), "length")
