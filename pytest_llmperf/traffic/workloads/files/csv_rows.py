"""Rows of CSV files: columns with the names of keys, and those of the traces that Azure and BurstGPT have published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXTS = (
    "prompt",
    "instruction",
    "question",
    "input",
    "context",
    "content",
    "text",
    "system_prompt",
    "system",
    "prefix",
)
_NUMBERS = (
    *("timestamp", "input_length", "output_length", "output_tokens", "max_tokens", "max_completion_tokens"),
    *("output_tokens_count", "completion_tokens_count", "prompt_tokens_count", "input_tokens_count"),
)
_PUBLISHED = {
    "contexttokens": "input_length",
    "generatedtokens": "output_length",
    "request tokens": "input_length",
    "response tokens": "output_length",
}
_KEYS = {**{key: key for key in (*_TEXTS, *_NUMBERS)}, **_PUBLISHED}
_INDEXED = re.compile(r"(?:prompt|output_tokens_count|completion_tokens_count)[-_]\d{1,6}")
# Columns that change nothing in a request: those of BurstGPT, and names.
_UNUSED = ("session id", "elapsed time", "model", "total tokens", "log type", "id", "request_id")
_IMAGES = "numimages"
_WHOLE = re.compile(r"[+-]?\d{1,30}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)
_MOST_DIGITS = 18


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file.

    Attributes:
        keys: for each column the key of a request; None for a column that changes nothing in it.
        texts: those of the keys whose values stay texts.
        time_unit: unit of timestamps that are numbers, if the format of the file states it; None if not.
    """

    keys: tuple[str | None, ...]
    texts: frozenset[str]
    time_unit: str | None

    def parse(self, row: Sequence[str]) -> tuple[dict[str, Any], str | None]:
        """Parses a row and returns its keys and values, and the unit of its timestamp if that is known.

        An empty field is left out; a text that is no number stays a text. A date becomes seconds.

        Raises:
            ValueError: the row has more or fewer fields than the header.
        """
        if len(row) != len(self.keys):
            raise ValueError(f"the row has {len(row)} fields, the header has {len(self.keys)}")
        texts = self.texts
        content = {
            key: text if key in texts else _parse_number(text)
            for key, text in zip(self.keys, row, strict=True)
            if key is not None and text and not text.isspace()
        }
        if self.time_unit is not None and content.get("output_length") == 0:
            raise ValueError("Response tokens is 0, as of a failed request: take the file without failures")
        moment = _parse_date(content.get("timestamp"))
        if moment is None:
            return content, self.time_unit
        content["timestamp"] = moment
        return content, "s"


def parse_header(names: Sequence[str]) -> Columns:
    """Parses the first row of a CSV file.

    Raises:
        ValueError: a column is not known or is there twice, or it is no such row.
    """
    plain = [" ".join(name.split()).lower() for name in names]
    keys = [_find_key(name) for name in plain]
    if not any(keys):
        raise ValueError(
            f"{excerpt(','.join(names))!r} is neither a JSON object nor a CSV header with columns such as "
            "timestamp, input_length and output_length"
        )
    if _IMAGES in plain:
        raise ValueError("column 'NumImages': requests with images cannot be made from their number; leave it out")
    unknown = [name for name, low, key in zip(names, plain, keys, strict=True) if key is None and low not in _UNUSED]
    if unknown:
        raise ValueError(f"unknown column {excerpt(unknown[0])!r}; known are {', '.join(_KEYS)}")
    for key in filter(None, keys):
        if keys.count(key) > 1:
            raise ValueError(f"{keys.count(key)} columns give {key}: leave one")
    # Azure writes dates; BurstGPT counts seconds.
    texts = frozenset(
        key for key in keys if key and (key in _TEXTS or (key.startswith("prompt") and key not in _NUMBERS))
    )
    return Columns(tuple(keys), texts, "s" if "request tokens" in plain else None)


def _find_key(name: str) -> str | None:
    return name if _INDEXED.fullmatch(name) else _KEYS.get(name)


def _parse_number(text: str) -> int | float | str:
    if text.isdecimal() and text.isascii() and len(text) <= _MOST_DIGITS:
        return int(text)
    text = text.strip()
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _parse_date(value: object) -> float | None:
    """Returns the seconds since 1970 of a date and time such as ``2023-11-16 18:15:46.68``; None for anything else."""
    if not isinstance(value, str) or "-" not in value[1:]:
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
