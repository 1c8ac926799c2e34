"""Keys are hidden in every spelling that a server may quote them in."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest

from pytest_llmperf.system.known_keys import hide_keys, hide_keys_in, knows_keys, note_key
from pytest_llmperf.traffic.answers.json_fields import excerpt

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "Zq7/pl+ow\"n='k&Ey9~x"


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "quoted": lambda key: quote(key, safe=""),
    "quoted but for slashes": quote,
    "quoted in a query": quote_plus,
    "quoted in small letters": lambda key: re.sub("%..", lambda code: code[0].lower(), quote(key, safe="")),
    "in JSON": lambda key: json.dumps(key)[1:-1],
    "in PHP's JSON": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "in a repr": lambda key: repr(key)[1:-1],
    "in HTML": html.escape,
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=[*SPELLINGS])
def test_each_spelling_is_hidden(spell: Callable[[str], str]) -> None:
    note_key(KEY)
    text = f"no {spell(KEY)}, nor Bearer{spell(KEY)}."
    assert hide_keys(text) == "no ***, nor Bearer***."


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", ["", ":", "u:", "user:"])
def test_base64_is_hidden_but_for_what_it_shares_with_its_neighbours(
    encode: Callable[[bytes], bytes], before: str
) -> None:
    note_key(KEY)
    shown = hide_keys(f"Basic {encode(f'{before}{KEY}:'.encode()).decode()}")
    kept = shown.removeprefix("Basic ").replace("***", "")
    assert "***" in shown
    assert len(kept) <= len(before) * 2 + 8


def test_a_key_that_is_a_part_of_another_leaves_nothing_of_it() -> None:
    note_key("sk-abcdef")
    note_key("sk-abcdef-ghijkl")
    assert hide_keys("sk-abcdef-ghijkl") == "***"


@pytest.mark.parametrize(("text", "shown"), [("a Zq7/pl+...", "a ***..."), ("…k&Ey9~x", "…***"), ("Zq7...", "Zq7...")])
def test_parts_beside_an_ellipsis_are_hidden(text: str, shown: str) -> None:
    note_key(KEY)
    assert hide_keys(text) == shown


def test_an_excerpt_hides_a_key_before_it_is_cut() -> None:
    note_key(KEY)
    shown = excerpt("x" * 190 + KEY)
    assert shown == "x" * 190 + "***"


@pytest.mark.parametrize("placeholder", ["", "EMPTY", "ollama", "x", "none"])
def test_placeholders_are_no_keys(placeholder: str) -> None:
    note_key(placeholder)
    assert not knows_keys()
    assert hide_keys("an ollama, EMPTY, none") == "an ollama, EMPTY, none"


def test_plain_data_is_gone_through() -> None:
    data = {KEY: [1, 2.5, None, (f"a{KEY}",)], "b": True}
    assert hide_keys_in(data) is data
    note_key(KEY)
    assert hide_keys_in(data) == {"***": [1, 2.5, None, ["a***"]], "b": True}
