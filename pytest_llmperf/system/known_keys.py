"""Hides the keys of this run's engines in all texts that others may read, however a server has spelled them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from pytest_llmperf.system.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Callable

SHORTEST_KEY = 8
"""Shorter ones, such as ``EMPTY`` and ``ollama``, are placeholders, which stand in many texts by chance."""
_SHORTEST_PART = 6
_CUTS = ("...", "…")
_CODE = re.compile("%[0-9A-F]{2}")
_known: dict[str, None] = {}


def note_key(key: str) -> None:
    """From now on the key is hidden by this process. Keys shorter than ``SHORTEST_KEY`` are not."""
    if len(key) >= SHORTEST_KEY:
        _known[key] = None


def knows_keys() -> bool:
    """Whether there is a key to hide."""
    return bool(_known)


def hide_keys(text: str) -> str:
    """``text`` with ``***`` for each key that was noted: as it is, quoted for URLs, JSON, Python or HTML, in base64.

    Where a text was cut by an ellipsis, a part of six or more characters of a key next to it is hidden as well.
    """
    if not _known:
        return text
    is_cut = any(cut in text for cut in _CUTS)
    for key in sorted(_known, key=len, reverse=True):
        for spelled in _spell(key):
            text = text.replace(spelled, MASK)
            if is_cut:
                text = _hide_parts(text, spelled)
    return text


def hide_keys_in(value: Any) -> Any:
    """Plain data with the keys hidden in all its texts and names, lists for tuples; as it is if none was noted."""
    if not _known:
        return value
    if isinstance(value, str):
        return hide_keys(value)
    if isinstance(value, Mapping):
        return {hide_keys_in(key): hide_keys_in(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [*map(hide_keys_in, value)]
    return value


@lru_cache(maxsize=64)
def _spell(key: str) -> tuple[str, ...]:
    """The spellings of a key, longest first, so that none is left that another one is a part of."""
    quoted = [key, quote(key, safe=""), quote(key), quote_plus(key)]
    quoted += [_CODE.sub(lambda found: found[0].lower(), text) for text in quoted[1:]]
    in_json = json.dumps(key)[1:-1]
    quoted += [in_json, in_json.replace("/", "\\/"), repr(key)[1:-1], html.escape(key)]
    quoted += [repr(text)[1:-1] for text in quoted]
    encoded = [text for encode in (base64.b64encode, base64.urlsafe_b64encode) for text in _encode(key, encode)]
    return tuple(sorted({*quoted, *encoded}, key=len, reverse=True))


def _encode(key: str, encode: Callable[[bytes], bytes]) -> list[str]:
    """The characters that belong to a key alone in base64, at each of its three places in a longer text."""
    data = key.encode("utf-8", "surrogatepass")
    found = [encode(data).decode(), encode(data).decode().rstrip("=")]
    for before in range(3):
        size = before + len(data)
        text = encode(b"\0" * before + data).decode()
        found.append(text[(0, 2, 3)[before] : size // 3 * 4])
    return [text for text in found if len(text) >= _SHORTEST_PART]


def _hide_parts(text: str, spelled: str) -> str:
    for cut in _CUTS:
        for length in range(len(spelled) - 1, _SHORTEST_PART - 1, -1):
            text = text.replace(spelled[:length] + cut, MASK + cut).replace(cut + spelled[-length:], cut + MASK)
    return text
