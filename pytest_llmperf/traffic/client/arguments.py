"""The arguments of a request beside its prompt: which words go into the body, its headers, and its timeout."""

from __future__ import annotations

import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

OWN = ("max_tokens", "temperature", "stream", "share_prefix", "headers", "timeout", "extra_body")
"""The arguments that every way of sending a request takes."""
# Words of the OpenAI SDK and of other clients that would go into the body, where servers ignore them.
_NOT_SENT = {
    "extra_headers": "give headers={...}",
    "default_headers": "give headers={...}",
    "extra_query": "write it into --llmperf-url=URL?key=value",
    "default_query": "write it into --llmperf-url=URL?key=value",
    "api_key": "give --llmperf-engine-arg=api_key=KEY",
    "base_url": "give --llmperf-url=URL",
    "max_retries": "each request is sent once",
    "idempotency_key": "each request is sent once",
    "http_client": "requests are sent by a client of their own",
    "prompt": "it is the first argument of generate()",
    "messages": "they are the first argument of chat()",
    "max_new_tokens": "give max_tokens=",
    "max_output_tokens": "give max_tokens=",
}
_OPENAI = (
    "audio best_of echo frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens "
    "metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_retention reasoning reasoning_effort response_format safety_identifier seed service_tier stop store "
    "stream_options suffix temperature tool_choice tools top_logprobs top_p user verbosity web_search_options"
)
_VLLM = (
    "add_generation_prompt add_special_tokens allowed_token_ids bad_words cache_salt chat_template "
    "chat_template_kwargs continue_final_message detokenize documents guided_choice guided_decoding_backend "
    "guided_grammar guided_json guided_regex ignore_eos include_reasoning include_stop_str_in_output "
    "kv_transfer_params length_penalty logits_processors mm_processor_kwargs min_p min_tokens priority "
    "prompt_logprobs repetition_penalty request_id return_token_ids return_tokens_as_token_ids skip_special_tokens "
    "spaces_between_special_tokens stop_token_ids structured_outputs thinking_token_budget top_k "
    "truncate_prompt_tokens use_beam_search vllm_xargs"
)
_LLAMACPP = (
    "cache_prompt dry_allowed_length dry_base dry_multiplier dry_penalty_last_n dry_sequence_breakers "
    "dynatemp_exponent dynatemp_range grammar id_slot json_schema lora min_keep mirostat mirostat_eta mirostat_tau "
    "n_cache_reuse n_discard n_indent n_keep n_predict n_probs parse_tool_calls post_sampling_probs reasoning_format "
    "repeat_last_n repeat_penalty response_fields return_progress return_tokens samplers t_max_predict_ms "
    "thinking_forced_open timings_per_token top_n_sigma typical_p xtc_probability xtc_threshold"
)
_OTHERS = (
    "do_sample documents ebnf enable_thinking format images keep_alive lora_path num_batch num_ctx num_gpu num_keep "
    "num_predict num_thread options penalize_newline random_seed raw regex safe_prompt session_params "
    "stop_regex system template think thinking top_n top_n_tokens truncate"
)
_WORDS = frozenset(" ".join((_OPENAI, _VLLM, _LLAMACPP, _OTHERS)).split())
_LIKENESS = 0.85
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a request needs to be what it says, and what would change what is timed.
_RESERVED = (
    *("accept", "accept-encoding", "connection", "content-length", "content-type"),
    *("expect", "host", "te", "transfer-encoding", "upgrade"),
)


def check_words(extra: Mapping[str, Any], own: Collection[str]) -> None:
    """Checks the words that a request's body is to have beside the client's ``own`` arguments.

    A field that no server is known to have goes into the body, unless it is all but the name of another one.

    Raises:
        ValueError: a word is for something else or misspelled; the message says what to give.
    """
    names = {_squash(name): name for name in (*_WORDS, *own)}
    for key in extra:
        if key in _NOT_SENT:
            raise ValueError(f"{key}= is no field of a request: {_NOT_SENT[key]}")
        near = [] if key in _WORDS else get_close_matches(_squash(key), names, 1, _LIKENESS)
        if near:
            raise ValueError(
                f"{key}= is not known: did you mean {names[near[0]]}=? "
                f"If the server has it, give extra_body={{{key!r}: ...}}"
            )


def is_known_word(word: str) -> bool:
    """Whether some server is known to have a field of this name in the body of a request."""
    return word in _WORDS


def suggest_word(word: str) -> str | None:
    """The field of a request that is all but called so; None if there is none."""
    names = {_squash(name): name for name in _WORDS}
    return next((names[near] for near in get_close_matches(_squash(word), names, 1, _LIKENESS)), None)


def parse_extra_body(given: object) -> dict[str, Any]:
    """Checks the ``extra_body`` of a request; none from None.

    Raises:
        ValueError: it is no dict.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"extra_body must be a dict of fields, not a {type(given).__name__}")
    return given


def parse_headers(given: object) -> dict[str, str]:
    """Parses the ``headers`` of a request; none from None.

    Raises:
        ValueError: they cannot be sent, or are those that the client sets itself.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f"headers must be a dict of names and texts, not a {type(given).__name__}")
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"headers has {name!r}, which is no name of a header")
        if name.lower() in _RESERVED:
            raise ValueError(f"headers has {name!r}, which the client sets itself: leave it out")
        # The value may be a key: it is not shown.
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ValueError(f"headers[{name!r}] must be a text of ASCII characters in one line")
    return {name: value.strip() for name, value in given.items()}


def parse_timeout(given: object) -> float | None:
    """Parses the ``timeout`` of a request, seconds or a text such as ``"30 s"``; None from None.

    Raises:
        ValueError: it is no time, or not above 0.
    """
    if given is None:
        return None
    seconds = parse(given, SECONDS) if isinstance(given, str) else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < math.inf:
        raise ValueError(f"timeout={given!r} must be seconds above 0, or a text such as '30 s'")
    return float(seconds)


def _squash(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
