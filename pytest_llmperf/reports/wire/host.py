"""The host as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.host.state import RESOURCES
from pytest_llmperf.reports.wire.numbers import ROUGH, to_number

if TYPE_CHECKING:
    from pytest_llmperf.measurement.host.state import HostState


def host_to_wire(host: HostState, starved: str) -> dict[str, Any]:
    """What the host did over a window as plain data, of exact builtin types only; null for what is not known.

    ``starved`` says why it kept the engine from computing, and is empty if it did not.
    """
    threads = host.threads
    return {
        "seconds": to_number(host.seconds),
        "threads": None
        if threads is None
        else {
            "ran_s": to_number(threads.ran, ROUGH),
            "waited_s": to_number(threads.waited, ROUGH),
            "share_waited": to_number(threads.share_waited, ROUGH),
        },
        "processors": None if host.processors is None else int(host.processors),
        "busy_cores": to_number(host.busy_cores, ROUGH),
        "other_cores": to_number(host.other_cores, ROUGH),
        "steal": to_number(host.steal, ROUGH),
        "pressure": {kind: to_number(host.pressure.get(kind), ROUGH) for kind in RESOURCES},
        "cgroup_pressure": {kind: to_number(host.cgroup_pressure.get(kind), ROUGH) for kind in RESOURCES},
        "throttled_periods": to_number(host.throttled_periods, ROUGH),
        "throttled_s": to_number(host.throttled_seconds, ROUGH),
        "swapped_in_bytes": None if host.swapped_in_bytes is None else int(host.swapped_in_bytes),
        "frequency_limit": to_number(host.frequency_limit, ROUGH),
        "thermal_throttles": None if host.thermal_throttles is None else int(host.thermal_throttles),
        "on_battery": None if host.on_battery is None else bool(host.on_battery),
        "starved": str(starved),
        "unknown": {str(name): str(why) for name, why in host.unknown.items()},
    }
