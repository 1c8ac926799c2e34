"""The host over a window: from its counters at the beginning and at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.host.state import HostState, ThreadTimes
from pytest_llmperf.telemetry.sources.host_counters import Throttling

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_llmperf.telemetry.sources.host_counters import HostCounters

Times = tuple[int, int] | None
"""What the threads of a branch have run and waited so far, in ns; None if that is not known."""


# Below it the ticks of the counters tell little of a share.
_SHORTEST_S = 0.1


def compare_counters(before: HostCounters, after: HostCounters, threads: ThreadTimes | None, why: str) -> HostState:
    """What the host did between two readings of its counters.

    Args:
        before: the counters at the beginning.
        after: those at the end.
        threads: the times of the engine's threads in between; None for the reason in ``why``.
        why: empty if they are known.
    """
    seconds = (after.at_ns - before.at_ns) / 1e9
    unknown = {**before.unknown, **after.unknown, **({} if threads else {"threads": why})}
    one, two = before.processors, after.processors
    is_known = one is not None and two is not None and two.total > one.total and seconds >= _SHORTEST_S
    if not is_known:
        unknown.setdefault("processors", f"the test was shorter than {_SHORTEST_S:g} s, or its clock ticks too seldom")
    throttled = _find_throttled(before.throttling, after.throttling)
    return HostState(
        seconds=seconds,
        threads=threads,
        processors=two.processors if two else None,
        busy_cores=(two.busy - one.busy) / seconds if is_known and one and two else None,
        steal=(two.steal - one.steal) / (two.total - one.total) if is_known and one and two else None,
        pressure=_compute_shares(before.pressure, after.pressure, seconds),
        cgroup_pressure=_compute_shares(before.cgroup_pressure, after.cgroup_pressure, seconds),
        throttled_periods=throttled.throttled / max(1, throttled.periods) if throttled else None,
        throttled_seconds=throttled.seconds if throttled else None,
        swapped_in_bytes=_subtract(before.swapped_in_bytes, after.swapped_in_bytes),
        frequency_limit=after.frequency_limit,
        thermal_throttles=_subtract(before.thermal_throttles, after.thermal_throttles),
        on_battery=after.on_battery,
        unknown=unknown,
    )


def subtract_times(before: Sequence[Times], after: Sequence[Times]) -> ThreadTimes | None:
    """What the threads of several branches did between two readings; None if one of these is not known."""
    ran = waited = 0
    for one, two in zip(before, after, strict=True):
        if one is None or two is None or two < one:  # a sampler that was started anew has counted from then on
            return None
        ran, waited = ran + two[0] - one[0], waited + two[1] - one[1]
    return ThreadTimes(ran / 1e9, waited / 1e9) if after else None


def _subtract(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _compute_shares(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    if seconds <= 0:
        return {}
    return {kind: min(1.0, (after[kind] - before[kind]) / seconds) for kind in before if kind in after}


def _find_throttled(before: Mapping[str, Throttling], after: Mapping[str, Throttling]) -> Throttling | None:
    """The cgroup that was throttled for the longest time in between; None if none tells of it."""
    found = [
        Throttling(two.periods - one.periods, two.throttled - one.throttled, two.seconds - one.seconds)
        for folder, two in after.items()
        if (one := before.get(folder)) is not None
    ]
    return max(found, key=lambda one: one.seconds, default=None)
