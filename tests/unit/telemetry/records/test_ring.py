from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest

from pytest_llmperf.telemetry.records.ring import GONE, HOST, Ring, RingRecord, file_size
from tests.helpers.waiting import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPACITY = 64
READABLE = CAPACITY - CAPACITY // 16


@pytest.fixture
def fd() -> Iterator[int]:
    with tempfile.TemporaryFile() as file:
        yield file.fileno()


@pytest.fixture
def ring(fd: int) -> Iterator[Ring]:
    ring = Ring.create(fd, CAPACITY)
    yield ring
    ring.close()


def fill(ring: Ring, count: int) -> None:
    for number in range(1, count + 1):
        ring.publish(number * 10, [RingRecord(number * 10, number, 7, 1)])


def test_a_record_comes_out_as_it_went_in(ring: Ring) -> None:
    record = RingRecord(2**62, -5, 4_000_000, 3, HOST, GONE)
    ring.publish(2**62, [record])
    assert ring.read(0, 2**63) == [record]


def test_an_empty_ring_gives_nothing(ring: Ring) -> None:
    assert (ring.read(0, 2**63), ring.head, ring.published_ns, ring.oldest_ns) == ([], 0, 0, 0)


def test_reading_gives_the_records_between_two_times_both_included(ring: Ring) -> None:
    fill(ring, 9)
    assert [record.value for record in ring.read(30, 60)] == [3, 4, 5, 6]
    assert [record.value for record in ring.read(31, 39)] == []
    assert [record.value for record in ring.read(85, 1000)] == [9]


def test_another_mapping_of_the_file_sees_what_was_published(ring: Ring, fd: int) -> None:
    reader = Ring(fd)
    fill(ring, 3)
    ring.set_pace(5, 6)
    seen = (reader.head, reader.published_ns, reader.period_ns, reader.cost_ns, reader.capacity)
    reader.close()
    assert seen == (3, 30, 5, 6, CAPACITY)


def test_another_process_reads_and_continues_the_ring(ring: Ring, fd: int) -> None:
    fill(ring, 2)
    code = (
        "from pytest_llmperf.telemetry.records.ring import RingRecord, Ring\n"
        f"ring = Ring({fd})\n"
        "print([r.value for r in ring.read(0, 100)])\n"
        "ring.publish(99, [RingRecord(99, 5, 7, 1)])\n"
    )
    command = [sys.executable, "-c", code]
    seen = subprocess.run(command, pass_fds=[fd], stdout=subprocess.PIPE, check=True, text=True, timeout=PATIENCE_S)
    assert seen.stdout == "[1, 2]\n"
    assert [(record.t_ns, record.value) for record in ring.read(20, 100)] == [(20, 2), (99, 5)]


@pytest.mark.parametrize("count", [CAPACITY + 1, 3 * CAPACITY, 3 * CAPACITY + 17])
def test_after_wrapping_around_the_latest_records_are_left_in_order(ring: Ring, count: int) -> None:
    fill(ring, count)
    values = [record.value for record in ring.read(0, 10**9)]
    assert values == list(range(count - READABLE + 1, count + 1))
    assert ring.oldest_ns == (count - READABLE + 1) * 10


def test_a_window_is_found_across_the_seam_of_the_ring(ring: Ring) -> None:
    fill(ring, 70)
    assert [record.value for record in ring.read(600, 680)] == [60, 61, 62, 63, 64, 65, 66, 67, 68]


def test_records_overwritten_while_they_are_copied_are_dropped(ring: Ring, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(ring, CAPACITY)
    before = ring._offset

    def overtaken(index: int) -> int:
        if index == CAPACITY - 1:  # as the last record is copied, the writer goes on by ten
            for number in range(CAPACITY + 1, CAPACITY + 11):
                ring.publish(number * 10, [RingRecord(number * 10, number, 7, 1)])
        return before(index)

    monkeypatch.setattr(ring, "_offset", overtaken)
    copies = ring.slice(10, CAPACITY)
    assert [record.value for record in copies] == list(range(CAPACITY + 10 - READABLE + 1, CAPACITY + 1))


def test_the_file_takes_room_only_for_what_was_written(fd: int) -> None:
    ring = Ring.create(fd)
    fill(ring, 1000)
    ring.close()
    assert os.fstat(fd).st_size == file_size() > 2**25
    assert os.fstat(fd).st_blocks * 512 < 2**20


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 4096])
def test_a_file_that_holds_no_ring_is_refused(fd: int, content: bytes) -> None:
    os.write(fd, content)
    with pytest.raises(ValueError, match="holds no ring"):
        Ring(fd)
