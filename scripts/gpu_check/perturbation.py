"""What sampling does to the latency of what computes on the GPU: the same load with and without it, in turn.

The load is an engine that streams answers, or, without one, the two things that an engine asks of the driver all the
time: memory, and small kernels.
"""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pytest_llmperf.engines.api.spec import EngineError
from pytest_llmperf.engines.registry import create
from pytest_llmperf.telemetry.devices import Devices
from pytest_llmperf.telemetry.sampler.client import Sampler, SamplerError
from pytest_llmperf.traffic.client.listener import ClientListener
from pytest_llmperf.traffic.llm_client import LLMClient
from scripts.gpu_check.figures import median_and_p99

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.measurement.request import RequestTiming

    Load: TypeAlias = Callable[[float], Mapping[str, Sequence[float]]]
    """Works for so many seconds; nanoseconds of each latency, by what it is of."""

_PROMPT = "Explain in detail how paged attention manages the memory of a language model."
_TOKENS = 128


class Effect(NamedTuple):
    """Median and 99th percentile of a latency in nanoseconds, for each pair without sampling and with it."""

    off: list[tuple[float, float]]
    on: list[tuple[float, float]]
    measured: int

    def __str__(self) -> str:
        return f"{self._of('median', 0)}; {self._of('p99', 1)}; {len(self.off)} pairs, n = {self.measured}"

    def _of(self, what: str, column: int) -> str:
        without, sampled = [row[column] for row in self.off], [row[column] for row in self.on]
        ratio = median(b / a for a, b in zip(without, sampled, strict=True))
        return f"{what} {median(without) / 1e3:.1f} to {median(sampled) / 1e3:.1f} µs, ratio {ratio:.3f}"


def interleave(load: Load, switch: Callable[[bool], None], *, pairs: int, seconds: float) -> dict[str, Effect]:
    """The effect of what ``switch`` turns on and off. Which of the two comes first changes from pair to pair."""
    load(seconds)  # what is only slow at first belongs to neither
    effects: dict[str, Effect] = {}
    for number in range(pairs):
        found = {}
        for on in (number % 2 == 1, number % 2 == 0):
            switch(on)
            found[on] = load(seconds)
        for what in found[False]:
            without, sampled = found[False][what], found[True][what]
            before = effects.get(what, Effect([], [], 0))
            effects[what] = Effect(
                [*before.off, median_and_p99(without)],
                [*before.on, median_and_p99(sampled)],
                before.measured + len(without) + len(sampled),
            )
    switch(False)
    return effects


@contextmanager
def sampling(uuid: str, hz: float) -> Iterator[Callable[[bool], None]]:
    """Turns the sampling of a device by the real sampler on and off.

    Raises:
        SamplerError: the sampler does not see the device.
    """
    sampler = Sampler()
    sampler.start(hz)
    try:
        devices = Devices(sampler)
        devices.open()
        facts = devices.filter_visible(uuid, None)[0]
        if not facts:
            raise SamplerError(devices.missing or f"the sampler sees no device {uuid}")
        yield lambda on: devices.sample(facts if on else ())
    finally:
        sampler.stop()


@contextmanager
def engine_load(spec: EngineSpec) -> Iterator[tuple[Load, int]]:
    """An engine of its own, asked for one answer after the other, and its pid. The latency is the time between tokens.

    Raises:
        EngineError: it cannot be started, or its answers have no gaps.
    """
    engine = create(spec)
    engine.start(lambda line: print(line, flush=True))
    try:
        timings: list[RequestTiming] = []
        client = LLMClient(engine.endpoint, engine.dialect, listener=ClientListener(timings.append))

        def load(seconds: float) -> dict[str, list[float]]:
            timings.clear()
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                client.generate(_PROMPT, max_tokens=_TOKENS)
            pairs = (pair for timing in timings for pair in itertools.pairwise(timing.chunks))
            # Tokens that came together have no time between them, which a ratio cannot be made of.
            gaps: list[float] = [b.at_ns - a.at_ns for a, b in pairs if b.at_ns > a.at_ns]
            if not gaps:
                raise EngineError(f"{engine.name} answers with one token only: another --model is needed")
            return {f"the time between tokens of {engine.name}": gaps}

        yield load, engine.pids[0]
    finally:
        engine.stop()
