"""What comes from outside, as it should be and as it should not: JSON, bytes, lines, and how they are split."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

DEPTH = 100_000
LARGEST = 10**400
"""A number that no float holds."""

SCALARS: SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        (
            *(None, True, False, 0, 1, -1, 2, 7, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf"), -float("inf")),
            *(2**31, 2**53, 2**53 + 1, 2**63, 2**64, 10**30, LARGEST, -LARGEST),
            *("", " ", "a", "\ud800", "\0", "\x1b[2J", "9", "nan", "a\nb", "é", "🙂", "9" * 300, "x" * 5000),
        )
    ),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
)
VALUES: SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("", "a", "id", "name", "data")), inner, max_size=3),
    ),
    max_leaves=5,
)


@st.composite
def changed(draw: DrawFn, value: Any, keys: Sequence[str] = ()) -> Any:
    """A value of JSON in which something is another, is missing, stands twice, or bears another key of ``keys``."""
    if not value or not isinstance(value, dict | list) or draw(st.integers(0, 5)) == 0:
        return draw(VALUES)
    if isinstance(value, list):
        at = draw(st.integers(0, len(value) - 1))
        inner = draw(changed(value[at], keys))
        times = draw(st.sampled_from((1, 1, 1, 0, 2)))
        return [*value[:at], *[inner] * times, *value[at + 1 :]]
    key = draw(st.sampled_from([*value]))
    rest = {other: one for other, one in value.items() if other != key}
    way = draw(st.sampled_from(("value", "value", "value", "value", "key", "none")))
    if way == "none":
        return rest
    name = draw(st.sampled_from([*value, *keys, "", "extra"])) if way == "key" else key
    return {**rest, name: value[key] if way == "key" else draw(changed(value[key], keys))}


@st.composite
def documents(draw: DrawFn, good: Sequence[Any], keys: Sequence[str] = ()) -> Any:
    """One of the good documents, with up to three changes."""
    found = draw(st.sampled_from(good))
    for _ in range(draw(st.integers(0, 3))):
        found = draw(changed(found, keys))
    return found


@st.composite
def damaged(draw: DrawFn, data: bytes, more: Sequence[bytes] = ()) -> bytes:
    """The bytes with up to four places changed, cut out, repeated, or filled with some of ``more``."""
    new = st.one_of(st.sampled_from((b"", b"\r", b"\n", b"\r\n", b"\0", b'"', b" ", *more)), st.binary(max_size=4))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        size = draw(st.sampled_from((0, 0, 1, 2, 9, len(data))))
        repeated = data[at : at + 9] if draw(st.booleans()) else draw(new)
        data = data[:at] + repeated + data[at + size :]
    return data


@st.composite
def splits(draw: DrawFn, data: bytes) -> list[bytes]:
    """The bytes in pieces, none of them empty."""
    if draw(st.integers(0, 9)) == 0:
        return [data[at : at + 1] for at in range(min(len(data), 2000))] + [data[2000:]] * (len(data) > 2000)
    cuts = draw(st.sets(st.integers(0, len(data)), max_size=12))
    return [data[a:b] for a, b in pairwise(sorted({0, *cuts, len(data)}))]


def to_json(value: Any) -> bytes:
    """A value as JSON, as Python writes it: with NaN, with the halves of characters, and with any number of digits."""
    return json.dumps(value).encode()


def nested(opening: str, closing: str, inner: str = "1") -> bytes:
    """JSON that is nested deeper than any parser goes."""
    return (opening * DEPTH + inner + closing * DEPTH).encode()


@st.composite
def json_texts(draw: DrawFn, good: Sequence[Any], keys: Sequence[str] = ()) -> bytes:
    """The bytes of a document: mostly JSON of the right form or a wrong one, at times damaged, or nested too deep."""
    match draw(st.integers(0, 19)):
        case 0:
            return draw(st.sampled_from((nested("[", "]"), nested('{"a":', "}"), b"[" * DEPTH, b"9" * 5000, b"")))
        case 1:
            return draw(st.binary(max_size=20))
        case 2 | 3:
            return draw(damaged(to_json(draw(st.sampled_from(good))), (b"1e999", b"NaN", b"\xff", b"9" * 5000)))
        case _:
            return to_json(draw(documents(good, keys)))


@st.composite
def texts_of(draw: DrawFn, words: Sequence[str]) -> str:
    """A text of the words that a reader looks for, in any order, with numbers and line ends among them."""
    between = st.sampled_from(("", "", " ", "\n", "\n", "\t", ": ", "=", ","))
    odd = st.sampled_from(("0", "1", "12.5", "1.2.3", "-1", "1e999", "9" * 400, "9" * 5000, "\0", "\x1b[31m", "é", '"'))
    parts = draw(st.lists(st.tuples(st.one_of(st.sampled_from(words), odd), between), max_size=12))
    return "".join(word + space for word, space in parts)
