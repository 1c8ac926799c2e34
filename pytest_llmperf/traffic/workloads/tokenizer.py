"""Chooses the tokenizer for a workload and checks it."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.traffic.workloads.workload import Workload


def create_texts(workload: Workload, engine_tokenizer: Callable[[str], int] | None) -> Texts | None:
    """Creates the maker of texts for a workload, with its own tokenizer or the engine's; None if it needs no texts.

    Raises:
        ValueError: there is no tokenizer, or it does not work.
    """
    if not workload.needs_texts:
        return None
    count = create_counter(workload.tokenizer) or engine_tokenizer
    if count is None:
        raise ValueError(
            "prompt_tokens are tokens of the model, and this engine cannot count them: give "
            "workload(tokenizer=...), a function from a text to its tokens, such as the encode of the model's tokenizer"
        )
    try:
        return Texts(count)
    except OSError as error:
        raise ValueError(
            f"the engine could not count the tokens of a text ({error}): give workload(tokenizer=...)"
        ) from None


def create_counter(tokenizer: Callable[[str], Any] | None) -> Callable[[str], int] | None:
    """Makes a function that counts the tokens of a text from one that returns them or their number; None from None.

    It raises a ValueError if the tokenizer returns something else.
    """
    return None if tokenizer is None else (lambda text: _count(tokenizer(text)))


def _count(tokens: Any) -> int:
    if isinstance(tokens, int):
        return tokens
    if isinstance(tokens, Sized) and not isinstance(tokens, str):
        return len(tokens)
    raise ValueError(f"tokenizer=... returned {tokens!r}: it must return tokens, or their number")
