"""What the tests of the sampler ask and wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.helpers.waiting import until

if TYPE_CHECKING:
    from pytest_llmperf.telemetry.sampler.client import Sampler


def pid_of(sampler: Sampler) -> int:
    assert sampler.pid is not None
    return sampler.pid


def level(sampler: Sampler, *pids: int) -> int:
    value = sampler.level(pids)
    assert value is not None
    return value


def ticks(sampler: Sampler, count: int) -> None:
    """Wait until the sampler has gone on by so many ticks, whatever the load of the machine."""
    ring = sampler._require_child().ring
    for _ in range(count):
        last = ring.published_ns
        until(lambda last=last: ring.published_ns > last)  # type: ignore[misc]


def runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
