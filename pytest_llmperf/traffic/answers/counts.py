"""Whether the token counts of a server describe the same tokens as what came."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from pytest_llmperf.measurement.chunks import LARGEST

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.measurement.chunks import ChunkKind
    from pytest_llmperf.traffic.answers.usage import TokenCounts

# Tokens that are counted and have no text: the end of the sequence, a cut character, a stop word; and the tokens with
# which models mark where their reasoning and each of their tool calls begin and end.
_WITHOUT_TEXT = 16
_MARKS = 64
# A chunk of reasoning may hold so many tokens, or so many times as many as the other chunks.
_MOST_A_CHUNK = 16
_MOST_TIMES = 4


@dataclass(frozen=True)
class Whole:
    """What came of an answer that was not streamed: lengths in bytes, and how many tools it calls."""

    size: int = 0
    reasoning_size: int = 0
    calls: int = 0


@dataclass(frozen=True)
class Streamed:
    """What came of a stream.

    Attributes:
        kinds: of its chunks.
        size: length of all text, reasoning and tool calls, in bytes.
        reasoning_size: length of the reasoning, in bytes.
        events: number of events that may carry a token, empty ones included.
        last_running: the running count at the last chunk; None without one.
        summarized: whether a summary of the reasoning came, whose text is not that of its tokens.
    """

    kinds: Sequence[ChunkKind] = ()
    size: int = 0
    reasoning_size: int = 0
    events: int = 0
    last_running: int | None = None
    summarized: bool = False

    @cached_property
    def text_alone(self) -> bool:
        """Whether no chunk is of reasoning or of a tool call."""
        return set(self.kinds) <= {"text"}


def count_hidden(counts: TokenCounts, streamed: Streamed) -> int:
    """Returns how many tokens of reasoning were counted and not streamed.

    Where reasoning came it counts as whole. Where the others are fewer than the chunks that came, the reasoning came
    as text.
    """
    reasoning = counts.reasoning or 0
    if not reasoning or counts.output is None or "reasoning" in streamed.kinds:
        return 0
    return reasoning if counts.output - reasoning >= _count_chunks(streamed) else 0


def check_whole(counts: TokenCounts, whole: Whole) -> str:
    """Why the count and the text of an answer that was not streamed cannot be of the same tokens, or ""."""
    if counts.output is None:
        return ""
    # Reasoning that is stated need not have come; where it is not, all that came may be of the output.
    shown, size = counts.output, whole.size
    if counts.reasoning:
        shown, size = counts.output - counts.reasoning, whole.size - whole.reasoning_size
    marks = _MARKS * (whole.calls + bool(whole.reasoning_size))
    if shown <= size + _WITHOUT_TEXT + marks:
        return ""
    return f"the server counted {shown} tokens, and the answer has {size} bytes of text"


def describe_other_count(output: int | None, reasoning: int, others: Sequence[int | None]) -> str:
    """Why a count of the same answer contradicts the last one in its usage, in one sentence, or "".

    ``others`` are what the server counted where the answer ended, and in the times that it states; None or 0 where it
    did not. They may leave out tokens without text, or the reasoning.
    """
    if not output:
        return ""
    for other in others:
        missing = output - other if other else 0
        if not (0 <= missing <= _WITHOUT_TEXT or missing == reasoning):
            return f"the server counted the answer twice: {other} and {output} tokens"
    return ""


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
    if visible > length + streamed.events + _WITHOUT_TEXT + marks:
        return f"the server counted {visible} tokens, and the {chunks} chunks that came have {length} bytes of text"
    if streamed.summarized and not counts.reasoning:
        return "the reasoning came as a summary, and the server did not count its tokens"
    return "" if hidden else _check_reasoning(counts.reasoning or 0, counts.output, streamed)


def _check_reasoning(reasoning: int, output: int, streamed: Streamed) -> str:
    """Why the chunks of reasoning cannot be of as many tokens as were counted: one may stand for all of them."""
    chunks = streamed.kinds.count("reasoning")
    others = len(streamed.kinds) - chunks
    if not chunks:
        return ""
    blank = streamed.events - len(streamed.kinds)
    if reasoning > streamed.reasoning_size + blank + _WITHOUT_TEXT:
        came = f"and {streamed.reasoning_size} bytes of reasoning came"
        return f"the server counted {reasoning} tokens of reasoning, {came}"
    if others and reasoning > chunks * max(_MOST_A_CHUNK, _MOST_TIMES * -(-(output - reasoning) // others)):
        came = f"which came in {chunks} chunk{'' if chunks == 1 else 's'}, and the others in {others}"
        return f"the server counted {reasoning} of {output} tokens as reasoning, {came}"
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


def count_rises(totals: Sequence[int | None]) -> list[int] | None:
    """Returns the tokens by which a running count rises with each chunk; None if there is no running count.

    Tokens counted on pieces without content fall to the next chunk. A count that is 0 after text, or that falls, is a
    placeholder (Ollama sends zeros until the end).
    """
    known = [total for total in totals if total is not None]
    if not known or len(known) < len(totals) or known[0] < 1:
        return None
    rises = [after - before for before, after in zip([0, *known], known, strict=False)]
    return None if min(rises) < 0 or max(rises) > LARGEST else rises
