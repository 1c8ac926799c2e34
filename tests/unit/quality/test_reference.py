"""A reference file gives back exactly what was measured."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from pytest_llmperf.measurement.quality.next_tokens import NextTokens, TextNextTokens
from pytest_llmperf.quality.reference import (
    ReferenceFileError,
    next_tokens_to_wire,
    read_reference,
    write_reference,
)

FOUND = TextNextTokens(
    "d1", "the text", "q8", (1, 2), ((NextTokens(3, {" a": -0.123456, "�": -2.0}), NextTokens(None, {})),)
)


def test_what_was_written_is_read_again() -> None:
    wire = {"fingerprint": "f", **next_tokens_to_wire(FOUND)}
    assert read_reference(write_reference([wire]), "ref.json") == {"d1": FOUND}


def write_position(likely: Any) -> str:
    wire = next_tokens_to_wire(FOUND)
    wire["passages"][0][0][1] = likely
    return json.dumps({"llmperf_reference": 1, "texts": [wire]})


DAMAGED = (None, [1], {"a": None}, {"a": math.nan}, {"a": math.inf}, {"a": -math.inf}, {"a": 5.0}, {"a": 1e6})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "ref.json is no whole reference"),
        ('{"schema": 2, "tests": []}', "ref.json is no reference: --llmperf-save-reference writes one"),
        ('{"llmperf_reference": 9, "texts": []}', "ref.json is no reference"),
        ('{"llmperf_reference": 1, "texts": [{}]}', "ref.json is no whole reference"),
        ('{"llmperf_reference": 1}', "ref.json is no whole reference"),
        ("[" * 100_000, "ref.json is no whole reference"),
        *((write_position(likely), "ref.json is no whole reference") for likely in DAMAGED),
    ],
)
def test_another_file_is_refused(content: str, said: str) -> None:
    with pytest.raises(ReferenceFileError, match=said):
        read_reference(content, "ref.json")
