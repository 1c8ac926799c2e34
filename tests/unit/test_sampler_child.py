from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry import sampler_child
from pytest_llmperf.telemetry.ring import GONE, RSS_ONLY
from pytest_llmperf.telemetry.sampler_child import Pace, Survey, Tree, next_deadline

if TYPE_CHECKING:
    from collections.abc import Mapping

MS = 1_000_000


class Clocks:
    """Wall and CPU time that go on only when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = 0.0

    def spend(self, seconds: float) -> None:
        self.now += seconds
        self.cpu += seconds


class Host:
    """A scripted tree of processes: what each shares, and what reading that costs in seconds of CPU time."""

    def __init__(self, clocks: Clocks, shared: dict[int, int | None], cost: float = 0.001) -> None:
        self.shared = shared
        self.cost = cost
        self.readings = 0
        self._clocks = clocks

    def process_tree(self, root: int) -> tuple[int, ...]:
        return tuple(self.shared)

    def shared_bytes(self, pid: int) -> int | None:
        self.readings += 1
        self._clocks.spend(self.cost)
        return self.shared[pid]


class Reader:
    def __init__(self, *values: int | None) -> None:
        self._values = list(values)
        self.closed = False

    def read(self) -> int | None:
        return self._values.pop(0) if len(self._values) > 1 else self._values[0]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    clocks = Clocks()
    monkeypatch.setattr("time.thread_time", lambda: clocks.cpu)
    return clocks


@pytest.fixture
def host(clocks: Clocks, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(clocks, {1: 10})
    monkeypatch.setattr(sampler_child, "process_tree", host.process_tree)
    monkeypatch.setattr(sampler_child, "shared_bytes", host.shared_bytes)
    return host


@pytest.fixture
def survey(clocks: Clocks, host: Host) -> Survey:
    return Survey(1, clock=lambda: clocks.now)


def tree_of(readers: Mapping[int, Reader], monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr(sampler_child, "open_reader", readers.get)
    return Tree(1, readers[1])


def test_the_next_deadline_is_one_period_after_the_last() -> None:
    assert next_deadline(100, 10, 103) == 110


@pytest.mark.parametrize(("now", "expected"), [(110, 120), (139, 140), (140, 150)])
def test_deadlines_that_passed_are_skipped(now: int, expected: int) -> None:
    assert next_deadline(100, 10, now) == expected


def test_ticks_that_cost_little_come_as_asked() -> None:
    pace = Pace(5 * MS)
    for _ in range(1000):
        pace.note(MS // 20)
    assert pace.period_ns == 5 * MS


def test_ticks_that_cost_more_than_two_percent_of_the_time_come_less_often() -> None:
    pace = Pace(5 * MS)
    changes = [pace.note(MS) for _ in range(64 * 40)]
    assert changes.count(True) == 40
    assert pace.period_ns == pytest.approx(50 * MS, rel=0.01)
    for _ in range(64 * 40):
        pace.note(MS // 20)
    assert pace.period_ns == 5 * MS


def test_one_expensive_tick_does_not_change_the_pace() -> None:
    pace = Pace(5 * MS)
    for number in range(640):
        pace.note(2 * MS if number == 100 else MS // 20)
    assert pace.period_ns == 5 * MS


def test_the_first_survey_reads_at_once(survey: Survey) -> None:
    assert survey.step() == {1: 10}


def test_what_is_shared_is_read_again_after_a_second(survey: Survey, host: Host, clocks: Clocks) -> None:
    survey.step()
    clocks.now = 0.9
    assert survey.step() is None
    host.shared[1] = 20
    clocks.now = 1.1
    assert survey.step() == {1: 20}


def test_reading_what_is_shared_takes_one_percent_of_the_time_at_most(
    survey: Survey, host: Host, clocks: Clocks
) -> None:
    host.cost = 0.05
    while clocks.now < 100:
        survey.step()
        clocks.now = max(clocks.now + 0.01, survey.due)
    assert host.readings * host.cost == pytest.approx(1.0, rel=0.1)


def test_a_new_child_is_found_and_the_whole_tree_read_anew(survey: Survey, host: Host, clocks: Clocks) -> None:
    survey.step()
    host.shared = {1: 5, 2: 5}
    clocks.now = 0.2
    assert survey.step() is None
    clocks.now = 0.3
    assert survey.step() == {1: 5, 2: 5}


def test_sharing_that_changed_is_read_at_once_unless_that_is_dear(survey: Survey, host: Host, clocks: Clocks) -> None:
    survey.step()
    survey.distrust()
    clocks.now += 0.011
    assert survey.step() == {1: 10}
    host.cost = 0.1
    survey.distrust()
    clocks.now += 0.011
    survey.step()
    survey.distrust()
    clocks.now += 0.9
    assert survey.step() is None
    clocks.now += 0.2
    assert survey.step() == {1: 10}


def test_a_tree_has_no_level_before_its_sharing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of({1: Reader(100)}, monkeypatch)
    assert tree.sample(7) == (None, False)
    tree.update({1: 30})
    record, _ = tree.sample(7)
    assert record is not None
    assert (record.t_ns, record.value, record.key, record.detail, record.flags) == (7, 70, 1, 1, 0)


def test_a_tree_counts_shared_pages_in_full_where_they_are_unknown_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of({1: Reader(100), 2: Reader(50)}, monkeypatch)
    tree.update({1: None, 2: 20})
    record, _ = tree.sample(7)
    assert record is not None
    assert (record.value, record.detail, record.flags) == (130, 2, RSS_ONLY)


def test_a_child_that_ended_is_left_out_and_the_sharing_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Reader(50, None)
    tree = tree_of({1: Reader(100), 2: child}, monkeypatch)
    tree.update({1: 0, 2: 0})
    tree.sample(1)
    record, distrust = tree.sample(2)
    assert record is not None
    assert (record.value, record.detail, distrust, child.closed) == (100, 1, True, True)


def test_a_child_that_left_the_tree_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    child = Reader(50)
    tree = tree_of({1: Reader(100), 2: child}, monkeypatch)
    tree.update({1: 0, 2: 0})
    tree.update({1: 0})
    record, _ = tree.sample(2)
    assert record is not None
    assert (record.value, child.closed) == (100, True)


def test_a_process_smaller_than_what_it_shared_counts_nothing_until_it_is_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = tree_of({1: Reader(100, 20)}, monkeypatch)
    tree.update({1: 30})
    assert tree.sample(1)[1] is False
    record, distrust = tree.sample(2)
    assert record is not None
    assert (record.value, distrust) == (0, True)


def test_the_last_record_of_a_tree_says_that_its_root_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tree_of({1: Reader(100, None)}, monkeypatch)
    tree.update({1: 0})
    tree.sample(1)
    record, _ = tree.sample(2)
    assert record is not None
    assert (record.flags, record.detail) == (GONE, 0)
