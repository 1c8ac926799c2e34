"""The token counts that a server states, under whatever names, and whether they agree with each other."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, excerpt

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Stated = Sequence[tuple[str, object]]

# Where usage counts tokens: /completions and /chat/completions, then /responses.
_OUTPUT = ("completion_tokens", "output_tokens")
_PROMPT = ("prompt_tokens", "input_tokens")
_TOTAL = "total_tokens"
# Names of counts in usage and in its details, as servers agree on no list of them.
_COUNT = re.compile(r"(?i)(?:tokens|token_?count)")
_CACHED = re.compile(r"(?i)(?<!un)cach")
_NOT_FROM_CACHE = re.compile(r"(?i)miss|creat|writ")
_REASONING = re.compile(r"(?i)reasoning|think|thought")
_REJECTED = re.compile(r"(?i)reject")
# What Ollama and llama.cpp call the output.
_OLLAMA_OUTPUT, _TIMED_OUTPUT = "eval_count", "predicted_n"
# Names of the counts of llama.cpp in timings, and of Ollama's.
COUNTS_OF_TIMINGS = re.compile(r"_n")
COUNTS_OF_OLLAMA = re.compile(r"_count")


@dataclass(frozen=True)
class TokenCounts:
    """What a server counted of one request; None if it did not say.

    Attributes:
        output: generated tokens of the answer, the reasoning included.
        prompt, cached: tokens of the prompt, and those of them that came from a cache.
        reasoning: those of ``output`` that are reasoning.
        fault: why the counts cannot be right, in one sentence, or "".
    """

    output: int | None = None
    prompt: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    fault: str = ""


def read_usage(usage: Mapping[str, Any]) -> TokenCounts:
    """Reads the ``usage`` of an answer of the OpenAI API, with all details in it."""
    stated = list(_list_counts(usage))
    outputs = _read_counts(usage, _OUTPUT)
    counts = TokenCounts(
        output=max(outputs, default=None),
        prompt=max(_read_counts(usage, _PROMPT), default=None),
        cached=read_cached(stated),
        reasoning=_find_largest(stated, _REASONING),
        fault=_describe_no_count(stated) or _describe_contradiction(outputs),
    )
    return _leave_out_rejected(_hold_against_total(counts, stated), _find_largest(stated, _REJECTED) or 0)


def list_outputs(content: Mapping[str, Any]) -> list[int]:
    """Returns every count of the output in an object of an answer: in usage, also in that of a choice or of a field of
    a server's own, in the timings of llama.cpp, and as Ollama states it. They are of the same tokens, or one is wrong.
    """
    choices = content.get("choices")
    parts = [content, *(choices if isinstance(choices, list) else ())]
    parts += [value for key, value in content.items() if key.startswith("x_")]
    usages = [as_dict(as_dict(part).get("usage")) for part in parts]
    stated = [count for usage in usages for count in _read_counts(usage, (*_OUTPUT, _OLLAMA_OUTPUT))]
    return [
        *stated,
        *_read_counts(as_dict(content.get("timings")), [_TIMED_OUTPUT]),
        *_read_counts(content, [_OLLAMA_OUTPUT]),
    ]


def read_cached(stated: Stated) -> int | None:
    """Returns the largest of the counts that are of tokens from a cache, by their names; None if there is none."""
    return _find_largest([pair for pair in stated if not _NOT_FROM_CACHE.search(pair[0])], _CACHED)


def find_no_count(content: Mapping[str, Any], names: re.Pattern[str]) -> str:
    """Why a value under a key that ends with one of these names is no count, in one sentence, or "".

    A value that is null or missing is none that was stated.
    """
    return _describe_no_count([(key, value) for key, value in content.items() if _ends_with(key, names)])


def _list_counts(usage: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Yields the name and the value of each count in usage and in the details within it."""
    for key, value in usage.items():
        if _ends_with(key, _COUNT):
            yield key, value
        elif isinstance(value, dict) and _COUNT.search(key):
            yield from ((inner, count) for inner, count in value.items() if _ends_with(inner, _COUNT))


def _ends_with(key: str, names: re.Pattern[str]) -> bool:
    return any(found.end() == len(key) for found in names.finditer(key))


def _describe_no_count(stated: Stated) -> str:
    for key, value in stated:
        if value is not None and as_count(value) is None:
            return f"the server counted {key}: {excerpt(json.dumps(value))[:40]}, which is no number of tokens"
    return ""


def _describe_contradiction(outputs: Sequence[int]) -> str:
    """Why two counts of the output contradict each other; some servers leave one of them at 0."""
    if len(set(outputs) - {0}) < 2:
        return ""
    return f"the server counted the answer twice: {outputs[0]} and {outputs[1]} tokens"


def _read_counts(usage: Mapping[str, Any], keys: Sequence[str]) -> list[int]:
    return [count for key in keys if (count := as_count(usage.get(key))) is not None]


def _find_largest(stated: Stated, names: re.Pattern[str]) -> int | None:
    counts = [as_count(value) for key, value in stated if names.search(key)]
    return max((count for count in counts if count is not None), default=None)


def _hold_against_total(counts: TokenCounts, stated: Stated) -> TokenCounts:
    """Some servers leave the reasoning out of the output, and count it in the total only, whether they state it or not.

    A total may also have the tokens of the prompt that a cache gave or took, where the prompt is stated without them.
    """
    output, reasoning = counts.output, counts.reasoning or 0
    total = as_count(dict(stated).get(_TOTAL))
    if output is None:
        return counts
    if total:
        rest = total - (counts.prompt or 0) - output
        of_cache = [as_count(value) or 0 for key, value in stated if _CACHED.search(key)]
        of_cache.append(sum(of_cache))
        if rest > 0 and (rest == reasoning or (counts.prompt is not None and not reasoning and rest not in of_cache)):
            return replace(counts, output=output + rest, reasoning=rest)
        if counts.prompt is not None and rest not in (0, *of_cache):
            parts = f"{counts.prompt} of the prompt and {output} of the answer"
            return _add_fault(counts, f"the server counted {total} tokens in all, and {parts}")
    if reasoning > output:
        return _add_fault(counts, f"the server counted {reasoning} tokens of reasoning among {output} tokens")
    return counts


def _leave_out_rejected(counts: TokenCounts, rejected: int) -> TokenCounts:
    """Servers count the tokens of a prediction that they rejected as output, although they are none of the answer."""
    if not rejected or counts.output is None:
        return counts
    if rejected > counts.output:
        return _add_fault(counts, f"the server counted {rejected} rejected tokens among {counts.output} tokens")
    return replace(counts, output=counts.output - rejected)


def _add_fault(counts: TokenCounts, fault: str) -> TokenCounts:
    return replace(counts, fault=counts.fault or fault)
