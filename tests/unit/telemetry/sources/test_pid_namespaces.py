"""Which listed pids are an engine's: telemetry/pidmap.py, on ``/proc`` trees made by hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import MAPPED, MATCHED
from pytest_llmperf.telemetry.sources import pid_namespaces
from pytest_llmperf.telemetry.sources.pid_namespaces import Matches, ProcessMatcher, find_host_proc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

OURS, THEIRS, HOSTS = 4026531836, 4026532999, 4026530000
"""Numbers of pid namespaces: of this container, of another one, of the host."""
PYTEST, ENGINE, WORKER, OTHER_ENGINE, HELPER, STRANGER = 10, 20, 21, 30, 40, 50
TREES = {
    PYTEST: (PYTEST, ENGINE, WORKER, OTHER_ENGINE, HELPER),
    ENGINE: (ENGINE, WORKER),
    OTHER_ENGINE: (OTHER_ENGINE,),
}


class Host:
    """The ``/proc`` of this container and, where wanted, that of its host, which has other pids."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.proc = folder / "proc"
        self.host = folder / "host"
        _namespace(self.proc / "self", OURS)
        self.host.mkdir()
        for pid in (PYTEST, ENGINE, WORKER, OTHER_ENGINE, HELPER, STRANGER):
            (self.proc / str(pid)).mkdir()
        monkeypatch.setattr(pid_namespaces, "process_tree", lambda root: TREES.get(root, (root,)))

    def has(self, pid: int, *pids_inside: int, namespace: int = OURS) -> None:
        """The host has a process that is known inside of containers by other pids, outermost first."""
        folder = self.host / str(pid)
        _namespace(folder, namespace)
        numbers = "\t".join(map(str, (pid, *pids_inside)))
        (folder / "status").write_text(
            f"Name:\tpython\nPid:\t{pid}\nNSpid:\t{numbers}\nNSpgid:\t1\t2\n", encoding="utf-8"
        )

    def match(self, *pids: int, roots: Sequence[int] = (ENGINE, OTHER_ENGINE), mounted: bool = True) -> Matches:
        return ProcessMatcher(PYTEST, self.proc, self.host if mounted else None).match(
            pids, {root: TREES[root] for root in roots}
        )


def _namespace(folder: Path, number: int) -> None:
    (folder / "ns").mkdir(parents=True)
    (folder / "ns" / "pid").symlink_to(f"pid:[{number}]")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_pid_of_an_engines_tree_is_the_engines(host: Host) -> None:
    found = host.match(ENGINE, WORKER, OTHER_ENGINE, mounted=False)
    assert found.keys == (ENGINE, OTHER_ENGINE)
    assert found.owners == {
        ENGINE: (ENGINE, MATCHED),
        WORKER: (ENGINE, MATCHED),
        OTHER_ENGINE: (OTHER_ENGINE, MATCHED),
    }
    assert found.ours == set()


def test_other_processes_of_this_run_are_ours_and_the_rest_is_nobodys(host: Host) -> None:
    found = host.match(PYTEST, HELPER, STRANGER, 70_000, mounted=False)
    assert (found.owners, found.ours) == ({}, {PYTEST, HELPER})
    assert found.visible == {PYTEST, HELPER, STRANGER}


def test_without_an_owner_nothing_is_ours(host: Host) -> None:
    found = ProcessMatcher(proc=host.proc).match([PYTEST, ENGINE], {ENGINE: TREES[ENGINE]})
    assert (found.owners, found.ours) == ({ENGINE: (ENGINE, MATCHED)}, set())


def test_an_engine_with_nothing_on_the_device_is_told_of_as_well(host: Host) -> None:
    assert host.match() == Matches((ENGINE, OTHER_ENGINE))


def test_pids_of_the_host_are_mapped_through_its_proc(host: Host) -> None:
    host.has(9020, ENGINE)
    host.has(9021, 77, WORKER)  # a container inside of a container
    host.has(9040, HELPER)
    found = host.match(9020, 9021, 9040)
    assert found.owners == {9020: (ENGINE, MAPPED), 9021: (ENGINE, MAPPED)}
    assert found.ours == {9040}
    assert found.visible == {9020, 9021, 9040}


def test_the_same_pid_in_another_container_is_not_the_engine(host: Host) -> None:
    host.has(9020, ENGINE, namespace=THEIRS)
    found = host.match(9020)
    assert (found.owners, found.ours, found.visible) == ({}, set(), set())


def test_a_process_of_the_host_with_the_engines_pid_is_a_stranger_where_the_driver_counts_as_the_host_does(
    host: Host,
) -> None:
    host.has(9020, WORKER)
    host.has(ENGINE, namespace=HOSTS)
    found = host.match(9020, ENGINE)
    assert found.owners == {9020: (ENGINE, MAPPED)}
    assert found.visible == {9020, ENGINE}
    assert found.ours == set()


def test_pids_as_they_are_here_are_matched_though_the_hosts_proc_is_mounted(host: Host) -> None:
    host.has(ENGINE, namespace=HOSTS)
    host.has(9020, ENGINE)
    assert host.match(ENGINE, STRANGER).owners == {ENGINE: (ENGINE, MATCHED)}


def test_a_host_that_is_this_one_maps_every_pid_to_itself(host: Host) -> None:
    host.has(ENGINE)
    host.has(HELPER)
    found = host.match(ENGINE, HELPER)
    assert (found.owners, found.ours) == ({ENGINE: (ENGINE, MATCHED)}, {HELPER})


def test_without_the_hosts_proc_its_pids_remain_unknown(host: Host) -> None:
    host.has(9020, ENGINE)
    assert host.match(9020, mounted=False) == Matches((ENGINE, OTHER_ENGINE))


@pytest.mark.parametrize("status", ["Name:\tpython\n", None])
def test_a_process_that_has_ended_or_does_not_tell_is_not_mapped(host: Host, status: str | None) -> None:
    host.has(9020, ENGINE)
    (host.host / "9020" / "status").unlink()
    if status is not None:
        (host.host / "9020" / "status").write_text(status, encoding="utf-8")
    assert host.match(9020, 9999).owners == {}


def test_a_process_whose_namespace_may_not_be_seen_is_not_mapped(host: Host) -> None:
    host.has(9020, ENGINE)
    (host.host / "9020" / "ns" / "pid").unlink()
    assert host.match(9020).owners == {}


def test_this_process_is_found_in_the_real_proc() -> None:
    found = ProcessMatcher(owner=os.getpid()).match([os.getpid()], {})
    assert (found.ours, found.visible) == ({os.getpid()}, {os.getpid()})
    assert ProcessMatcher().match([os.getpid()], {os.getpid(): [os.getpid()]}).owners == {
        os.getpid(): (os.getpid(), MATCHED)
    }


def test_the_hosts_proc_is_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self").symlink_to("1")
    monkeypatch.setenv("HOST_PROC", str(tmp_path))
    assert find_host_proc() == tmp_path


@pytest.mark.parametrize("value", ["", "/proc", "/proc/", "/nowhere"])
def test_a_place_that_is_no_other_proc_is_not_taken(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_PROC", value)
    assert str(find_host_proc()) in ("None", "/host/proc")
