"""Workloads as frozen values, which ask for the same requests whenever their seed is the same."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import SECONDS, SHARE, check_count, parse
from pytest_llmperf.traffic.workloads.adapters import NO_ADAPTERS, AdapterMix, parse_adapters
from pytest_llmperf.traffic.workloads.lengths import Lengths, parse_lengths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.traffic.client.posts import Messages
    from pytest_llmperf.traffic.workloads.texts import Texts

    LengthsText = int | str | Mapping[Any, float]


@dataclass(frozen=True)
class Turn:
    """One request of a script.

    Attributes:
        content: a prompt, or the messages of a chat.
        output_tokens: the most tokens of the answer.
        prompt_tokens: the tokens that the prompt was made for; None for a prompt that was given.
        fields: further fields of the request's body, of the first turn of a script only; they stay for its other turns.
        think_s: seconds between the answer before and this turn; None for those of the script.
    """

    content: Messages
    output_tokens: int
    prompt_tokens: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    think_s: float | None = None


@dataclass(frozen=True)
class Script:
    """The turns of one user, mostly a single one.

    Attributes:
        turns: requests that follow each other, each after the answer to the one before.
        group: scripts of one group share the beginning of their prompts; "" for none.
        at_s: moment in seconds at which a trace sends it; None without a trace.
        think_s: seconds between an answer and the next turn.
        adapter: what all of them ask for in place of the model itself; "" for the model.
    """

    turns: tuple[Turn, ...]
    group: str = ""
    at_s: float | None = None
    think_s: float = 0.0
    adapter: str = ""


class Workload(ABC):
    """The requests of a load, without their times.

    Attributes:
        requests: number of requests; None for as many as a run takes.
        chat: whether messages are sent instead of plain prompts.
        seed: of all that is drawn at random.
        tokenizer: a function from a text to its tokens or to their number, for engines that cannot count them; None
            to ask the engine.
        adapters: those that its scripts are drawn over.
    """

    requests: int | None
    chat: bool
    seed: int
    tokenizer: Callable[[str], Any] | None
    adapters: AdapterMix = NO_ADAPTERS

    @property
    def draws(self) -> str:
        """The seed of what it draws at random: ``seed``, and of a further stretch its number as well."""
        return str(self.seed)

    @property
    def needs_texts(self) -> bool:
        """Whether prompts are made, for which tokens must be counted."""
        return False

    @property
    def has_times(self) -> bool:
        """Whether each script has a moment of its own, as in a trace."""
        return False

    @property
    def repeats_prompts(self) -> bool:
        """Whether a further stretch sends the same prompts again."""
        return False

    def grow(self, stretch: int) -> Workload:
        """The requests of a further stretch, numbered from 1: as many again of the same mix, drawn under the same seed.

        Raises:
            ValueError: it has no further requests.
        """
        raise ValueError(f"until='decided' needs more requests than {self}, which cannot grow: leave it out")

    @abstractmethod
    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        """Yields the scripts in their order, without end if ``requests`` is None.

        ``texts`` makes the prompts; None unless ``needs_texts``.
        """

    def describe(self) -> dict[str, Any]:
        """What is sent, as plain data, without how many requests: equal in every run of the same workload."""
        return {"workload": str(self)}

    @abstractmethod
    def __str__(self) -> str: ...


@dataclass(frozen=True)
class SharedPrefix:
    """The common beginning of the prompts of a group: a number of tokens, or a share of each prompt.

    Groups take turns: script ``n`` belongs to group ``n % groups``.
    """

    tokens: int = 0
    share: float = 0.0
    groups: int = 1

    def __bool__(self) -> bool:
        return bool(self.tokens or self.share)

    def count_tokens(self, prompt_tokens: int) -> int:
        """Returns the common tokens of a prompt, which keeps at least one token of its own."""
        return min(prompt_tokens - 1, self.tokens or round(prompt_tokens * self.share))

    def __str__(self) -> str:
        common = f"{self.tokens} tokens" if self.tokens else f"{100 * self.share:.3g} %"
        return f"{common} in common in {self.groups} group{'s' if self.groups > 1 else ''}"


@dataclass(frozen=True)
class SyntheticWorkload(Workload):
    """Prompts of random words, whose lengths are drawn from ``prompt``; chats have as many turns as drawn."""

    prompt: Lengths
    output: Lengths
    requests: int | None
    seed: int
    chat: bool
    turns: Lengths
    think_s: float
    prefix: SharedPrefix
    tokenizer: Callable[[str], Any] | None
    stretch: int = 0
    adapters: AdapterMix = NO_ADAPTERS

    @property
    def draws(self) -> str:
        return _name_draws(self.seed, self.stretch)

    def grow(self, stretch: int) -> Workload:
        return replace(self, stretch=stretch)

    @property
    def needs_texts(self) -> bool:
        return True

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        assert texts is not None
        left = self.requests
        for number in count():
            if left is not None and left <= 0:
                return
            random = Random(f"{self.draws} script {number}")
            turns = self.turns.draw(random)
            turns = turns if left is None else min(turns, left)
            left = None if left is None else left - turns
            group = number % self.prefix.groups
            drawn = tuple(self._turn(random, texts, group) for _ in range(turns))
            adapter = self.adapters.draw(f"{self.draws} adapter {number}")
            yield Script(drawn, self._group(group, turns, number), think_s=self.think_s, adapter=adapter)

    def _group(self, group: int, turns: int, number: int) -> str:
        if self.prefix:
            return f"group {group}"
        of_stretch = f" of stretch {self.stretch}" if self.stretch else ""
        return f"chat {number}{of_stretch}" if turns > 1 else ""

    def _turn(self, random: Random, texts: Texts, group: int) -> Turn:
        tokens, output = self.prompt.draw(random), self.output.draw(random)
        # The special tokens of a plain text count as part of its prompt; those of a chat template are not known.
        room = max(1, tokens - (0 if self.chat else texts.specials))
        common = self.prefix.count_tokens(room)
        text = texts.generate(Random(f"{self.seed} group {group}"), common) if common else ""
        return Turn(text + texts.generate(random, room - common), output, tokens)

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = {"prompt_tokens": str(self.prompt), "output_tokens": str(self.output)}
        found |= {"shared_prefix": str(self.prefix)} if self.prefix else {}
        found |= {"turns": str(self.turns), "think_s": self.think_s} if str(self.turns) != "1" else {}
        found |= {"adapters": str(self.adapters)} if self.adapters else {}
        return {**found, "chat": self.chat, "seed": self.seed}

    def __str__(self) -> str:
        many = "prompts" if self.requests is None else f"{self.requests} prompts"
        parts = [f"{many} of {self.prompt} tokens", f"answers of {self.output}"]
        parts += [str(self.prefix)] if self.prefix else []
        parts += [f"chats of {self.turns} turns"] if str(self.turns) != "1" else []
        parts += [str(self.adapters)] if self.adapters else []
        return ", ".join([*parts, f"seed {self.seed}"])


@dataclass(frozen=True)
class PromptsWorkload(Workload):
    """Prompts that are sent as they are."""

    prompts: tuple[Messages, ...]
    output: Lengths
    seed: int
    chat: bool
    tokenizer: None = None
    stretch: int = 0
    adapters: AdapterMix = NO_ADAPTERS

    @property
    def draws(self) -> str:
        return _name_draws(self.seed, self.stretch)

    @property
    def repeats_prompts(self) -> bool:
        return True

    def grow(self, stretch: int) -> Workload:
        return replace(self, stretch=stretch)

    @property
    def requests(self) -> int:  # type: ignore[override]
        return len(self.prompts)

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        for number, prompt in enumerate(self.prompts):
            adapter = self.adapters.draw(f"{self.draws} adapter {number}")
            turn = Turn(prompt, self.output.draw(Random(f"{self.draws} output {number}")))
            yield Script((turn,), adapter=adapter)

    def describe(self) -> dict[str, Any]:
        return {
            "prompts": digest_plain([_to_plain(prompt) for prompt in self.prompts]),
            "output_tokens": str(self.output),
            "chat": self.chat,
            "seed": self.seed,
            **({"adapters": str(self.adapters)} if self.adapters else {}),
        }

    def __str__(self) -> str:
        mix = f", {self.adapters}, seed {self.seed}" if self.adapters else ""
        return f"{len(self.prompts)} prompts as given, answers of {self.output}{mix}"


def digest_plain(value: Any) -> str:
    """16 hexadecimal digits that tell one plain value from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _to_plain(prompt: Messages) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def _name_draws(seed: int, stretch: int) -> str:
    return f"{seed} stretch {stretch}" if stretch else str(seed)


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
    adapters: Mapping[str, float] | None = None,
) -> Workload:
    """Creates a workload: ``workload(prompt_tokens="128-2048", output_tokens=256, requests=1000)``.

    ``llm_client.run`` sends it. Lengths are tokens of the model: ``256``, ``"128-2048"`` (uniform), ``"1024±256"``
    (normal), or a histogram ``{"128-256": 3, 1024: 1}``.

    Args:
        prompts: prompts or lists of messages that are sent as they are. Without them, prompts are random words,
            different in each request.
        prompt_tokens: lengths of the random prompts.
        output_tokens: lengths of the answers.
        requests: number of all requests; without it, as many as a run at a ``rate`` for a ``duration`` takes.
        seed: of all that is drawn at random.
        chat: whether messages are sent instead of plain prompts; always so with several turns.
        turns: number of requests of each user, in one chat.
        think_time: time between an answer and the next turn, such as ``"2 s"``.
        shared_prefix: what the prompts of a group have in common: a number of tokens, or a share such as ``"50 %"``.
        groups: number of groups.
        tokenizer: for engines that cannot count tokens: a function from a text to its tokens or to their number.
        adapters: LoRA adapters with their weights, such as ``{"lora-a": 3, "lora-b": 1}``: each user asks for one of
            them, drawn with the seed; ``""`` is the model itself.

    Raises:
        ValueError: an argument cannot be parsed or contradicts another; the message names it in one line.
    """
    output, mix = parse_lengths(output_tokens, "output_tokens"), parse_adapters(adapters)
    if prompts is not None:
        if isinstance(prompts, str) or not prompts:
            raise ValueError("prompts must be a list with at least one prompt")
        if prompt_tokens is not None or requests is not None or turns != 1 or shared_prefix:
            raise ValueError("prompts are sent as they are: leave out prompt_tokens, requests, turns and shared_prefix")
        return PromptsWorkload(tuple(prompts), output, seed, bool(chat), adapters=mix)
    if prompt_tokens is None:
        raise ValueError("a workload needs prompt_tokens, such as '128-2048', or a list of prompts")
    for name, number in (("requests", requests), ("groups", groups)):
        if number is not None:
            check_count(name, number)
    length = parse_lengths(turns, "turns")
    several = str(length) != "1"
    if several and chat is False:
        raise ValueError("turns are those of a chat: leave out chat=False")
    prompt = parse_lengths(prompt_tokens, "prompt_tokens")
    return SyntheticWorkload(
        prompt=prompt,
        output=output,
        requests=requests,
        seed=seed,
        chat=bool(chat) or several,
        turns=length,
        think_s=parse(think_time, SECONDS),
        prefix=_parse_prefix(shared_prefix, groups, prompt),
        tokenizer=tokenizer,
        adapters=mix,
    )


def _parse_prefix(given: int | str, groups: int, prompt: Lengths) -> SharedPrefix:
    if isinstance(given, str):
        share = parse(given, SHARE)
        if share >= 1:
            raise ValueError(f"shared_prefix={given!r} must leave each prompt something of its own: below '100 %'")
        return SharedPrefix(share=share, groups=groups)
    if isinstance(given, bool) or not 0 <= given < prompt.least:
        raise ValueError(f"shared_prefix={given!r} must be tokens, fewer than the shortest prompt ({prompt.least}) has")
    return SharedPrefix(given, groups=groups)
