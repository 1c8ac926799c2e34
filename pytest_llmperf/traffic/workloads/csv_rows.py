"""Rows of CSV files: traces with the columns of this package, and those that Azure and BurstGPT have published."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Sequence

_KEYS = {
    "prompt": "prompt",
    "timestamp": "timestamp",
    "input_length": "input_length",
    "output_length": "output_length",
    "contexttokens": "input_length",
    "generatedtokens": "output_length",
    "request tokens": "input_length",
    "response tokens": "output_length",
}
# Columns of BurstGPT that change nothing in a request.
_UNUSED = ("session id", "elapsed time", "model", "total tokens", "log type")
_WHOLE = re.compile(r"[+-]?\d{1,30}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf(inity)?|nan)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """The columns of a CSV file.

    Attributes:
        keys: for each column the key of a request; None for a column that changes nothing in it.
        time_unit: unit of timestamps that are numbers, if the format of the file states it; None if not.
    """

    keys: tuple[str | None, ...]
    time_unit: str | None

    def parse(self, row: Sequence[str]) -> tuple[dict[str, Any], str | None]:
        """Parses a row and returns its keys and values, and the unit of its timestamp if that is known.

        An empty field is left out; a text that is no number stays a text. A date becomes seconds.

        Raises:
            ValueError: the row has more or fewer fields than the header.
        """
        if len(row) != len(self.keys):
            raise ValueError(f"the row has {len(row)} fields, the header has {len(self.keys)}")
        fields = {key: text for key, text in zip(self.keys, row, strict=True) if key is not None and text.strip()}
        content = {key: text if key == "prompt" else _parse_number(text.strip()) for key, text in fields.items()}
        if self.time_unit is not None and content.get("output_length") == 0:
            raise ValueError("Response tokens is 0, as of a failed request: take the file without failures")
        moment = _parse_date(content.get("timestamp"))
        if moment is None:
            return content, self.time_unit
        return {**content, "timestamp": moment}, "s"


def parse_header(names: Sequence[str]) -> Columns:
    """Parses the first row of a CSV file.

    Raises:
        ValueError: a column is not known or is there twice, or it is no such row.
    """
    plain = [" ".join(name.split()).lower() for name in names]
    if not _KEYS.keys() & set(plain):
        raise ValueError(
            f"{excerpt(','.join(names))!r} is neither a JSON object nor a CSV header with columns such as "
            "timestamp, input_length and output_length"
        )
    unknown = [name for name, known in zip(names, plain, strict=True) if known not in {*_KEYS, *_UNUSED}]
    if unknown:
        raise ValueError(f"unknown column {excerpt(unknown[0])!r}; known are {', '.join(_KEYS)}")
    keys = [_KEYS.get(name) for name in plain]
    for key in _KEYS.values():
        if keys.count(key) > 1:
            raise ValueError(f"{keys.count(key)} columns give {key}: leave one")
    # Azure writes dates; BurstGPT counts seconds.
    return Columns(tuple(keys), "s" if "request tokens" in plain else None)


def _parse_number(text: str) -> int | float | str:
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _parse_date(value: object) -> float | None:
    """Returns the seconds since 1970 of a date and time such as ``2023-11-16 18:15:46.68``; None for anything else."""
    if not isinstance(value, str) or "-" not in value[1:]:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
