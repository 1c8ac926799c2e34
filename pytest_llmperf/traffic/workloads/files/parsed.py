"""A request as a workload file has it, in one form for all formats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.traffic.client.posts import Messages


class FurtherTurn(NamedTuple):
    """A message of the user that follows the answer to the one before.

    Attributes:
        text: the message.
        output_tokens: the most tokens of the answer; None if the file does not say.
        think_s: seconds between the answer before and this message.
    """

    text: str
    output_tokens: int | None
    think_s: float


class ParsedRequest(NamedTuple):
    """One request of a file, or a chat of several turns.

    Attributes:
        prompt: a prompt or messages; None if the file has only a length.
        prompt_tokens: length of the prompt to make; None if the file has a prompt.
        output_tokens: the most tokens of the answer; None if the file does not say.
        blocks: identities of the blocks of the prompt; equal blocks have equal text.
        fields: further fields of the request's body.
        further: the turns after the first one.
    """

    prompt: Messages | None
    prompt_tokens: int | None
    output_tokens: int | None
    blocks: Sequence[int] = ()
    fields: Mapping[str, Any] = {}
    further: Sequence[FurtherTurn] = ()

    @property
    def chat(self) -> bool:
        """Whether it is messages."""
        return isinstance(self.prompt, list) or bool(self.further)
