"""A part of a workload, with requests of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from pytest_llmperf.traffic.workloads.workload import SyntheticWorkload, Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_llmperf.traffic.workloads.adapters import AdapterMix
    from pytest_llmperf.traffic.workloads.texts import Texts
    from pytest_llmperf.traffic.workloads.workload import Script


@dataclass(frozen=True)
class Portion(Workload):
    """So many requests of the mix of a ``source``; each ``number``, from 1, has other ones than the others.

    A source with prompts or lines of its own gives them again and again.
    """

    source: Workload
    number: int
    size: int

    @property
    def requests(self) -> int:  # type: ignore[override]
        return self.size

    @property
    def chat(self) -> bool:  # type: ignore[override]
        return self.source.chat

    @property
    def seed(self) -> int:  # type: ignore[override]
        return self.source.seed

    @property
    def tokenizer(self) -> Callable[[str], Any] | None:  # type: ignore[override]
        return self.source.tokenizer

    @property
    def adapters(self) -> AdapterMix:  # type: ignore[override]
        return self.source.adapters

    @property
    def draws(self) -> str:
        return f"{self.source.draws} portion {self.number}"

    @property
    def needs_texts(self) -> bool:
        return self.source.needs_texts

    @property
    def repeats_prompts(self) -> bool:
        return self.source.repeats_prompts

    def generate_scripts(self, texts: Texts | None) -> Iterator[Script]:
        for script in islice(self._generate_all(texts), self.size):
            if len(script.turns) > 1:
                raise ValueError("capacity() sends single requests, and this workload has chats: leave out turns")
            yield script

    def _generate_all(self, texts: Texts | None) -> Iterator[Script]:
        source = self.source.grow(self.number)
        if isinstance(source, SyntheticWorkload):
            yield from replace(source, requests=None).generate_scripts(texts)
            return
        for repeated in count():
            yield from self.source.grow(self.number * 1000 + repeated).generate_scripts(texts)

    def describe(self) -> dict[str, Any]:
        return self.source.describe()

    def __str__(self) -> str:
        return str(self.source)


def describe_mix(workload: Workload) -> str:
    """A workload in words, without how many requests it has."""
    return str(replace(workload, requests=None) if isinstance(workload, SyntheticWorkload) else workload)
