"""What a request asks for that its answer is held against, in the body of any protocol."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.answers.json_fields import as_count, as_dict, as_list, as_text

if TYPE_CHECKING:
    from collections.abc import Mapping

# The fields of requests that limit the length of an answer.
_LIMITS = ("max_completion_tokens", "max_output_tokens", "max_tokens", "n_predict")
# The fields that end an answer early although the end of the sequence is ignored: stop words, and forms of the text.
_EARLY_END = re.compile(
    r"(?:stop|guided|structured|bad_words|grammar|regex|ebnf|json|choice)(?!.*(?:backend|pattern)$)\w*"
    r"|\w+_(?:grammar|regex|schema|json)|response_format|format"
)
_SEVERAL = ("n", "n_cmpl", "num_return_sequences")
NUMBERED = "#"
"""Before the number of an adapter, of which only the server knows the name."""
_MOST_UNASKED = 1  # some servers count the end of the sequence beyond what was asked for


def read_asked_tokens(body: Mapping[str, Any]) -> int | None:
    """Returns the most output tokens that a request asks for, in any protocol; None if it sets no limit.

    Of several limits the largest counts, because servers differ in which one they heed.
    """
    limits = [body.get(key) for key in _LIMITS] + [as_dict(body.get("options")).get("num_predict")]
    counts = [as_count(limit) for limit in limits if limit is not None]
    # For Ollama 0 and -1 are no limit.
    return max((count for count in counts if count), default=None) if all(counts) else None


def is_told_to_go_on(body: Mapping[str, Any]) -> bool:
    """Whether a request has its answer go on until as many tokens have come as it asks for, and nothing else end it."""
    return body.get("ignore_eos") is True and not any(_ends_early(key, value) for key, value in body.items())


def _ends_early(key: str, value: object) -> bool:
    if key == "tool_choice":
        return bool(value) and value not in ("auto", "none")
    free = value in ("", "text") or as_text(as_dict(value).get("type")) == "text"
    return bool(value) and not free and _EARLY_END.fullmatch(key) is not None


def asks_for_several(body: Mapping[str, Any]) -> bool:
    """Whether a request asks for several answers at once: by ``n``, or by a list of prompts."""
    prompts = as_list(body.get("prompt"))
    # A list of numbers is one prompt, of the numbers of its tokens.
    listed = len(prompts) > 1 and not all(isinstance(prompt, int) for prompt in prompts)
    return listed or any((as_count(body.get(key)) or 0) > 1 for key in _SEVERAL)


def check_best_of(body: Mapping[str, Any]) -> str:
    """Why the tokens of an answer cannot be told from those of others that were thrown away, in one sentence, or ""."""
    asked = as_count(body.get("best_of")) or 0
    if asked <= max(1, as_count(body.get("n")) or 0):
        return ""
    return f"best_of={asked} has {asked} answers generated and shows the best, while servers count the tokens of all"


def read_adapters(body: Mapping[str, Any]) -> str:
    """Returns the adapters that a request to llama.cpp asks for by their numbers, ``#0+#2``; "" for none."""
    listed = [as_dict(one) for one in as_list(body.get("lora"))]
    used = [one for one in listed if one.get("scale") != 0 and as_count(one.get("id")) is not None]
    return "+".join(f"{NUMBERED}{one['id']}" for one in used)


def split_adapters(numbered: str) -> list[str]:
    """Returns what :func:`read_adapters` has joined."""
    return numbered.split("+")


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
