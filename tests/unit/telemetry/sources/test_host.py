from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.sources import host
from tests.helpers.memory_process import MIB, MemoryProcess
from tests.helpers.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(not host.HAS_PROC, reason="reads /proc")


@pytest.fixture
def process() -> Iterator[MemoryProcess]:
    with MemoryProcess() as process:
        yield process


@pytest.fixture(params=[host.StatmReader, host.PsutilReader])
def reader(request: pytest.FixtureRequest, process: MemoryProcess) -> Iterator[host.ResidentReader]:
    reader: host.ResidentReader = request.param(process.pid)
    yield reader
    reader.close()


def resident(reader: host.ResidentReader) -> int:
    value = reader.read()
    assert value is not None
    return value


def test_growth_and_shrinkage_are_read(process: MemoryProcess, reader: host.ResidentReader) -> None:
    before = resident(reader)
    process.grow(50)
    grown = resident(reader)
    process.shrink()
    after = resident(reader)
    assert 45 * MIB < grown - before < 55 * MIB
    assert abs(after - before) < 5 * MIB


def test_a_process_that_ended_has_no_memory(process: MemoryProcess, reader: host.ResidentReader) -> None:
    process.exit()
    assert reader.read() is None


def test_a_process_that_waits_to_be_reaped_has_no_memory(process: MemoryProcess) -> None:
    reader = host.StatmReader(process.pid)
    process.become_a_zombie()
    until(lambda: reader.read() is None)  # it closes its output a moment before it is gone
    with pytest.raises(ProcessLookupError):
        host.read_shares(process.pid)
    reader.close()


def test_there_is_no_reader_for_a_process_that_does_not_exist(
    process: MemoryProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    process.exit()
    assert host.open_reader(process.pid) is None
    monkeypatch.setattr(host, "HAS_PROC", False)
    assert host.open_reader(process.pid) is None


def test_memory_of_its_own_is_not_shared_until_the_process_forks(process: MemoryProcess) -> None:
    process.grow(64)
    alone = host.read_shares(process.pid)
    child = process.fork()
    forked = [host.read_shares(pid) for pid in (process.pid, child)]
    assert alone is not None
    assert alone.shared < 20 * MIB
    for one in forked:  # each of the two is charged half of the 64 MiB
        assert one is not None
        assert 30 * MIB < one.shared < 55 * MIB


def test_the_shared_part_of_a_process_that_ended_is_an_error(process: MemoryProcess) -> None:
    process.exit()
    with pytest.raises(ProcessLookupError):
        host.read_shares(process.pid)


@pytest.mark.parametrize("error", [PermissionError, FileNotFoundError])
def test_the_shared_part_is_unknown_where_it_cannot_be_read(
    error: type[OSError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise error(str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert host.read_shares(os.getpid()) is None


def scripted(monkeypatch: pytest.MonkeyPatch, processes: dict[int, host.Shares | None]) -> None:
    monkeypatch.setattr(host, "read_shares", processes.get)


def test_a_file_that_strangers_map_too_is_no_smaller_for_that(monkeypatch: pytest.MonkeyPatch) -> None:
    # A server with 90 of files, shared with another server, and a small helper that has 8 of them as well.
    scripted(monkeypatch, {1: host.Shares(45, 90, 45), 2: host.Shares(6, 8, 2)})
    assert host.read_sharing([1, 2]) == {1: 2, 2: 6}


def test_files_that_only_the_tree_maps_are_divided_among_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {1: host.Shares(200, 400, 200), 2: host.Shares(200, 400, 200)})
    assert host.read_sharing([1, 2]) == {1: 200, 2: 200}


def test_without_the_parts_of_files_the_sharing_is_as_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, {1: host.Shares(45, None, None), 2: host.Shares(6, None, None), 3: None})
    assert host.read_sharing([1, 2, 3]) == {1: 45, 2: 6, 3: None}


def test_one_process_shares_nothing_within_its_tree() -> None:
    assert host.read_sharing([os.getpid()]) == {os.getpid(): 0}


def test_the_tree_holds_children_and_their_children(process: MemoryProcess) -> None:
    first, second = process.child(1), process.fork()
    assert set(host.process_tree(process.pid)) == {process.pid, first, second}
    tree = host.process_tree(os.getpid())
    assert tree[0] == os.getpid()
    assert {process.pid, first, second} <= set(tree)


def test_the_tree_is_the_same_where_the_kernel_lists_no_children(
    process: MemoryProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    child = process.child(1)
    monkeypatch.setattr(host, "_PROC", tmp_path)
    assert set(host.process_tree(process.pid)) == {process.pid, child}


def test_the_tree_of_a_process_that_ended_is_its_root_alone(
    process: MemoryProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    process.exit()
    assert host.process_tree(process.pid) == (process.pid,)
    monkeypatch.setattr(host, "_PROC", tmp_path)
    assert host.process_tree(process.pid) == (process.pid,)
