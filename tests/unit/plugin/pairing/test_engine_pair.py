"""Two engines that are both loaded where they fit, else one at a time."""

from __future__ import annotations

import pytest

from pytest_llmperf.engines.api.engine import EngineParts
from pytest_llmperf.engines.api.insight import Insight
from pytest_llmperf.engines.api.spec import EngineError, EngineSpec, Progress
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.provision import Provisioner
from pytest_llmperf.engines.registry import EngineRegistry
from pytest_llmperf.plugin.pairing.engine_pair import EnginePair
from pytest_llmperf.traffic.client.dialect import OPENAI
from tests.helpers.fake_engine import FakeDeployment, FakeEngine

NEW, OLD = (EngineSpec("crowded", variant=label) for label in ("new", "old"))


class Device:
    """Has room for so many engines that are loaded; what sleeps beside them takes ``asleep`` of it."""

    def __init__(self, room: float, *, asleep: float | None = None) -> None:
        self.room = room
        self.asleep = asleep
        self.deployments: dict[str, CrowdedDeployment] = {}

    def has_room_for(self, one: CrowdedDeployment) -> bool:
        others = [other.state for other in self.deployments.values() if other is not one]
        used = others.count(EngineState.READY) + (self.asleep or 0) * others.count(EngineState.ASLEEP)
        return used + 1 <= self.room

    @property
    def events(self) -> dict[str, list[str]]:
        return {label: one.events for label, one in self.deployments.items()}


class CrowdedDeployment(FakeDeployment):
    """Starts, and wakes, where the device has room for it."""

    def __init__(self, spec: EngineSpec, device: Device) -> None:
        super().__init__(spec)
        self._device = device
        before = device.deployments.get(spec.label)
        self.events = before.events if before else self.events
        device.deployments[spec.label] = self

    def start(self, progress: Progress) -> None:
        self.failure = "" if self._device.has_room_for(self) else "out of memory"
        super().start(progress)

    def sleep(self, level: int) -> None:
        if self._device.asleep is None:
            raise EngineError("it cannot sleep")
        self.events.append("sleep")
        self.state = EngineState.ASLEEP

    def wake(self) -> None:
        assert self._device.has_room_for(self)
        self.events.append("wake")
        self.state = EngineState.READY


def make_pair(device: Device, *, is_shared: bool = False) -> tuple[EnginePair, Provisioner, list[str]]:
    class Crowded(FakeEngine):
        name = "crowded"

        @classmethod
        def compose(cls, spec: EngineSpec) -> EngineParts:
            return EngineParts(CrowdedDeployment(spec, device), OPENAI, Insight())

    provisioner, said = Provisioner(EngineRegistry(lambda: [{"crowded": Crowded}]), lambda _: None), list[str]()
    pair = EnginePair(NEW, OLD, provisioner, said.append, is_shared=is_shared)
    return pair, provisioner, said


def take_turns(pair: EnginePair, provisioner: Provisioner, *turns: EngineSpec) -> None:
    for spec in turns:
        pair.make_room(spec)
        provisioner.acquire(spec)
        assert pair.is_loaded(spec)


def test_both_are_loaded_where_they_fit() -> None:
    pair, provisioner, said = make_pair(device := Device(2))
    assert pair.load()
    assert not pair.load()
    take_turns(pair, provisioner, OLD, NEW, OLD)
    assert (pair.swaps, pair.rounds_in_turn, said) == (False, 1, [])
    assert device.events == {"new": ["start"], "old": ["start"]}
    other = pair.find_other(NEW)
    assert other is not None
    assert other.spec is OLD
    assert pair.describe_cost(4) == "A/B of new against old: 3 to 24 pairs of turns of 4 tests; both engines are loaded"


@pytest.mark.parametrize(
    ("device", "rest", "back"),
    [
        (Device(1, asleep=0), "sleep", "wake"),
        (Device(1), "stop", "start"),
        (Device(1.5, asleep=0.7), "stop", "start"),  # what sleeps leaves too little
    ],
)
def test_one_rests_while_the_other_runs_where_they_do_not_fit(device: Device, rest: str, back: str) -> None:
    pair, provisioner, said = make_pair(device)
    pair.load()
    assert (pair.swaps, pair.rounds_in_turn, pair.find_other(OLD)) == (True, 3, None)
    assert said == ["old did not start beside new, but does alone: out of memory"]
    take_turns(pair, provisioner, OLD, OLD, NEW, OLD)
    events = device.events["new"][-3:]
    assert events == [rest, back, rest]
    assert "of 3 rounds of 1 test; each sleeps or is stopped while the other runs" in pair.describe_cost(1)


def test_engines_that_others_share_are_not_put_to_rest() -> None:
    pair, _, _ = make_pair(device := Device(1), is_shared=True)
    with pytest.raises(EngineError, match="out of memory"):
        pair.load()
    assert device.events["new"] == ["start"]


def test_an_engine_that_cannot_start_even_alone_gives_its_own_error() -> None:
    pair, _, said = make_pair(Device(0.5))
    with pytest.raises(EngineError, match="out of memory"):
        pair.load()
    assert said == []


def test_engines_of_no_pair_do_not_disturb_it() -> None:
    pair, provisioner, _ = make_pair(Device(1))
    pair.load()
    pair.make_room(EngineSpec("crowded", variant="third"))
    assert pair.is_loaded(OLD)
    assert provisioner.find_running(OLD) is not None
