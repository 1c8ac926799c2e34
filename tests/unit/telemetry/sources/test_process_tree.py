from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import GONE, RSS_ONLY
from pytest_llmperf.telemetry.sources import host as host_memory
from pytest_llmperf.telemetry.sources import process_tree
from pytest_llmperf.telemetry.sources.branch import Branch
from pytest_llmperf.telemetry.sources.host import Shares
from pytest_llmperf.telemetry.sources.process_tree import BranchMemory, Survey

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    def list_pids(self) -> tuple[int, ...]:
        return tuple(self.shared)

    def read_shares(self, pid: int) -> Shares | None:
        self.readings += 1
        self._clocks.spend(self.cost)
        shared = self.shared[pid]
        return None if shared is None else Shares(shared, None, None)


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
    host = Host(clocks, {1: 10, 2: 3})
    monkeypatch.setattr(host_memory, "read_shares", host.read_shares)
    return host


@pytest.fixture
def survey(clocks: Clocks, host: Host) -> Survey:
    return Survey(host.list_pids, clock=lambda: clocks.now)


class Trees:
    """Makes trees out of scripted readers, and counts how often they distrust what is known of the sharing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.distrusts = 0

    def __call__(self, readers: Mapping[int, Reader], file: str | None = None) -> BranchMemory:
        self._monkeypatch.setattr(process_tree, "open_reader", readers.get)
        return BranchMemory(1, Branch(1, file), readers[1], self._distrust)

    def _distrust(self) -> None:
        self.distrusts += 1


@pytest.fixture
def tree_of(monkeypatch: pytest.MonkeyPatch) -> Trees:
    return Trees(monkeypatch)


def test_the_first_survey_reads_at_once(survey: Survey) -> None:
    assert survey.step() == {1: 10, 2: 3}


def test_a_tree_of_one_process_shares_nothing_within_itself(survey: Survey, host: Host) -> None:
    host.shared = {1: 10}
    assert survey.step() == {1: 0}
    assert host.readings == 0


def test_what_is_shared_is_read_again_after_a_second(survey: Survey, host: Host, clocks: Clocks) -> None:
    survey.step()
    clocks.now = 0.9
    assert survey.step() is None
    host.shared[1] = 20
    clocks.now = 1.1
    assert survey.step() == {1: 20, 2: 3}


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
    host.shared = {1: 5, 2: 5, 3: 0}
    clocks.now = 0.2
    assert survey.step() is None
    clocks.now = 0.3
    assert survey.step() == {1: 5, 2: 5, 3: 0}


def test_in_a_hurry_a_new_child_is_found_at_once_however_dear_that_is(
    survey: Survey, host: Host, clocks: Clocks
) -> None:
    host.cost = 0.05
    survey.step()
    survey.hurry()
    assert survey.step() is None
    host.shared = {1: 5, 2: 5, 3: 0}
    survey.hurry()
    assert survey.step() == {1: 5, 2: 5, 3: 0}


def test_sharing_that_changed_is_read_at_once_unless_that_is_dear(survey: Survey, host: Host, clocks: Clocks) -> None:
    survey.step()
    survey.distrust()
    clocks.now += 0.021
    assert survey.step() == {1: 10, 2: 3}
    host.cost = 0.05
    survey.distrust()
    clocks.now += 0.021
    survey.step()
    survey.distrust()
    clocks.now += 0.9
    assert survey.step() is None
    clocks.now += 0.2
    assert survey.step() == {1: 10, 2: 3}


def test_a_tree_has_no_level_before_its_sharing_is_known(tree_of: Trees) -> None:
    tree = tree_of({1: Reader(100)})
    assert tree.read(7) == ()
    tree.learn({1: 30})
    (record,) = tree.read(7)
    assert (record.t_ns, record.value, record.key, record.detail, record.flags) == (7, 70, 1, 1, 0)


def test_a_tree_counts_shared_pages_in_full_where_they_are_unknown_and_says_so(tree_of: Trees) -> None:
    tree = tree_of({1: Reader(100), 2: Reader(50)})
    tree.learn({1: None, 2: 20})
    (record,) = tree.read(7)
    assert (record.value, record.detail, record.flags) == (130, 2, RSS_ONLY)


def test_a_child_that_ended_is_left_out_and_the_sharing_read_anew(tree_of: Trees) -> None:
    child = Reader(50, None)
    tree = tree_of({1: Reader(100), 2: child})
    tree.learn({1: 0, 2: 0})
    tree.read(1)
    assert tree_of.distrusts == 0
    (record,) = tree.read(2)
    assert (record.value, record.detail, tree_of.distrusts, child.closed) == (100, 1, 1, True)


def test_a_child_that_left_the_tree_is_closed(tree_of: Trees) -> None:
    child = Reader(50)
    tree = tree_of({1: Reader(100), 2: child})
    tree.learn({1: 0, 2: 0})
    tree.learn({1: 0})
    (record,) = tree.read(2)
    assert (record.value, child.closed) == (100, True)


def test_a_process_smaller_than_what_it_shared_counts_nothing_until_it_is_read_anew(tree_of: Trees) -> None:
    tree = tree_of({1: Reader(100, 20)})
    tree.learn({1: 30})
    tree.read(1)
    assert tree_of.distrusts == 0
    (record,) = tree.read(2)
    assert (record.value, tree_of.distrusts) == (0, 1)


def test_the_last_record_of_a_tree_says_that_its_root_ended(tree_of: Trees) -> None:
    tree = tree_of({1: Reader(100, None)})
    tree.learn({1: 0})
    tree.read(1)
    (record,) = tree.read(2)
    assert (record.flags, record.detail) == (GONE, 0)


def test_a_branch_below_the_root_counts_its_processes_only_and_none_is_none(tree_of: Trees) -> None:
    root, model = Reader(100), Reader(50)
    branch = tree_of({1: root, 2: model}, file="model.gguf")
    branch.learn({})
    (empty,) = branch.read(1)
    branch.learn({2: 0})
    (loaded,) = branch.read(2)
    assert [(record.value, record.detail, record.flags) for record in (empty, loaded)] == [(0, 0, 0), (50, 1, 0)]
    branch.close()
    assert root.closed
    assert model.closed


def test_a_branch_below_the_root_ends_with_the_root(tree_of: Trees) -> None:
    branch = tree_of({1: Reader(100, None)}, file="model.gguf")
    branch.learn({})
    branch.read(1)
    (record,) = branch.read(2)
    assert (record.flags, record.detail) == (GONE, 0)
