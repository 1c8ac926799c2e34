"""Empties vLLM's caches of prompts: of the KV blocks of their beginnings, and of what was made of their images."""

from __future__ import annotations

import json
import time
import urllib.error
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.lifecycle.http import UNREADABLE_JSON, http_post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# The blocks of a request that was given up are held for half a second after that.
_PATIENCE_S = 2.0
_PAUSE_S = 0.02
_OTHER_CACHES = ("reset_mm_cache", "reset_encoder_cache")
# With one of these arguments blocks are kept outside of the pool too, and only then vLLM can be told to forget them.
_OUTSIDE = ("kv_transfer_config", "kv_offloading_size", "kv_offloading_backend")
_HINT = "VLLM_SERVER_DEV_MODE=1 must be set where it is started"


def empty_server_cache(base_url: str, arguments: Mapping[str, str]) -> None:
    """Empties the caches of a server that was started with these arguments, and with ``VLLM_SERVER_DEV_MODE``.

    Raises:
        EngineError: it does not.
    """
    root = base_url.removesuffix("/v1")
    query = "?reset_external=true" if _keeps_blocks_outside(arguments) else ""
    try:
        _retry(lambda: _has_succeeded(http_post(f"{root}/reset_prefix_cache{query}")))
        for name in _OTHER_CACHES:
            _post_if_known(f"{root}/{name}")
    except urllib.error.HTTPError as error:
        hint = f"; {_HINT}" if error.code == 404 else ""
        raise EngineError(f"vllm did not empty its prefix cache: HTTP {error.code}{hint}") from None
    except (OSError, *UNREADABLE_JSON) as error:
        raise EngineError(f"vllm did not empty its prefix cache: {error}") from None


def empty_llm_cache(llm: Any, arguments: Mapping[str, str]) -> None:
    """Empties the caches of a ``vllm.LLM`` that was made with these arguments.

    Raises:
        EngineError: it does not.
    """
    settings = {"reset_connector": True} if _keeps_blocks_outside(arguments) else {}
    try:
        _retry(lambda: llm.reset_prefix_cache(**settings) is not False)
        for name in _OTHER_CACHES:
            empty = getattr(llm, name, None) or getattr(llm.llm_engine, name, None)
            if empty is not None:
                empty()
    except EngineError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise EngineError(f"vllm did not empty its prefix cache: {cause}") from error


def _keeps_blocks_outside(arguments: Mapping[str, str]) -> bool:
    return not arguments.keys().isdisjoint(_OUTSIDE)


def _has_succeeded(answer: bytes) -> bool:
    """Whether the answer is not one of failure; earlier versions answer nothing."""
    return not answer.strip() or bool(json.loads(answer)["success"])


def _post_if_known(url: str) -> None:
    try:
        http_post(url)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise


def _retry(order: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not order():
        if time.monotonic() > deadline:
            raise EngineError("vllm did not empty its prefix cache: requests still hold blocks of it")
        time.sleep(_PAUSE_S)
