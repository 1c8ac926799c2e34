"""Refuses a request that does not fit into the context of one slot: llama.cpp would cut its answer without a word."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, http_get, http_post

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.client.dialect import Endpoint

# A text has at most one token for each of its bytes, and a few special ones before it.
_SPECIAL_TOKENS = 8
# llama.cpp rounds the context of a slot up to a multiple of this.
_STEP = 256
_CHAT = ("messages", "tools")


def check_room(endpoint: Endpoint, body: Mapping[str, Any]) -> None:
    """Compares the prompt and the length asked for with the context of a slot. What cannot be counted is not refused.

    Raises:
        ValueError: they do not fit; the message names the settings.
    """
    # Without a limit an answer needs room for at least one token.
    asked = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
    try:
        context, slots = _read_slots(endpoint)
        tokens = _count_prompt(endpoint, body, room=context - asked)
    except (OSError, *UNREADABLE_JSON):
        return  # the request itself tells what is wrong with it, or with the server
    if tokens + asked > context:
        needed = -(-(tokens + asked) // _STEP) * _STEP
        raise ValueError(
            f"a prompt of {tokens} tokens and max_tokens={asked} do not fit into the {context} tokens that each of "
            f"{slots} slots has: --llmperf-engine-arg=llamacpp:ctx_size={needed * slots} makes them fit, and so does a "
            "smaller llamacpp:parallel"
        )


@lru_cache(maxsize=16)
def _read_slots(endpoint: Endpoint) -> tuple[int, int]:
    """The context of one slot, in tokens, and the number of slots."""
    properties = json.loads(http_get(f"{endpoint.root}/props", api_key=endpoint.api_key))
    return int(properties["default_generation_settings"]["n_ctx"]), int(properties["total_slots"])


def _count_prompt(endpoint: Endpoint, body: Mapping[str, Any], room: int) -> int:
    """The tokens of a prompt; of one that certainly fits into ``room`` tokens at most so many."""
    if "messages" not in body:
        text = str(body["prompt"])
        most = len(text.encode()) + _SPECIAL_TOKENS
        return most if most <= room else _count_tokens(endpoint, text, add_special=True)
    asked = {key: body[key] for key in _CHAT if key in body}
    text = json.loads(http_post(f"{endpoint.root}/apply-template", asked, api_key=endpoint.api_key))["prompt"]
    return _count_tokens(endpoint, text, add_special=False)


@lru_cache(maxsize=1024)
def _count_tokens(endpoint: Endpoint, text: str, *, add_special: bool) -> int:
    asked = {"content": text, "add_special": add_special, "parse_special": not add_special}
    return len(json.loads(http_post(f"{endpoint.root}/tokenize", asked, api_key=endpoint.api_key))["tokens"])
