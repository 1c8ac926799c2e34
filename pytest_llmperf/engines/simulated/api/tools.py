"""Tools and structured output as requests of OpenAI's APIs name them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.api.request import RequestError
from pytest_llmperf.engines.simulated.model.content import ANY_OBJECT, Tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def read_tool(asked: Mapping[str, Any], schema: str) -> Tool:
    """A tool of its description; ``schema`` is the field of its arguments."""
    name, description = asked.get("name"), asked.get("description") or ""
    if not isinstance(name, str) or not name or not isinstance(description, str):
        raise RequestError(400, "tools: each function has a name, and a text as its description")
    parameters = asked.get(schema)
    if parameters is not None and not isinstance(parameters, dict):
        raise RequestError(400, f"tools: {schema} of {name!r} is no JSON schema")
    return Tool(name, {"type": "object", **(parameters or {})}, description)


def choose_tools(tools: Sequence[Tool], choice: object, name: object) -> tuple[tuple[Tool, ...], bool]:
    """The tools that an answer may call, and whether it must.

    ``choice`` is ``none``, ``auto`` or ``required``; where it is anything else, ``name`` is that of the tool to call.
    """
    if choice in (None, "auto", "none"):
        return (() if choice == "none" else tuple(tools)), False
    if not tools:
        raise RequestError(400, "tool_choice asks for a call, but the request has no tools")
    if choice == "required":
        return tuple(tools), True
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        raise RequestError(400, f"tool_choice={choice!r} names none of the tools {', '.join(t.name for t in tools)}")
    return named, True


def read_format(asked: Mapping[str, Any], schema: object, key: str) -> object:
    """The JSON schema of an answer; None where it may be any text. ``asked`` says which kind is wanted."""
    kind = asked.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return asked.get("schema") or ANY_OBJECT
    if kind != "json_schema":
        raise RequestError(400, f"{key}: the type {kind!r} is none of text, json_object, json_schema")
    if not isinstance(schema, dict):
        raise RequestError(400, f"{key}: json_schema has no schema")
    return schema


def list_tool_words(tools: object) -> list[str]:
    """The words by which tools stand in a prompt."""
    return json.dumps(tools).split() if tools else []
