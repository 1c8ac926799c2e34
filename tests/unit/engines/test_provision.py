from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.engines.api.spec import EngineError, EngineSpec
from pytest_llmperf.engines.api.state import EngineState
from pytest_llmperf.engines.provision import Provisioner
from pytest_llmperf.engines.registry import EngineRegistry
from tests.helpers.fake_engine import FakeDeployment, FakeEngine, NotingListener

if TYPE_CHECKING:
    from pytest_llmperf.engines.api.engine import Engine, EngineListener

SPEC = EngineSpec("fake")
OTHER = EngineSpec("fake", model="other")


class House(EngineRegistry):
    """A provisioner of fakes, the fakes it has made, and what it has told."""

    def __init__(self, listener: NotingListener | None = None) -> None:
        super().__init__()
        self.made: list[FakeEngine] = []
        self.said: list[str] = []
        self.failure = ""
        self.provisioner = Provisioner(self, self.said.append, listener or NotingListener())

    def create(self, spec: EngineSpec, listener: EngineListener | None = None) -> FakeEngine:
        FakeEngine.check(spec)
        fake = FakeEngine(spec, listener)
        fake.fake.failure = self.failure
        self.made.append(fake)
        return fake


@pytest.fixture
def house() -> House:
    return House()


def test_an_engine_is_started_once_and_then_shared(house: House) -> None:
    first = house.provisioner.acquire(SPEC)
    assert house.provisioner.acquire(EngineSpec("fake")) is first
    assert house.made[0].fake.events == ["before", "start", "watch"]
    assert house.provisioner.running == (first,)


def test_each_spec_has_its_own_engine(house: House) -> None:
    assert house.provisioner.acquire(SPEC) is not house.provisioner.acquire(OTHER)


def test_a_start_that_failed_is_not_tried_again(house: House) -> None:
    house.failure = "no GPU"
    for _ in range(3):
        with pytest.raises(EngineError, match="no GPU") as caught:
            house.provisioner.acquire(SPEC)
        assert caught.value.log_tail == "its log"
    assert len(house.made) == 1
    assert house.made[0].fake.events == ["before", "start"]
    assert house.provisioner.running == ()


def test_an_error_that_is_raised_again_does_not_gather_the_frames_of_every_test(house: House) -> None:
    house.failure = "no GPU"
    depths = []
    for _ in range(3):
        with pytest.raises(EngineError) as caught:
            house.provisioner.acquire(SPEC)
        depths.append(len(caught.traceback))
    assert depths[1] == depths[2] <= depths[0]


def test_the_same_death_twice_in_a_row_is_not_tried_again(house: House) -> None:
    engine = house.provisioner.acquire(SPEC)
    assert isinstance(engine, FakeEngine)
    engine.fake.end = "fake ended with SIGKILL"
    house.provisioner.acquire(SPEC)
    engine.fake.end = "fake ended with SIGKILL"
    for _ in range(2):
        with pytest.raises(EngineError, match=r"^fake ended with SIGKILL, 2 times in a row: it is not started again$"):
            house.provisioner.acquire(SPEC)
    assert engine.fake.events.count("start") == 2
    assert house.provisioner.running == ()


def test_one_cause_is_the_same_death_in_whatever_state_its_server_is_found(house: House) -> None:
    engine = house.provisioner.acquire(SPEC)
    assert isinstance(engine, FakeEngine)
    engine.fake.end = "fake has lost its core: out of memory"
    house.provisioner.acquire(SPEC)
    engine.fake.end = "fake ended with status 0: out of memory"
    with pytest.raises(EngineError, match="2 times in a row"):
        house.provisioner.acquire(SPEC)


@pytest.mark.parametrize("second", ["fake ended with status 1", "it lived on", "fake ended, pid 2"])
def test_another_death_or_a_test_lived_through_begins_a_new_count(house: House, second: str) -> None:
    engine = house.provisioner.acquire(SPEC)
    assert isinstance(engine, FakeEngine)
    for end in ("fake ended, pid 1", second):
        if end == "it lived on":
            house.provisioner.note_survival(engine)
            end = "fake ended, pid 1"
        engine.fake.end = end
        if second == "fake ended, pid 2" and end == second:
            with pytest.raises(EngineError, match="2 times in a row"):
                house.provisioner.acquire(SPEC)
        else:
            house.provisioner.acquire(SPEC)


def test_a_server_that_is_not_ours_is_attached_to_as_often_as_it_comes_back(house: House) -> None:
    engine = house.provisioner.acquire(SPEC)
    assert isinstance(engine, FakeEngine)
    engine.deployment.attached = True
    for _ in range(4):
        engine.fake.end = "the server no longer answers"
        house.provisioner.acquire(SPEC)


def test_a_spec_that_can_never_work_is_remembered_as_well(house: House) -> None:
    for _ in range(2):
        with pytest.raises(EngineError, match="takes no arguments"):
            house.provisioner.acquire(EngineSpec("fake", args={"a": "b"}))
    assert house.made == []


def test_the_failure_of_one_engine_does_not_touch_another(house: House) -> None:
    house.failure = "no GPU"
    with pytest.raises(EngineError):
        house.provisioner.acquire(SPEC)
    house.failure = ""
    assert house.provisioner.acquire(OTHER).state is EngineState.READY


def test_an_engine_that_crashed_is_started_again_and_that_is_said(house: House) -> None:
    engine = house.provisioner.acquire(SPEC)
    house.made[0].fake.end = "fake ended with SIGKILL"
    assert house.provisioner.acquire(SPEC) is engine
    assert house.made[0].fake.events == ["before", "start", "watch", "unwatch", "stop", "before", "start", "watch"]
    assert house.said == ["fake ended with SIGKILL; starting it again"]


def test_an_engine_that_was_left_asleep_is_woken(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = house.provisioner.acquire(SPEC)
    house.made[0].fake.state = EngineState.ASLEEP
    monkeypatch.setattr(FakeDeployment, "wake", lambda self: self.events.append("wake"))
    assert house.provisioner.acquire(SPEC) is engine
    assert house.made[0].fake.events == ["before", "start", "watch", "wake"]
    assert house.said == ["fake was left asleep; waking it"]


def test_an_engine_that_crashed_and_does_not_come_back_is_given_up(house: House) -> None:
    house.provisioner.acquire(SPEC)
    house.made[0].fake.end, house.made[0].fake.failure = "fake ended with status 1", "no memory left"
    for _ in range(2):
        with pytest.raises(EngineError, match="no memory left"):
            house.provisioner.acquire(SPEC)
    assert house.made[0].fake.events.count("start") == 2
    assert house.provisioner.running == ()


def test_an_engine_that_a_test_restarts_is_watched_afresh(house: House) -> None:
    house.provisioner.acquire(SPEC).restart()
    assert house.made[0].fake.events == ["before", "start", "watch", "unwatch", "stop", "before", "start", "watch"]


def test_a_retired_engine_runs_until_another_starts(house: House) -> None:
    first = house.provisioner.acquire(SPEC)
    house.provisioner.retire(SPEC)
    assert house.provisioner.acquire(SPEC) is first
    house.provisioner.retire(SPEC)
    house.provisioner.retire(SPEC)
    assert house.provisioner.acquire(OTHER) is house.made[1]
    assert house.made[0].fake.events == ["before", "start", "watch", "unwatch", "stop"]
    assert house.provisioner.running == (house.made[1],)
    assert house.provisioner.acquire(SPEC) is house.made[2]


def test_a_retired_engine_that_is_the_last_is_closed_as_any_other(house: House) -> None:
    house.provisioner.acquire(SPEC)
    house.provisioner.retire(SPEC)
    house.provisioner.close()
    assert house.made[0].fake.events[-2:] == ["unwatch", "stop"]
    assert house.provisioner.running == ()


def test_closing_stops_every_engine_even_after_an_error() -> None:
    def fail(engine: Engine) -> None:
        if engine.spec == SPEC:
            raise RuntimeError("the sampler is gone")

    house = House(NotingListener(fail))
    for spec in (SPEC, OTHER):
        house.provisioner.acquire(spec)
    with pytest.raises(RuntimeError, match="the sampler is gone"):
        house.provisioner.close()
    assert [fake.fake.events[-1] for fake in house.made] == ["stop", "stop"]
    assert house.provisioner.running == ()
    house.provisioner.close()
