"""JSON values that fit a JSON schema: what the simulated model answers where a request asks for one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.simulated.model.pattern_text import PatternError, make_text
from pytest_llmperf.engines.simulated.model.words import VOCABULARY, draw_by

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

# Keywords that forbid what the others allow: without them in mind a value might not fit.
_UNKNOWN = ("not", "if", "contains", "dependentSchemas", "propertyNames", "$dynamicRef", "patternProperties")
_DEEPEST = 24
# Values within a value, also those that are given up again: alternatives within alternatives could take for ever.
_MOST_VALUES = 10_000
_LONGEST_TEXT = 1 << 20
# Beyond this depth what may be left out is, so that a schema that contains itself ends.
_DEEP = 4
_TEXT_WORDS = 8
_FORMATS = {
    "date": "2026-01-17",
    "time": "12:30:00Z",
    "date-time": "2026-01-17T12:30:00Z",
    "duration": "P1D",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "3f2b8c1e-4a5d-4e6f-8a7b-9c0d1e2f3a4b",
}


class SchemaError(ValueError):
    """A schema for which no value can be made; one line that names the place in it."""


class _EndlessError(SchemaError):
    """There is no use in trying another alternative."""


def make_value(schema: object, text: str, seed: str) -> Any:
    """A value that fits ``schema``; its free texts begin as ``text`` does, its numbers are drawn with the seed.

    Raises:
        SchemaError: the schema allows nothing, is none, or has a keyword that is not known here.
    """
    try:
        return _Maker(schema, text.split()[:_TEXT_WORDS], draw_by(seed)).make(schema, "#", 0)
    except (TypeError, AttributeError, KeyError, OverflowError) as error:
        # such as a minimum that is a text: it came with a request, and only that is to fail
        raise SchemaError(f"the JSON schema is none: {error}") from error


@dataclass
class _Maker:
    root: object
    text: Sequence[str]
    draw: random.Random
    left: int = _MOST_VALUES

    def make(self, schema: object, place: str, depth: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _EndlessError(f"no value fits the JSON schema: none was found in {_MOST_VALUES} steps")
        if depth > _DEEPEST:
            raise _misfit(place, "it contains itself without an end")
        if schema is False:
            raise _misfit(place, "it allows no value")
        if schema is True:
            return self._make_text({})
        if not isinstance(schema, dict):
            raise _misfit(place, "it is neither an object nor a boolean")
        for keyword in _UNKNOWN:
            if keyword in schema:
                raise _misfit(place, f"the keyword {keyword!r} is not known to the simulated engine")
        return self._make_known(schema, place, depth)

    def _make_known(self, schema: dict[str, Any], place: str, depth: int) -> Any:
        if "$ref" in schema:
            others = {key: value for key, value in schema.items() if key != "$ref"}
            return self.make(_merge(self._find(schema["$ref"], place), others, place), place, depth + 1)
        if "allOf" in schema:
            return self.make(self._merge_all(schema, place), place, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._make_first(schema, keyword, place, depth)
        if "const" in schema:
            if not _allows(schema, schema["const"]):
                raise _misfit(place, "its other keywords forbid its const")
            return schema["const"]
        if "enum" in schema:
            allowed = [value for value in schema["enum"] if _allows(schema, value)]
            if not allowed:
                raise _misfit(place, "its enum is empty, or its other keywords forbid all of it")
            return self.draw.choice(allowed)
        return self._make_typed(schema, _find_type(schema), place, depth)

    def _make_typed(self, schema: dict[str, Any], kind: str, place: str, depth: int) -> Any:
        if kind == "object":
            return self._make_object(schema, place, depth)
        if kind == "array":
            return self._make_array(schema, place, depth)
        if kind == "string":
            return self._make_string(schema, place)
        if kind in ("integer", "number"):
            return self._make_number(schema, place, whole=kind == "integer")
        if kind == "boolean":
            return self.draw.random() < 0.5
        if kind == "null":
            return None
        raise _misfit(place, f"the type {kind!r} is unknown")

    # --- combined schemas

    def _find(self, reference: object, place: str) -> object:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _misfit(place, f"the reference {reference!r} does not begin with '#'")
        found = self.root
        for part in reference.removeprefix("#").split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or key not in found:
                raise _misfit(place, f"the reference {reference!r} leads nowhere")
            found = found[key]
        return found

    def _merge_all(self, schema: dict[str, Any], place: str) -> object:
        merged: object = {key: value for key, value in schema.items() if key != "allOf"}
        for part in schema["allOf"]:
            known = self._find(part["$ref"], place) if isinstance(part, dict) and "$ref" in part else part
            merged = _merge(merged, known, place)
            if isinstance(part, dict) and "$ref" in part:
                merged = _merge(merged, {key: value for key, value in part.items() if key != "$ref"}, place)
        return merged

    def _make_first(self, schema: dict[str, Any], keyword: str, place: str, depth: int) -> Any:
        """A value of the first alternative that has one, of null last; deep inside of the simplest."""
        others = {key: value for key, value in schema.items() if key != keyword}
        choices: list[object] = sorted(
            schema[keyword], key=lambda choice: (choice == {"type": "null"}) != (depth > _DEEP)
        )
        why: SchemaError | None = None
        for number, choice in enumerate(choices):
            try:
                return self.make(_merge(choice, others, place), f"{place}/{keyword}/{number}", depth + 1)
            except _EndlessError:
                raise
            except SchemaError as error:
                why = why or error
        raise why or _misfit(place, f"its {keyword} is empty")

    # --- values of one type

    def _make_object(self, schema: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
        known, required = schema.get("properties", {}), list(schema.get("required", ()))
        others = schema.get("additionalProperties", True)
        names = [*required, *(name for name in known if name not in required and depth <= _DEEP)]
        most = schema.get("maxProperties", len(names))
        wanted = names[: max(most, len(required))]
        while len(wanted) < schema.get("minProperties", 0):
            spare = next((name for name in known if name not in wanted), f"key_{len(wanted)}")
            wanted.append(spare)
        made = {name: self.make(known.get(name, others), f"{place}/{name}", depth + 1) for name in wanted}
        # in the order of the schema, as models are held to it
        return {name: made[name] for name in (*known, *wanted) if name in made}

    def _make_array(self, schema: dict[str, Any], place: str, depth: int) -> list[Any]:
        first, rest = schema.get("prefixItems", []), schema.get("items", True)
        least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
        usual = len(first) if first else 0 if depth > _DEEP else 1
        count = int(max(least, min(usual, most)))
        made: list[Any] = []
        for number in range(count):
            wanted = first[number] if number < len(first) else rest
            made.append(self._make_item(wanted, made if schema.get("uniqueItems") else (), f"{place}/{number}", depth))
        return made

    def _make_item(self, schema: object, taken: Sequence[Any], place: str, depth: int) -> Any:
        for _ in range(100):
            item = self.make(schema, place, depth + 1)
            if item not in taken:
                return item
            self.text = [self.draw.choice(VOCABULARY) for _ in range(_TEXT_WORDS)]
        raise _misfit(place, "no further item was found that is not there yet")

    def _make_string(self, schema: dict[str, Any], place: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        if "pattern" in schema:
            try:
                return make_text(schema["pattern"], self.draw, least, most)
            except PatternError as error:
                raise _misfit(place, str(error)) from None
        if (known := _FORMATS.get(schema.get("format", ""))) is not None:
            return known
        return self._make_text(schema)

    def _make_text(self, schema: Mapping[str, Any]) -> str:
        if schema.get("minLength", 0) > _LONGEST_TEXT:
            raise _EndlessError(f"no value fits the JSON schema: a text in it has more than {_LONGEST_TEXT} characters")
        words, least = list(self.text) or list(self.draw.choices(VOCABULARY, k=3)), schema.get("minLength", 1)
        text = " ".join(words)
        while len(text) < least:
            text += f" {self.draw.choice(VOCABULARY)}"
        cut = text[: schema.get("maxLength")]
        return cut if len(cut.rstrip()) < least else cut.rstrip()

    def _make_number(self, schema: dict[str, Any], place: str, *, whole: bool) -> float:
        step = schema.get("multipleOf", 1 if whole else None)
        if step is None:
            return self._make_real(schema, place)
        low = max(schema.get("minimum", -math.inf), _above(schema.get("exclusiveMinimum"), step))
        high = min(schema.get("maximum", math.inf), _below(schema.get("exclusiveMaximum"), step))
        if low == -math.inf:
            low = 0 if high >= 0 else high - 100 * step
        first, last = math.ceil(low / step), math.floor(min(high, low + 100 * step) / step)
        multiples = [n for n in range(first, last + 1) if not whole or float(n * step).is_integer()]
        if not multiples:
            raise _misfit(place, "no number lies within its limits")
        number = self.draw.choice(multiples) * step
        return int(number) if whole else number

    def _make_real(self, schema: dict[str, Any], place: str) -> float:
        low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
        high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
        if low == -math.inf:
            low = min(0.0, high - 1) if high < math.inf else 0.0
        high = min(high, low + 100)
        if low > high or (low == high and low in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))):
            raise _misfit(place, "no number lies within its limits")
        # well inside, so that rounding cannot leave the limits
        drawn: float = low + (high - low) * round(self.draw.uniform(0.25, 0.75), 2)
        return drawn


def _above(limit: float | None, step: float) -> float:
    """The smallest multiple of ``step`` above a limit."""
    return -math.inf if limit is None else (math.floor(limit / step) + 1) * step


def _below(limit: float | None, step: float) -> float:
    """The largest multiple of ``step`` below a limit."""
    return math.inf if limit is None else (math.ceil(limit / step) - 1) * step


_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (NoneType,),
    "number": (int, float),
    "integer": (int, float),
}


def _allows(schema: Mapping[str, Any], value: object) -> bool:
    """Whether a given value has the type and the size that are asked for beside it."""
    kinds = schema.get("type", [])
    if kinds and not any(_is_of(value, str(kind)) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = schema.get("minimum", value), schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
        return bool(above < value < below and least <= value <= most)
    if isinstance(value, (str, list)):
        unit = "Length" if isinstance(value, str) else "Items"
        return bool(schema.get(f"min{unit}", 0) <= len(value) <= schema.get(f"max{unit}", math.inf))
    return True


def _is_of(value: object, kind: str) -> bool:
    if isinstance(value, bool) and kind != "boolean":
        return False
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES.get(kind, ()))


def _find_type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return next((str(one) for one in kind if one != "null"), "null")
    if kind is not None:
        return str(kind)
    if schema.keys() & {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}:
        return "object"
    if schema.keys() & {"items", "prefixItems", "minItems", "maxItems"}:
        return "array"
    if schema.keys() & {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}:
        return "number"
    return "string"


_TIGHTER = {
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}


def _merge(one: object, other: object, place: str) -> object:
    """A schema that both allow."""
    if one is True or one == {} or other is False:
        return other
    if other is True or other == {} or one is False:
        return one
    if not isinstance(one, dict) or not isinstance(other, dict):
        raise _misfit(place, "it is neither an object nor a boolean")
    merged = {**one, **other}
    for key in one.keys() & other.keys():
        merged[key] = _merge_keyword(key, one[key], other[key], place)
    return merged


def _merge_keyword(key: str, one: Any, other: Any, place: str) -> Any:
    if key in _TIGHTER:
        return _TIGHTER[key](one, other)
    if key == "required":
        return list(dict.fromkeys([*one, *other]))
    if key == "properties":
        return {**one, **{name: _merge(one.get(name, True), schema, place) for name, schema in other.items()}}
    if key in ("items", "additionalProperties"):
        return _merge(one, other, place)
    if key == "enum":
        return [value for value in one if value in other]
    if one != other and key in (
        "const",
        "type",
        "pattern",
        "format",
        "multipleOf",
        "$ref",
        "anyOf",
        "oneOf",
        "prefixItems",
    ):
        raise _misfit(place, f"two {key!r} at one place are not known to the simulated engine")
    return other


def _misfit(place: str, why: str) -> SchemaError:
    return SchemaError(f"no value fits {place} of the JSON schema: {why}")
