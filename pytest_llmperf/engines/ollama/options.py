"""The settings of Ollama: options of a request, fields of its body, and engine arguments.

The server silently ignores options and fields that it does not know, so each is checked here.
"""

from __future__ import annotations

import difflib
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pytest_llmperf.engines.api.spec import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NUM_CTX = "num_ctx"
CACHE_RAM = "cache_ram"
# What a model is started with: a request with other values makes the server start it again.
STARTUP_OPTIONS: Mapping[str, type] = {
    NUM_CTX: int,
    "num_batch": int,
    "num_gpu": int,
    "main_gpu": int,
    "num_thread": int,
    "use_mmap": bool,
    "num_keep": int,
    "draft_num_predict": int,
}
REQUEST_OPTIONS: Mapping[str, type] = {
    "num_predict": int,
    "seed": int,
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repeat_last_n": int,
    "repeat_penalty": float,
    "presence_penalty": float,
    "frequency_penalty": float,
    "stop": list,
}
# Options of a request that says nothing, where a model is loaded already.
DEFAULTS: Mapping[str, int] = {"num_batch": 512, "use_mmap": False}
# The context of models on a server that is started here, if neither the user nor the model asks for another.
DEFAULT_CONTEXT = 4096

# Engine arguments of a server that is started here, and what sets them there.
SERVER_ARGUMENTS: Mapping[str, str] = {
    "models_dir": "OLLAMA_MODELS",
    "num_parallel": "OLLAMA_NUM_PARALLEL",
    "max_loaded_models": "OLLAMA_MAX_LOADED_MODELS",
    "max_queue": "OLLAMA_MAX_QUEUE",
    "kv_cache_type": "OLLAMA_KV_CACHE_TYPE",
    "flash_attention": "OLLAMA_FLASH_ATTENTION",
    CACHE_RAM: "LLAMA_ARG_CACHE_RAM",
}
_WHOLE = ("num_parallel", "max_loaded_models", "max_queue")
KEEP_ALIVE = "keep_alive"
FOR_EVER = "-1"
CACHE_TYPES = ("f16", "q8_0", "q4_0")
_GO_DURATION = re.compile(r"-?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)(\d+(\.\d*)?(ns|us|µs|ms|s|m|h))*")

_KINDS = {int: "a whole number", float: "a number", bool: "true or false", list: "a list of texts"}


def check_arguments(arguments: Mapping[str, str], *, ours: bool) -> None:
    """Refuses engine arguments that the server would ignore, or that are wrong.

    ``ours`` says that the server is started here, and can be told what it is to be.

    Raises:
        EngineError: naming the argument and what would be right.
    """
    known = [*STARTUP_OPTIONS, KEEP_ALIVE, *(SERVER_ARGUMENTS if ours else ())]
    for key, text in arguments.items():
        if key in SERVER_ARGUMENTS and not ours:
            raise EngineError(
                f"ollama: {key} is set where the server is started ({SERVER_ARGUMENTS[key]}), and this one runs already"
            )
        if key in REQUEST_OPTIONS:
            raise EngineError(f"ollama: {key} goes with a request: llm_client.chat(..., {key}=...)")
        if key not in known:
            raise EngineError(f"ollama: unknown engine argument {key!r}; {_suggest_instead(key, known)}")
        _check_server_argument(key, text)
    parse_startup_options(arguments)
    parse_keep_alive(arguments)


def _check_server_argument(key: str, text: str) -> None:
    if key in _WHOLE and not (text.isdecimal() and int(text) > 0):
        raise EngineError(f"ollama: engine argument {key}={text!r} is not a whole number of at least 1")
    if key == CACHE_RAM and not re.fullmatch(r"-?\d+", text):
        raise EngineError(f"ollama: engine argument cache_ram={text!r} is not a whole number of MiB")
    if key == "kv_cache_type" and text not in CACHE_TYPES:
        # The server would start, and fail at every load.
        raise EngineError(f"ollama: engine argument kv_cache_type={text!r} is not one of {', '.join(CACHE_TYPES)}")
    if key == "flash_attention" and text not in ("0", "1"):
        raise EngineError(f"ollama: engine argument flash_attention={text!r} is neither 0 nor 1")


def parse_startup_options(arguments: Mapping[str, str]) -> dict[str, Any]:
    """The options that a model is to be loaded with, from engine arguments: those that were asked for.

    Raises:
        EngineError: one is not of its type.
    """
    options = {key: _parse(key, arguments[key], STARTUP_OPTIONS[key]) for key in STARTUP_OPTIONS if key in arguments}
    if options.get(NUM_CTX, 1) < 1:
        raise EngineError(f"ollama: engine argument num_ctx={options[NUM_CTX]} must be at least 1")
    return options


def read_parameters(shown: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a load that a model has by itself (``PARAMETER num_ctx 8192``), of the answer of ``/api/show``."""
    found: dict[str, Any] = {}
    for line in str(shown.get("parameters") or "").splitlines():
        key, _, text = line.partition(" ")
        kind, text = STARTUP_OPTIONS.get(key), text.strip()
        if kind is bool:
            found[key] = text == "true"
        elif kind is int:
            with suppress(ValueError):
                found[key] = int(float(text))  # Go writes 1048576 as 1.048576e+06
    return found


def _parse(key: str, text: str, kind: type) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    if kind is int and re.fullmatch(r"-?\d+", text):
        return int(text)
    raise EngineError(f"ollama: engine argument {key}={text!r} is not {_KINDS[kind]}")


def parse_keep_alive(arguments: Mapping[str, str], default: str = FOR_EVER) -> int | float | str:
    """How long a model stays loaded after its last request: seconds, or a duration as Go writes it; < 0 for ever.

    Raises:
        EngineError: it is neither.
    """
    text = arguments.get(KEEP_ALIVE, default)
    if re.fullmatch(r"-?0+(\.0*)?[a-zµ]*", text):
        raise EngineError(f"ollama: engine argument keep_alive={text!r} would unload the model after every request")
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if not _GO_DURATION.fullmatch(text):
        raise EngineError(f"ollama: engine argument keep_alive={text!r} is neither seconds nor a duration such as 10m")
    return text


def expires(duration: float | str) -> bool:
    """Whether a model that is kept for so long is unloaded by itself."""
    return not str(duration).startswith("-")


def check_option(key: str, value: object) -> None:
    """Refuses an option of a request that the server would ignore, or take for another.

    Raises:
        ValueError: naming it.
    """
    kinds = {**STARTUP_OPTIONS, **REQUEST_OPTIONS}
    if key not in kinds:
        raise ValueError(
            f"{key}={value!r}: Ollama has no such option and would ignore it; {_suggest_instead(key, REQUEST_OPTIONS)}"
        )
    kind = kinds[key]
    if kind is float:
        right = isinstance(value, int | float) and not isinstance(value, bool)
    elif kind is list:
        right = isinstance(value, list) and all(isinstance(text, str) for text in value)
    else:
        right = type(value) is kind
    if not right:
        raise ValueError(f"{key}={value!r} must be {_KINDS[kind]}")


def _suggest_instead(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
