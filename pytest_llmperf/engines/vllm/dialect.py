"""How vLLM is asked: its dialect of the OpenAI API."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.lifecycle.http import http_post, parse_tokens
from pytest_llmperf.traffic.client.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_llmperf.traffic.client.dialect import Endpoint


def _salt_prefix(share: bool) -> Mapping[str, Any]:
    # vLLM finds cached blocks only under the salt that they were computed with.
    return {} if share else {"cache_salt": secrets.token_hex(16)}


def _list_tokens(endpoint: Endpoint, text: str) -> list[int]:
    asked = {"model": endpoint.model, "prompt": text}
    answer = http_post(f"{endpoint.root}/tokenize", asked, api_key=endpoint.api_key)
    return parse_tokens(answer)


DIALECT = Dialect(
    # vLLM merges tokens into one chunk when it falls behind: only the running count says how many each one brings.
    stream_options={"include_usage": True, "continuous_usage_stats": True},
    full_length={"ignore_eos": True},
    prefix_settings=_salt_prefix,
    obeyed=frozenset({"cache_salt"}),
    prefix_group=lambda name: {"cache_salt": name},
    count_tokens=lambda endpoint, text: len(_list_tokens(endpoint, text)),
    list_tokens=_list_tokens,
)
