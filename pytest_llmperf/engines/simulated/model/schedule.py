"""When the tokens of an answer leave the simulated engine.

A pure function of the settings and the number of a request, so that what the server will do can be known, and
checked, before it does it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_llmperf.engines.simulated.model.settings import Simulation


class Emission(NamedTuple):
    """One chunk of an answer: seconds from the start of the request, and tokens ``first`` to ``last - 1`` of a part."""

    offset_s: float
    part: int
    first: int
    last: int


def find_ttft(simulation: Simulation, prompt_tokens: int, cached_tokens: int) -> float:
    """The seconds to the first token, of which those that the prefix cache has take no part."""
    new = prompt_tokens - cached_tokens
    return simulation.ttft * (new / prompt_tokens if cached_tokens else 1.0) + simulation.prefill * new


def schedule(
    simulation: Simulation, request_number: int, lengths: Sequence[int], ttft: float | None = None
) -> list[Emission]:
    """When the chunks of an answer leave the server; ``lengths`` are the tokens of its parts, such as its reasoning.

    The first comes after ``ttft`` seconds, that of the settings unless it is given, each later one of k tokens k times
    ``tpot`` after the one before, each gap stretched by the slowness of the request, moved by its jitter and never
    negative. A chunk never has tokens of two parts. The stall comes before the first chunk that begins at or after
    ``stall_after`` tokens.
    """
    draw = random.Random(f"{simulation.seed} gaps {request_number}")
    slowness = simulation.draw_slowness(request_number)
    plan: list[Emission] = []
    offset, sent, stalled = 0.0, 0, simulation.stall_after == 0
    for part, length in enumerate(lengths):
        for first in range(0, length, simulation.tokens_per_chunk):
            last = min(first + simulation.tokens_per_chunk, length)
            wait = (last - first) * simulation.tpot if plan else simulation.ttft if ttft is None else ttft
            offset += max(0.0, slowness * wait + draw.uniform(-simulation.jitter, simulation.jitter))
            if not stalled and sent >= simulation.stall_after:
                offset, stalled = offset + simulation.stall, True
            plan.append(Emission(offset, part, first, last))
            sent += last - first
    return plan
