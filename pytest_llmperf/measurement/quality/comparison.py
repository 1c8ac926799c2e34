"""How the next tokens of one engine differ from those of a reference, and what a test says of its own quality."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal


@dataclass(frozen=True)
class QualityComparison:
    """Two engines at the same positions of one text.

    Attributes:
        reference: what messages call the reference.
        text_name: what messages call the text.
        agreeing: of each passage, at how many of its positions both expect the same token first.
        divergence: of each passage, the sum over its positions of the Kullback-Leibler divergence of the engine from
            the reference, in nats.
        positions: of each passage, the number of its positions.
        listed: of each passage, at how many of them both state probabilities: what ``divergence`` is a sum over.
        is_identical: whether every log-probability is the same at every position.
        matched_by: how it is known that both split the text into the same tokens: ``ids`` or ``counts`` of tokens.
    """

    reference: str
    text_name: str
    agreeing: tuple[int, ...]
    divergence: tuple[float, ...]
    positions: tuple[int, ...]
    listed: tuple[int, ...]
    is_identical: bool
    matched_by: Literal["ids", "counts"]

    @property
    def count(self) -> int:
        """The number of positions."""
        return sum(self.positions)

    @property
    def agreement(self) -> float:
        """The share of positions at which both expect the same token first."""
        return sum(self.agreeing) / self.count

    @property
    def mean_divergence(self) -> float:
        """The mean over the positions at which both state probabilities, in nats."""
        return math.fsum(self.divergence) / sum(self.listed)


@dataclass(frozen=True)
class NoComparison:
    """Why there is no comparison with a reference.

    Attributes:
        reason: one sentence.
        is_baseline: whether it is the reference that is missing, which a run may be about to make.
    """

    reason: str
    is_baseline: bool = False


@dataclass(frozen=True)
class Score:
    """A value of quality that the test recorded itself, with ``llm_perf.quality(name, value)``.

    Attributes:
        name: such as ``accuracy``.
        value: from 0 to 1.
        better: which direction is better.
        samples: of how many answers it is the share; None if the test did not say.
        round: in which round of the test it was recorded, from 1.
    """

    name: str
    value: float
    better: Literal["lower", "higher"] = "higher"
    samples: int | None = None
    round: int = 1


_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = frozenset({"agreement", "kl", "against", "text", "device", "engine"})


def make_score(name: object, value: object, better: object, samples: object, in_round: int) -> Score:
    """A score as a test records it, once it is checked.

    Raises:
        ValueError: one line that names the argument and what would be right.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"quality({name!r}, ...): a name is of lower-case letters, digits and _, such as 'accuracy'")
    if name in _TAKEN:
        raise ValueError(f"quality({name!r}, ...): a quality_budget means something else by that name; choose another")
    if value is True or value is False or not isinstance(value, Real) or not 0 <= float(value) <= 1:
        raise ValueError(f"quality({name!r}, {value!r}): a score is a number from 0 to 1, such as 0.83 for 83 %")
    if better not in ("lower", "higher"):
        raise ValueError(f"quality({name!r}, ..., better={better!r}): better is 'higher' or 'lower'")
    if samples is not None and (samples is True or not isinstance(samples, Integral) or int(samples) < 1):
        raise ValueError(f"quality({name!r}, ..., samples={samples!r}): samples is a whole number of at least 1")
    count = None if samples is None else int(samples)
    return Score(name, float(value), "lower" if better == "lower" else "higher", count, in_round)
