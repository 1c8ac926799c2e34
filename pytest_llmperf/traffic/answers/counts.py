"""The token counts of a server, and whether they describe the same tokens as what came."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, excerpt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind

# Where usage counts tokens: /completions and /chat/completions, then /responses.
_OUTPUT = ("completion_tokens", "output_tokens")
_PROMPT = ("prompt_tokens", "input_tokens")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
# Where else in usage servers count the tokens of the prompt that came from a cache.
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens")
# The fields of requests that limit the length of an answer.
LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict")
# What ends an answer early although the end of the sequence is ignored.
EARLY_ENDS = (
    "stop",
    "stop_token_ids",
    "stop_strings",
    "response_format",
    "grammar",
    "json_schema",
    "structured_outputs",
)
_MOST_UNASKED = 1  # some servers count the end of the sequence beyond what was asked for
# Tokens that are counted and have no text: the end of the sequence, a cut character, a stop word; and the tokens with
# which models mark where their reasoning and their tool calls begin and end.
_WITHOUT_TEXT = 16
_MARKS = 64


@dataclass(frozen=True)
class TokenCounts:
    """What a server counted of one request; None if it did not say.

    Attributes:
        output: generated tokens, the reasoning included.
        prompt, cached: tokens of the prompt, and those of them that came from a cache.
        reasoning: those of ``output`` that are reasoning.
        fault: why the counts cannot be right, in one sentence, or "".
    """

    output: int | None = None
    prompt: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    fault: str = ""


@dataclass(frozen=True)
class Streamed:
    """What came of a stream.

    Attributes:
        kinds: of its chunks.
        size: length of all text, reasoning and tool calls, in bytes.
        reasoning_size: length of the reasoning, in bytes.
        events: number of events that may carry a token, empty ones included.
        last_running: the running count at the last chunk; None without one.
    """

    kinds: Sequence[ChunkKind] = ()
    size: int = 0
    reasoning_size: int = 0
    events: int = 0
    last_running: int | None = None

    @cached_property
    def text_alone(self) -> bool:
        """Whether no chunk is of reasoning or of a tool call."""
        return set(self.kinds) <= {"text"}


def read_usage(usage: Mapping[str, Any]) -> TokenCounts:
    """Reads the ``usage`` of an answer of the OpenAI API."""
    output_key, prompt_key = _find_key(usage, _OUTPUT), _find_key(usage, _PROMPT)
    details = _find_details(usage, _OUTPUT_DETAILS)
    reasoning = as_count(details.get("reasoning_tokens"))
    cached = as_count(_find_details(usage, _PROMPT_DETAILS).get("cached_tokens"))
    counts = TokenCounts(
        output=as_count(usage.get(output_key)),
        prompt=as_count(usage.get(prompt_key)),
        cached=as_count(usage.get(_find_key(usage, _CACHED))) if cached is None else cached,
        reasoning=as_count(usage.get("reasoning_tokens")) if reasoning is None else reasoning,
        fault=find_no_count(usage, output_key, prompt_key),
    )
    return _include_reasoning(counts, as_count(usage.get("total_tokens")))


def _include_reasoning(counts: TokenCounts, total: int | None) -> TokenCounts:
    """Some servers leave the reasoning out of the output, and state a total with it."""
    if counts.output is None or counts.reasoning is None or counts.reasoning <= counts.output:
        return counts
    if total == (counts.prompt or 0) + counts.output + counts.reasoning:
        return replace(counts, output=counts.output + counts.reasoning)
    fault = f"the server counted {counts.reasoning} tokens of reasoning among {counts.output} tokens"
    return replace(counts, fault=counts.fault or fault)


def find_no_count(content: Mapping[str, Any], *keys: str) -> str:
    """Why a value under one of these keys is no count, in one sentence; "" if each is one, null or missing."""
    for key in keys:
        value = content.get(key)
        if value is not None and as_count(value) is None:
            return f"the server counted {key}: {excerpt(json.dumps(value))[:40]}, which is no number of tokens"
    return ""


def read_asked_tokens(body: Mapping[str, Any]) -> int | None:
    """Returns the most output tokens that a request asks for, in any protocol; None if it sets no limit.

    Of several limits the largest counts, because servers differ in which one they heed.
    """
    limits = [body.get(key) for key in LIMITS] + [as_dict(body.get("options")).get("num_predict")]
    counts = [as_count(limit) for limit in limits if limit is not None]
    # For Ollama 0 and -1 are no limit.
    return max((count for count in counts if count), default=None) if all(counts) else None


def is_told_to_go_on(body: Mapping[str, Any]) -> bool:
    """Whether a request has its answer go on until as many tokens have come as it asks for, and nothing else end it."""
    return body.get("ignore_eos") is True and not any(body.get(key) for key in EARLY_ENDS)


def check_full_length(output: int | None, asked: int | None) -> str:
    """Why an answer is too short that was to have all tokens asked for, in one sentence, or ""."""
    if output is None or asked is None or output >= asked:
        return ""
    return (
        f"{output} of {asked} tokens came, although the server was told to go on to the end (ignore_eos): "
        "prompt and answer may not fit into its context"
    )


def check_asked(output: int | None, asked: int | None) -> str:
    """Why there are more output tokens than were asked for, in one sentence, or ""."""
    if output is None or asked is None or output <= asked + _MOST_UNASKED:
        return ""
    return f"the server counted {output} tokens where {asked} were asked for"


def count_hidden(counts: TokenCounts, streamed: Streamed) -> int:
    """Returns how many tokens of reasoning were counted and not streamed.

    Where reasoning came it counts as whole. Where the others are fewer than the chunks that came, the reasoning came
    as text.
    """
    reasoning = counts.reasoning or 0
    if not reasoning or counts.output is None or "reasoning" in streamed.kinds:
        return 0
    return reasoning if counts.output - reasoning >= _count_chunks(streamed) else 0


def check_streamed(counts: TokenCounts, hidden: int, streamed: Streamed) -> str:
    """Why the count and the chunks cannot be of the same tokens, in one sentence, or ""."""
    if counts.output is None:
        return ""
    visible, chunks, length = counts.output - hidden, len(streamed.kinds), streamed.size
    if visible < _count_chunks(streamed):
        return f"the server counted {visible} token{'' if visible == 1 else 's'}, and {chunks} chunks came"
    if streamed.last_running is not None and streamed.last_running > counts.output:
        return f"the server counted {streamed.last_running} tokens on the way, and {counts.output} at the end"
    marks = 0 if streamed.text_alone else _MARKS
    most = streamed.events + _WITHOUT_TEXT + marks
    if visible > length + most:
        return f"the server counted {visible} tokens, and the {chunks} chunks that came have {length} bytes of text"
    if not hidden and (counts.reasoning or 0) > streamed.reasoning_size + most and "reasoning" in streamed.kinds:
        came = f"and {streamed.reasoning_size} bytes of reasoning came"
        return f"the server counted {counts.reasoning} tokens of reasoning, {came}"
    return ""


def count_bytes(text: str) -> int:
    """Returns the length of a text in bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode(errors="replace"))


def _count_chunks(streamed: Streamed) -> int:
    """Returns the fewest tokens that the chunks can hold.

    A token that ends the reasoning and begins the answer may come as two chunks; those of a tool call are no tokens.
    """
    if streamed.text_alone:
        return len(streamed.kinds)
    kinds = [kind for kind in streamed.kinds if kind != "tool"]
    return len(kinds) - sum(1 for before, after in pairwise(kinds) if before != after)


def _find_key(usage: Mapping[str, Any], keys: Sequence[str]) -> str:
    return next((key for key in keys if usage.get(key) is not None), keys[0])


def _find_details(usage: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return next((details for key in keys if (details := as_dict(usage.get(key)))), {})
