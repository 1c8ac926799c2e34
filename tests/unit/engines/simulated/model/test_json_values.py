"""Values made for a JSON schema fit it, as jsonschema judges."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pydantic
import pytest

from pytest_llmperf.engines.simulated.model.json_values import SchemaError, make_value

QUESTION = "What is the weather in Oslo and in Bergen on the coming weekend?"
TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "children"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}
LINKED = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
    "required": ["value", "next"],
}
SCHEMAS: list[Any] = [
    True,
    {},
    {"const": 7},
    {"enum": ["a", 2, None]},
    {"enum": ["a", 2, None, True, 2.0], "type": "integer"},
    {"enum": ["a", "abcd", [1, 2]], "minLength": 2, "maxItems": 1},
    {"type": "null"},
    {"type": "boolean"},
    {"type": ["null", "string"]},
    {"type": "string", "minLength": 300},
    {"type": "string", "maxLength": 3},
    {"type": "string", "minLength": 9, "maxLength": 9},
    {"type": "string", "maxLength": 0},
    *({"type": "string", "format": name} for name in ("date", "time", "date-time", "duration", "email", "hostname")),
    *({"type": "string", "format": name} for name in ("ipv4", "ipv6", "uuid", "uri")),
    {"type": "string", "pattern": "^[A-Z]{2}-\\d{3,5}$"},
    {"type": "string", "pattern": "^(red|green|blue)( dark)?$", "minLength": 8},
    {"type": "string", "pattern": "^[^0-9]+$", "maxLength": 4},
    {"type": "integer"},
    {"type": "integer", "minimum": 3, "maximum": 3},
    {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
    {"type": "integer", "maximum": -7},
    {"type": "integer", "multipleOf": 5, "minimum": 11},
    {"type": "integer", "multipleOf": 1.5, "minimum": 1, "maximum": 5},
    {"type": "number"},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 0.001},
    {"type": "number", "minimum": -2, "maximum": -1},
    {"type": "number", "multipleOf": 0.25, "minimum": 1, "exclusiveMaximum": 1.5},
    {"minimum": 1e6},
    {"type": "array"},
    {"type": "array", "maxItems": 0},
    {"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True},
    {"type": "array", "items": {"type": "string"}, "minItems": 4, "uniqueItems": True},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"const": "x"}], "items": False},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    {"type": "object", "required": ["a", "b"], "additionalProperties": {"type": "integer"}},
    {"type": "object", "minProperties": 2, "maxProperties": 2, "properties": {"a": {}, "b": {}, "c": {}}},
    {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
    {"allOf": [{"properties": {"a": {"minimum": 2}}}, {"properties": {"a": {"maximum": 2}}, "required": ["a"]}]},
    {"type": "integer", "allOf": [{"minimum": 4}, {"maximum": 6}, {"enum": [1, 5, 9]}]},
    {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    {"anyOf": [False, {"type": "integer"}]},
    {"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"type": "null"}]},
    {"type": "object", "anyOf": [{"required": ["a"]}, {"required": ["b"]}], "properties": {"a": {"type": "integer"}}},
    TREE,
    LINKED,
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
@pytest.mark.parametrize("text", ["", QUESTION])
def test_a_value_fits_its_schema(schema: Any, text: str) -> None:
    value = make_value(schema, text, "seed")
    jsonschema.validate(value, schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    assert json.loads(json.dumps(value)) == value


class Source(pydantic.BaseModel):
    """A part of a model such as apps have."""

    page: int = pydantic.Field(ge=1)
    quote: str = pydantic.Field(max_length=40)


class Finding(pydantic.BaseModel):
    """A model such as apps have."""

    model_config = pydantic.ConfigDict(extra="forbid")
    title: str
    score: float = pydantic.Field(ge=0, le=1)
    sources: list[Source] = pydantic.Field(min_length=1, max_length=3)
    code: str = pydantic.Field(pattern=r"^[A-Z]{3}\d{2}$")
    note: str | None = None
    parent: Finding | None = None


def test_models_of_pydantic_take_what_is_made_for_them() -> None:
    found = Finding.model_validate(make_value(Finding.model_json_schema(), QUESTION, "seed"))
    assert found.title.startswith("What is the weather")
    assert found.parent is not None


def test_a_value_is_the_same_for_the_same_request_and_free_texts_begin_as_it_does() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
    value = make_value(schema, "weather in Oslo", "1")
    assert value == make_value(schema, "weather in Oslo", "1")
    assert value["city"] == "weather in Oslo"
    assert len({make_value(schema, "", str(seed))["days"] for seed in range(20)}) > 5


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (False, "no value fits # of the JSON schema: it allows no value"),
        ("text", "no value fits # of the JSON schema: it is neither an object nor a boolean"),
        ({"not": {"type": "null"}}, "no value fits # of the JSON schema: the keyword 'not' is not known"),
        ({"type": "complex"}, "no value fits # of the JSON schema: the type 'complex' is unknown"),
        ({"enum": []}, "no value fits # of the JSON schema: its enum is empty, or its other keywords"),
        (
            {"enum": [1, 2], "minimum": 3},
            "no value fits # of the JSON schema: its enum is empty, or its other keywords",
        ),
        ({"const": "a", "type": "null"}, "no value fits # of the JSON schema: its other keywords forbid its const"),
        ({"anyOf": []}, "no value fits # of the JSON schema: its anyOf is empty"),
        ({"$ref": "#/$defs/none"}, "no value fits # of the JSON schema: the reference '#/$defs/none' leads nowhere"),
        ({"$ref": "other.json"}, "no value fits # of the JSON schema: the reference 'other.json' does not begin"),
        ({"$ref": "#"}, "no value fits # of the JSON schema: it contains itself without an end"),
        ({"type": "integer", "minimum": "3"}, "the JSON schema is none: "),
        ({"properties": 1}, "the JSON schema is none: "),
        ({"type": "array", "minItems": 10**9}, "no value fits the JSON schema: none was found in 10000 steps"),
        ({"type": "string", "minLength": 10**9}, "no value fits the JSON schema: a text in it has more than"),
        ({"anyOf": [{"$ref": "#"}] * 9}, "no value fits the JSON schema: none was found in 10000 steps"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no value fits # of the JSON schema: no number lies"),
        ({"type": "number", "exclusiveMinimum": 2, "maximum": 2}, "no value fits # of the JSON schema: no number lies"),
        (
            {"type": "string", "pattern": "(?=a)b"},
            "no value fits # of the JSON schema: the pattern '(?=a)b' has a group",
        ),
        ({"type": "string", "pattern": "["}, "no value fits # of the JSON schema: the pattern '[' is none"),
        ({"type": "string", "pattern": "^a$", "minLength": 2}, "no value fits # of the JSON schema: no text was found"),
        (
            {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True},
            "no value fits #/2 of the JSON schema: no further item",
        ),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "no value fits #/a of the JSON schema: it allows no value",
        ),
        (
            {"allOf": [{"type": "string"}, {"type": "integer"}]},
            "no value fits # of the JSON schema: two 'type' at one place",
        ),
    ],
)
def test_a_schema_that_cannot_be_met_is_refused_with_its_place(schema: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        make_value(schema, QUESTION, "seed")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
