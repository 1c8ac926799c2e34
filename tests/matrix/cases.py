"""The cases of the kill matrix: which signal reaches which process at which moment of which run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# STOP is followed by CONT some time later.
SIGNALS = ("INT", "TERM", "HUP", "KILL", "STOP")
VICTIMS = ("pytest", "controller", "worker", "warden", "engine", "sampler", "load client", "relay")
MOMENTS = ("loading", "before", "stream", "closed", "open", "teardown", "end", "hand-over")
ENGINES = ("simulated", "llamacpp", "vllm")
MODES = ("plain", "n2", "keep", "ab")
LOADS = ("closed", "open")
# The roles of which a run that is measured by workers has none, and those that only it has.
_ALONE, _DISTRIBUTED = ("pytest",), ("controller", "worker")


@dataclass(frozen=True)
class Case:
    """One cell of the matrix.

    Attributes:
        signal: one of ``SIGNALS``.
        victim: the role of the process that gets it, one of ``VICTIMS``.
        moment: one of ``MOMENTS``: while the engine loads, before the first request, in the middle of a stream, in a
            closed or open load, in the teardown of the test, when pytest ends, when it leaves the engine to the next.
        engine: one of ``ENGINES``.
        mode: one of ``MODES``: one process, two workers of pytest-xdist, an engine that is kept, A/B of two engines.
    """

    signal: str
    victim: str
    moment: str
    engine: str = "simulated"
    mode: str = "plain"

    def __str__(self) -> str:
        return f"{self.signal} {self.victim} {self.moment} {self.engine} {self.mode}"

    @property
    def hits_pytest(self) -> bool:
        """Whether the victim is the process that the user has started."""
        return self.victim in ("pytest", "controller")


def list_cases(engine: str, mode: str) -> Iterator[Case]:
    """All cells of one engine and mode in which there can be such a process at such a moment."""
    for moment, victim, signal in product(MOMENTS, VICTIMS, SIGNALS):
        case = Case(signal, victim, moment, engine, mode)
        if _can_be(case):
            yield case


def _can_be(case: Case) -> bool:
    if case.victim in (_ALONE if case.mode == "n2" else _DISTRIBUTED):
        return False
    if case.victim == "load client":
        return case.moment in LOADS
    if case.moment == "loading":
        return case.victim not in ("relay", "sampler")
    # The workers have ended when the controller does.
    return (case.victim != "worker" or case.moment != "end") and (case.moment != "hand-over" or case.mode == "keep")


# What every change is tested with: each signal at least once. scripts/matrix runs all cases.
SAMPLE = (
    Case("INT", "pytest", "loading"),
    Case("HUP", "engine", "stream"),
    Case("TERM", "relay", "before"),
    Case("KILL", "load client", "open"),
    Case("STOP", "sampler", "teardown"),
    Case("KILL", "worker", "before", mode="n2"),
)
