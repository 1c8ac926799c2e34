"""A ring of fixed-size records in memory shared by two processes: one writes, the other reads, neither waits.

The writer fills the slots of a tick, then moves the head. A reader copies the records below the head and then leaves
out those that the writer may have overwritten meanwhile. All times are nanoseconds of ``time.monotonic_ns()``.
"""

from __future__ import annotations

import mmap
import os
import struct
from bisect import bisect_left, bisect_right
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CAPACITY = 2**20

# ------------------------------------------------------------------------------------------------- what a record is of
# ``key`` is that of a branch of processes for host memory (``key_of``), the number of a set of exporters for EXPORTERS,
# that of a page for PAGE and SERIES, else the slot of a device.
HOST = 0
"""Memory of a branch of processes: ``value`` bytes, ``detail`` the number of its processes."""
DEVICE_MEMORY = 1
"""Allocated memory of a device: ``value`` bytes."""
POWER = 2
"""Instant power: ``value`` mW."""
ENERGY = 3
"""Energy counter: ``value`` mJ since the driver was loaded."""
THROTTLE = 4
"""Time a device was slowed down: ``value`` ns since the driver was loaded, ``detail`` a bit of the event reasons."""
REASONS = 5
"""Why clocks are held back right now: ``value`` the bit mask of the event reasons."""
TEMPERATURE = 6
"""``value`` in °C of the GPU."""
MEMORY_TEMPERATURE = 7
"""``value`` in °C of the device's memory."""
SM_CLOCK = 8
"""``value`` in MHz."""
UTILIZATION = 9
"""``value`` in percent of the driver's last sample period in which a kernel ran."""
PROCESS = 10
"""A process on a device: ``value`` bytes (with KNOWN), ``detail`` its pid; with MATCHED or MAPPED one of an engine."""
ENGINE_SHARE = 11
"""What an engine's processes hold of a device: ``value`` bytes, ``detail`` the key of their branch."""
LISTED = 12
"""End of a list of processes: ``value`` the device's level while it was taken, ``detail`` how many there were."""
FAULT = 13
"""A source failed: ``value`` the number of the fault, ``detail`` the lane it was for."""
EXPORTERS = 14
"""In ``detail`` of a FAULT only: a set of exporters could not be read."""

PAGE = 15
"""One reading of a metrics page: ``value`` ns that it took. In ``detail`` of a FAULT: a page could not be read."""
SERIES = 16
"""A series of that reading, of the same time: ``value`` the bits of a number, its sum over the samples; ``detail`` its
place among those asked for, ``flags`` the number of samples."""

_PID_BITS = 22


def key_of(root: int, number: int) -> int:
    """The key of a part of the process tree under ``root``; part 0 is the whole tree, whose key is the root's pid."""
    return number << _PID_BITS | root


def pid_of(key: int) -> int:
    """The root's pid in the key of a part of its tree."""
    return key & (1 << _PID_BITS) - 1


def is_part(key: int) -> bool:
    """Whether it is the key of a part of a tree, not that of a whole one."""
    return key > pid_of(key)


# --------------------------------------------------------------------------------------------------------------- flags
GONE = 1
"""The root process has ended; the last record of its key."""
RSS_ONLY = 2
"""Shared pages are counted in full, because PSS could not be read for every process."""
KNOWN = 4
"""The driver states how much memory the process holds."""
MATCHED = 8
"""The pid is one of an engine's process tree."""
MAPPED = 16
"""The pid is one of an engine's process tree in another pid namespace (``NSpid``)."""
STEADY = 32
"""The device's level was the same before and after the list of its processes was taken."""
VISIBLE = 64
"""The process is visible here under this pid; without MATCHED or MAPPED it is certainly not an engine's."""
OURS = 256
"""The process belongs to this run but to no engine: pytest, a child of a test, an engine that is still starting."""
TICK = 128
"""The energy counter changed to this value at this time (between two reads a few milliseconds apart)."""

_MAGIC = b"llmperf\0"
_VERSION = 2
# Native order and alignment, so that each 8-byte field is stored at once and never seen half written.
_PREFIX = struct.Struct("@8sIIQ")
_WORD = struct.Struct("@Q")
_PAIR = struct.Struct("@QQ")
_RECORD = struct.Struct("@QqIIII")
_HEAD, _HEARTBEAT, _PERIOD, _COST, _CALLED = range(24, 64, 8)
_CALL = struct.Struct("@56s")
_CALL_AT = 64
_HEADER_SIZE = 128
_RECORD_SIZE = _RECORD.size
_pack_record, _pack_pair, _pack_word = _RECORD.pack_into, _PAIR.pack_into, _WORD.pack_into
# The writer fills a tick's slots before it moves the head, so readers leave out this share of the ring, the oldest.
_WRITERS_SHARE = 16


class RingRecord(NamedTuple):
    """One reading: ``t_ns`` of its tick, and ``value``, ``key`` and ``detail`` as its ``lane`` (a kind above) says."""

    t_ns: int
    value: int
    key: int
    detail: int = 0
    lane: int = HOST
    flags: int = 0


make_record: Callable[[tuple[int, int, int, int, int, int]], RingRecord] = partial(tuple.__new__, RingRecord)
"""Makes a record from its fields without the cost of calling ``RingRecord(...)``: for what is read at the full rate."""


def file_size(capacity: int = CAPACITY) -> int:
    """Size in bytes of the file behind a ring. The file is sparse: only written records take up memory."""
    return _HEADER_SIZE + capacity * _RECORD.size


class Ring:
    """A ring mapped from an open file. The caller keeps the file descriptor and may close it."""

    def __init__(self, fd: int) -> None:
        """Maps the ring that :meth:`create` laid out.

        Raises:
            ValueError: the file holds no ring of this version.
        """
        if os.fstat(fd).st_size < _HEADER_SIZE:
            raise ValueError("the file holds no ring")
        self._map = mmap.mmap(fd, 0)
        self.capacity: int
        magic, version, size, self.capacity = _PREFIX.unpack_from(self._map)
        if (magic, version, size) != (_MAGIC, _VERSION, _RECORD.size):
            self._map.close()
            raise ValueError("the file holds no ring of this version")
        self._head = self.head
        self._entered = ""

    @classmethod
    def create(cls, fd: int, capacity: int = CAPACITY) -> Ring:
        """Lays out an empty ring in an empty file and maps it."""
        os.ftruncate(fd, file_size(capacity))
        os.pwrite(fd, _PREFIX.pack(_MAGIC, _VERSION, _RECORD.size, capacity), 0)
        return cls(fd)

    def close(self) -> None:
        """Unmaps the ring. May be called twice."""
        self._map.close()

    # ------------------------------------------------------------------------------------------------ writing

    def publish(self, t_ns: int, records: Sequence[RingRecord]) -> None:
        """Adds the records of one tick, which readers see all at once, and sets :attr:`published_ns` to ``t_ns``."""
        # This runs right after a sleep, with cold caches, so fewer steps are faster than shorter ones.
        head = self._head
        for record in records:
            _pack_record(self._map, _HEADER_SIZE + head % self.capacity * _RECORD_SIZE, *record)
            head += 1
        self._head = head
        _pack_pair(self._map, _HEAD, head, t_ns)

    def set_pace(self, period_ns: int, cost_ns: int) -> None:
        """Sets the distance of ticks and the CPU time of one, both in ns."""
        _PAIR.pack_into(self._map, _PERIOD, period_ns, cost_ns)

    def enter(self, call: str, t_ns: int) -> None:
        """Notes that a call into a driver begins, so that the reader can name one that never returns."""
        if call != self._entered:
            self._entered = call
            _CALL.pack_into(self._map, _CALL_AT, call.encode())
        _pack_word(self._map, _CALLED, t_ns)

    def leave(self) -> None:
        """Notes that the call has returned."""
        _pack_word(self._map, _CALLED, 0)

    # ------------------------------------------------------------------------------------------------ reading

    @property
    def call(self) -> tuple[str, int]:
        """The call that has not returned yet, and the time in ns at which it began; ``("", 0)`` if there is none."""
        since = self._load(_CALLED)
        return (_CALL.unpack_from(self._map, _CALL_AT)[0].rstrip(b"\0").decode(), since) if since else ("", 0)

    @property
    def head(self) -> int:
        """The number of records published so far, overwritten ones included."""
        return self._load(_HEAD)

    @property
    def published_ns(self) -> int:
        """The time in ns up to which all ticks are published; 0 before the first. It rises while the writer runs."""
        return self._load(_HEARTBEAT)

    @property
    def period_ns(self) -> int:
        """The distance of ticks in ns."""
        return self._load(_PERIOD)

    @property
    def cost_ns(self) -> int:
        """The CPU time of a tick in ns."""
        return self._load(_COST)

    @property
    def oldest_ns(self) -> int:
        """The time in ns of the oldest record left; 0 while none has been overwritten."""
        oldest = self._oldest()
        return self._time(oldest) if oldest else 0

    def read(self, start_ns: int, end_ns: int) -> list[RingRecord]:
        """The records from ``start_ns`` to ``end_ns``, both included, without overwritten ones."""
        indices = range(self._oldest(), self.head)
        first = indices.start + bisect_left(indices, start_ns, key=self._time)
        stop = indices.start + bisect_right(indices, end_ns, key=self._time)
        records = self.slice(first, stop)
        return [record for record in records if start_ns <= record.t_ns <= end_ns]

    def slice(self, first: int, stop: int) -> list[RingRecord]:
        """The records number ``first`` to ``stop`` (excluded) of all published, without overwritten ones."""
        copies = [RingRecord(*_RECORD.unpack_from(self._map, self._offset(i))) for i in range(first, stop)]
        return copies[max(0, self._oldest() - first) :]

    def _oldest(self) -> int:
        return max(0, self.head - self.capacity + self.capacity // _WRITERS_SHARE)

    def _offset(self, index: int) -> int:
        return _HEADER_SIZE + index % self.capacity * _RECORD.size

    def _time(self, index: int) -> int:
        return self._load(self._offset(index))

    def _load(self, offset: int) -> int:
        (value,) = _WORD.unpack_from(self._map, offset)
        return int(value)
