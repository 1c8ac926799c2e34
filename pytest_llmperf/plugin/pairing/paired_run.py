"""Runs the body of one test on two engines by turns, until each of its limits is decided."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pytest_llmperf.budgets.comparison.changes import FEWEST_PAIRS, MOST_PAIRS
from pytest_llmperf.budgets.comparison.pairs import Pair, PairedLimit, choose_limits, read_turn
from pytest_llmperf.budgets.judge import leave_out_conditions
from pytest_llmperf.plugin.pairing.turns import draw_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import pytest

    from pytest_llmperf.budgets.limit import Limit
    from pytest_llmperf.budgets.verdict import Verdict
    from pytest_llmperf.engines.api.engine import Engine
    from pytest_llmperf.engines.api.observation import Observation
    from pytest_llmperf.engines.api.spec import EngineSpec
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.plugin.measuring.measured_run import MeasuredRun
    from pytest_llmperf.plugin.pairing.engine_pair import EnginePair
    from pytest_llmperf.plugin.pairing.sides import Sides

_CLIENTS = frozenset({"llm_client", "llm_client_factory", "llm_base_url"})


@dataclass(frozen=True)
class Means:
    """What a paired run does its work with.

    Attributes:
        acquire: returns the engine of a spec, ready.
        warm_up: warms up the engines of a measurement that are cold.
        note_engines: takes note of the engines that have ended in a measurement.
        show: shows a line of progress; an empty one removes it.
    """

    acquire: Callable[[EngineSpec], Engine]
    warm_up: Callable[[MeasuredRun], None]
    note_engines: Callable[[MeasuredRun], object]
    show: Callable[[str], None]


class PairedRun:
    """The measurement of one test on two engines: pairs of turns, each of one round of the body or several.

    pytest runs the body for the first time, between ``open`` and ``run_further``.
    """

    def __init__(
        self,
        item: pytest.Function,
        measured: MeasuredRun,
        limits: Sequence[Limit],
        pair: EnginePair,
        sides: Sides,
        means: Means,
        *,
        seed: int,
        warmup: int,
    ) -> None:
        self._item = item
        self._measured = measured
        self._pair = pair
        self._sides = sides
        self._means = means
        self._warmup = warmup
        self._seed = seed
        self._all_limits = limits
        self._limits: list[PairedLimit] = []
        self._orders = draw_orders(seed, item.nodeid)
        self._rounds = self._run_turns()
        self._watched: Observation | None = None
        self._firsts: list[str] = []
        self._last: dict[str, Measurement] = {}
        self._where = ""
        self._side = pair.new

    def open(self) -> None:
        """Warms up both engines and begins the first round."""
        for spec in (self._pair.new, self._pair.old):
            self._switch(spec)
            for _ in range(self._warmup):
                self._measured.reopen()
                self._item.runtest()
        next(self._rounds)

    def run_further(self) -> None:
        """Ends the first round and runs all others."""
        for _ in self._rounds:
            self._item.runtest()

    def close(self) -> tuple[Measurement, list[Verdict]]:
        """Ends what is left; returns the last measurement of the new engine, and the verdict on each limit."""
        self._rounds.close()
        self._means.show("")
        if self._measured.measurement is None:
            self._last[self._side.label] = self._end_round()
        measurement = self._last.get(self._pair.new.label) or next(iter(self._last.values()))
        limits = self._limits or self._make_limits(measurement)
        return measurement, [limit.judge() for limit in limits]

    def restore(self) -> None:
        """Leads the test back to the new engine, for the end of its fixtures; one that rests is not woken for it."""
        self._rounds.close()
        self._means.show("")
        if self._pair.is_loaded(self._pair.new):
            self._measured.use_only(self._sides.engine)
            self._sides.switch(self._sides.engine)

    @property
    def new(self) -> Engine:
        """The engine whose changes are judged."""
        return self._sides.engine

    @property
    def place(self) -> str:
        """Where it is: ``old, in pair 3``."""
        return self._where

    def _run_turns(self) -> Generator[None]:
        """Yields whenever the body is to run once."""
        for number, old_first in zip(range(1, MOST_PAIRS + 1), self._orders, strict=False):
            turns: dict[str, list[Measurement]] = {spec.label: [] for spec in (self._pair.new, self._pair.old)}
            order = (self._pair.old, self._pair.new) if old_first else (self._pair.new, self._pair.old)
            for spec in order:
                rounds = turns[spec.label]
                for _ in range(self._pair.rounds_in_turn):
                    self._where = f"{spec.label}, in pair {number}"
                    self._means.show(self._describe(number, spec))
                    self._begin_round(spec)
                    yield
                    rounds.append(self._end_round())
                self._last[spec.label] = rounds[-1]
            self._firsts.append(order[0].label)
            if not self._add_pair(turns[self._pair.new.label], turns[self._pair.old.label]):
                return

    def _add_pair(self, new: Sequence[Measurement], old: Sequence[Measurement]) -> bool:
        """Adds a pair to each limit; returns whether one is still to be decided."""
        self._limits = self._limits or self._make_limits(new[0])
        for limit in self._limits:
            sides = (read_turn(limit.limit, rounds, self._all_limits) for rounds in (new, old))
            limit.add(Pair(*sides))
        return any(limit.is_open for limit in self._limits)

    def _make_limits(self, measurement: Measurement) -> list[PairedLimit]:
        chosen = leave_out_conditions(choose_limits(self._all_limits, measurement.engine), measurement)
        return [PairedLimit(limit, self._pair.new.label, self._pair.old.label) for limit in chosen]

    # -------------------------------------------------------------------------------------------------- one round

    def _switch(self, spec: EngineSpec) -> None:
        """Leads the test to an engine, which is warmed up if it is cold."""
        engine = self._means.acquire(spec)
        self._side = spec
        self._measured.use_only(engine)
        self._sides.switch(engine)
        self._means.warm_up(self._measured)

    def _begin_round(self, spec: EngineSpec) -> None:
        self._switch(spec)
        other = self._pair.find_other(spec)
        self._watched = other.insight.observe() if other is not None else None
        self._measured.reopen()

    def _end_round(self) -> Measurement:
        measurement = self._measured.end()
        self._means.note_engines(self._measured)
        if fault := self._find_fault(measurement):
            measurement = replace(measurement, faults=(*measurement.faults, fault))
        return measurement

    def _find_fault(self, measurement: Measurement) -> str:
        """Why a round did not ask its engine, in one sentence; empty if it did, as far as that is known."""
        watched, self._watched = self._watched, None
        generated = 0.0
        if watched is not None:
            with closing(watched):
                generated = watched.end([], measurement.window).stats.get("generation_tokens", 0.0)
        here = self._side.label
        there = self._pair.old.label if self._side is self._pair.new else self._pair.new.label
        if strays := self._measured.count_requests_to_others():
            asked = "1 request" if strays == 1 else f"{strays} requests"
            return f"in the turn of {here} {asked} went to another engine: the test keeps an address or a client of it"
        if generated:
            return f"in the turn of {here} others asked {there}, or the test keeps an address of it"
        sent = measurement.requests or measurement.unread or measurement.capacities or measurement.sweeps
        if not sent and not _CLIENTS.isdisjoint(self._item.fixturenames):
            return f"no request of the test reached {here}: its app must ask the address of llm_client.base_url"
        return ""

    def _describe(self, number: int, spec: EngineSpec) -> str:
        open_limits = [limit for limit in self._limits if limit.is_open]
        states = [text for limit in open_limits if (text := limit.describe_so_far())]
        return f"{self._item.name}: pair {number} of {FEWEST_PAIRS} to {MOST_PAIRS}, {spec.label}" + "".join(
            f"; {text}" for text in states[:1]
        )

    def to_wire(self) -> dict[str, Any]:
        """The pairs as plain data."""
        return {
            "new": str(self._pair.new.label),
            "old": str(self._pair.old.label),
            "seed": int(self._seed),
            "rounds_in_turn": int(self._pair.rounds_in_turn),
            "swapped": bool(self._pair.swaps),
            "first": [str(label) for label in self._firsts],
            "values": {limit.limit.name: limit.to_wire() for limit in self._limits},
        }
