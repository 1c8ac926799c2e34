"""The host in its wire form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.host.state import RESOURCES

if TYPE_CHECKING:
    from pytest_llmperf.measurement.host.state import HostState


def host_to_wire(host: HostState, starved: str) -> dict[str, Any]:
    """What the host did over a window as plain data, of exact builtin types only; null for what is not known.

    ``starved`` says why it kept the engine from computing, and is empty if it did not.
    """
    threads = host.threads
    return {
        "seconds": float(host.seconds),
        "threads": None
        if threads is None
        else {
            "ran_s": float(threads.ran),
            "waited_s": float(threads.waited),
            "share_waited": float(threads.share_waited),
        },
        "processors": None if host.processors is None else int(host.processors),
        "busy_cores": _number(host.busy_cores),
        "other_cores": _number(host.other_cores),
        "steal": _number(host.steal),
        "pressure": {kind: _number(host.pressure.get(kind)) for kind in RESOURCES},
        "cgroup_pressure": {kind: _number(host.cgroup_pressure.get(kind)) for kind in RESOURCES},
        "throttled_periods": _number(host.throttled_periods),
        "throttled_s": _number(host.throttled_seconds),
        "swapped_in_bytes": None if host.swapped_in_bytes is None else int(host.swapped_in_bytes),
        "frequency_limit": _number(host.frequency_limit),
        "thermal_throttles": None if host.thermal_throttles is None else int(host.thermal_throttles),
        "on_battery": None if host.on_battery is None else bool(host.on_battery),
        "starved": str(starved),
        "unknown": {str(name): str(why) for name, why in host.unknown.items()},
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
