"""The adapters that the requests of a workload are drawn over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

THE_MODEL = "the model itself"


@dataclass(frozen=True)
class AdapterMix:
    """Names of adapters with their weights; ``""`` is the model without any. Empty for a workload without a mix."""

    weights: tuple[tuple[str, float], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.weights)

    @property
    def names(self) -> list[str]:
        """The adapters, in the order in which they were given."""
        return [name for name, _ in self.weights]

    def draw(self, seed: str) -> str:
        """The adapter of one script, the same whenever the seed is; ``""`` without a mix."""
        if not self.weights:
            return ""
        return Random(seed).choices(self.names, [weight for _, weight in self.weights])[0]

    def __str__(self) -> str:
        return f"adapters {', '.join(f'{name or THE_MODEL} {weight:g}' for name, weight in self.weights)}"


NO_ADAPTERS = AdapterMix()
"""All requests ask for the model itself."""


def parse_adapters(given: object) -> AdapterMix:
    """Parses ``{"lora-a": 3, "lora-b": 1}``; None is no mix.

    Raises:
        ValueError: it is no such dict; the message says what is wrong.
    """
    if given is None:
        return NO_ADAPTERS
    if not isinstance(given, dict) or not given:
        example = "{'lora-a': 3, 'lora-b': 1}"
        raise ValueError(f"adapters={given!r} must be a dict of names and weights, such as {example}")
    for name, weight in given.items():
        if not isinstance(name, str) or name != name.strip():
            raise ValueError(f"adapters has {name!r}, which is no name of an adapter; '' is the model itself")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ValueError(f"adapters[{name!r}]={weight!r} must be a number above 0")
    return AdapterMix(tuple((name, float(weight)) for name, weight in given.items()))
