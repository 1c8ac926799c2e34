"""What a load asks for: small frozen values, the same under the same seed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, SHARE, parse
from pytest_llmperf.traffic.client.request import at_least_one
from pytest_llmperf.traffic.workloads.lengths import Lengths, lengths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.traffic.client.request import Messages
    from pytest_llmperf.traffic.workloads.texts import Texts

    LengthsText = int | str | Mapping[Any, float]


@dataclass(frozen=True)
class Turn:
    """One request to be: what the user says, how long its answer may be, and how long it was itself meant to be."""

    content: Messages
    output_tokens: int
    prompt_tokens: int | None = None


@dataclass(frozen=True)
class Script:
    """Turns that follow each other, mostly a single one; each further turn comes ``think_s`` after the answer before.

    Scripts of one ``group`` share the beginning of their prompts; ``at_s`` is when a trace says that it begins.
    """

    turns: tuple[Turn, ...]
    group: str = ""
    at_s: float | None = None
    think_s: float = 0.0


class Workload(ABC):
    """What is to be asked. ``requests`` is how many there are, None for as many as a run takes.

    ``tokenizer`` counts the tokens of a text where the engine cannot be asked: a function that gives a number, or the
    tokens themselves.
    """

    requests: int | None
    chat: bool
    seed: int
    tokenizer: Callable[[str], Any] | None

    @property
    def needs_texts(self) -> bool:
        """Whether it makes texts of so many tokens, for which somebody must count."""
        return False

    @property
    def has_times(self) -> bool:
        """Whether it says itself when each request is sent."""
        return False

    @abstractmethod
    def scripts(self, texts: Texts | None) -> Iterator[Script]:
        """What is asked, in its order; without end where ``requests`` is None."""

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class Synthetic(Workload):
    """Prompts of random words, each as long as drawn."""

    prompt: Lengths
    output: Lengths
    requests: int | None
    seed: int
    chat: bool
    turns: Lengths
    think_s: float
    prefix_tokens: int
    prefix_share: float
    groups: int
    tokenizer: Callable[[str], Any] | None

    @property
    def needs_texts(self) -> bool:
        return True

    def scripts(self, texts: Texts | None) -> Iterator[Script]:
        assert texts is not None
        left = self.requests
        for number in count():
            if left is not None and left <= 0:
                return
            random = Random(f"{self.seed} script {number}")
            turns = self.turns.draw(random)
            turns = turns if left is None else min(turns, left)
            left = None if left is None else left - turns
            group = number % self.groups
            drawn = tuple(self._turn(random, texts, group) for _ in range(turns))
            yield Script(drawn, self._group(group, turns, number), think_s=self.think_s)

    def _group(self, group: int, turns: int, number: int) -> str:
        if self.prefix_tokens or self.prefix_share:
            return f"group {group}"
        return f"chat {number}" if turns > 1 else ""

    def _turn(self, random: Random, texts: Texts, group: int) -> Turn:
        tokens, output = self.prompt.draw(random), self.output.draw(random)
        # What the server adds to a plain text by itself is part of its prompt; nobody knows what a chat template adds.
        room = max(1, tokens - (0 if self.chat else texts.specials))
        common = min(room - 1, self.prefix_tokens or round(room * self.prefix_share))
        text = texts.text(Random(f"{self.seed} group {group}"), common) if common else ""
        return Turn(text + texts.text(random, room - common), output, tokens)

    def __str__(self) -> str:
        many = "prompts" if self.requests is None else f"{self.requests} prompts"
        parts = [f"{many} of {self.prompt} tokens", f"answers of {self.output}"]
        if self.prefix_tokens or self.prefix_share:
            common = f"{self.prefix_tokens} tokens" if self.prefix_tokens else f"{100 * self.prefix_share:.3g} %"
            parts.append(f"{common} in common in {self.groups} group{'s' if self.groups > 1 else ''}")
        parts += [f"chats of {self.turns} turns"] if str(self.turns) != "1" else []
        return ", ".join([*parts, f"seed {self.seed}"])


@dataclass(frozen=True)
class Given(Workload):
    """Prompts as they are."""

    prompts: tuple[Messages, ...]
    output: Lengths
    seed: int
    chat: bool
    tokenizer: None = None

    @property
    def requests(self) -> int:  # type: ignore[override]
        return len(self.prompts)

    def scripts(self, texts: Texts | None) -> Iterator[Script]:
        for number, prompt in enumerate(self.prompts):
            yield Script((Turn(prompt, self.output.draw(Random(f"{self.seed} output {number}"))),))

    def __str__(self) -> str:
        return f"{len(self.prompts)} prompts as given, answers of {self.output}"


def workload(
    prompts: Sequence[Messages] | None = None,
    *,
    prompt_tokens: LengthsText | None = None,
    output_tokens: LengthsText = 128,
    requests: int | None = None,
    seed: int = 0,
    chat: bool | None = None,
    turns: LengthsText = 1,
    think_time: str = "0 s",
    shared_prefix: int | str = 0,
    groups: int = 1,
    tokenizer: Callable[[str], Any] | None = None,
) -> Workload:
    """What ``llm_client.run`` sends: ``workload(prompt_tokens="128-2048", output_tokens=256, requests=1000)``.

    Lengths are tokens of the model: ``256``, ``"128-2048"`` (uniform), ``"1024±256"`` (normal), or a histogram
    ``{"128-256": 3, 1024: 1}``. Prompts are random words, different in each request, unless ``prompts`` are given.

    ``shared_prefix`` is what the prompts of a group have in common: so many tokens, or a share such as ``"50 %"``.
    ``turns`` makes chats of so many requests each, a user who reads for ``think_time`` in between; ``chat`` sends
    messages instead of plain texts. ``requests`` counts all of them; without it there are as many as a run at a
    ``rate`` for a ``duration`` takes. ``tokenizer`` is for engines that cannot be asked: a function from a text to its
    tokens, or to their number.

    Raises:
        ValueError: an argument that cannot be understood; one line that names it.
    """
    output = lengths(output_tokens, "output_tokens")
    if prompts is not None:
        if isinstance(prompts, str) or not prompts:
            raise ValueError("prompts must be a list with at least one prompt")
        if prompt_tokens is not None or requests is not None or turns != 1 or shared_prefix:
            raise ValueError("prompts are sent as they are: leave out prompt_tokens, requests, turns and shared_prefix")
        return Given(tuple(prompts), output, seed, bool(chat))
    if prompt_tokens is None:
        raise ValueError("a workload needs prompt_tokens, such as '128-2048', or a list of prompts")
    for name, number in (("requests", requests), ("groups", groups)):
        if number is not None:
            at_least_one(name, number)
    long = lengths(turns, "turns")
    several = str(long) != "1"
    if several and chat is False:
        raise ValueError("turns are those of a chat: leave out chat=False")
    prompt = lengths(prompt_tokens, "prompt_tokens")
    tokens, share = _prefix(shared_prefix, prompt)
    think_s = parse(think_time, SECONDS)
    return Synthetic(
        prompt, output, requests, seed, bool(chat) or several, long, think_s, tokens, share, groups, tokenizer
    )


def _prefix(given: int | str, prompt: Lengths) -> tuple[int, float]:
    """The common beginning of prompts, as a number of tokens or as a share of each."""
    if isinstance(given, str):
        share = parse(given, SHARE)
        if share >= 1:
            raise ValueError(f"shared_prefix={given!r} must leave each prompt something of its own: below '100 %'")
        return 0, share
    if isinstance(given, bool) or not 0 <= given < prompt.least:
        raise ValueError(f"shared_prefix={given!r} must be tokens, fewer than the shortest prompt ({prompt.least}) has")
    return given, 0.0
