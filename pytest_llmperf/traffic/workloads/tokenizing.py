"""Who counts the tokens of a text for a workload."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.texts import Texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_llmperf.traffic.workloads.workload import Workload


def create_texts(workload: Workload, engines: Callable[[str], int] | None) -> Texts | None:
    """Texts in the tokens of the workload's own tokenizer, else of the engine's; None where none are to be made.

    Raises:
        ValueError: nobody can count, or what was given as a tokenizer does not.
    """
    if not workload.needs_texts:
        return None
    given = workload.tokenizer
    count = engines if given is None else (lambda text: _number(given(text)))
    if count is None:
        raise ValueError(
            "prompt_tokens are tokens of the model, and this engine cannot be asked for them: give "
            "workload(tokenizer=...), a function from a text to its tokens, such as the encode of the model's tokenizer"
        )
    try:
        return Texts(count)
    except OSError as error:
        raise ValueError(
            f"the engine could not be asked for the tokens of a text ({error}): give workload(tokenizer=...)"
        ) from None


def _number(tokens: Any) -> int:
    if isinstance(tokens, int):
        return tokens
    if isinstance(tokens, Sized) and not isinstance(tokens, str):
        return len(tokens)
    raise ValueError(f"tokenizer=... gave {tokens!r}: it must give tokens, or their number")
