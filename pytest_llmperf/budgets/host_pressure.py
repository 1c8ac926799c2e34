"""Whether the host kept the engine from computing, so that its times and rates are not its own.

Three conditions must hold. The engine's threads were without a core for more than ``MOST_WAITED`` of the time in which
they wanted one. They waited for more than ``LEAST_LOST`` of the time in which a request was with the engine: a server
that sleeps most of the time loses little by waiting for most of the rest. And they waited for more than
``SHORTEST_WAIT_S``, some time slices of the system's scheduler, which an ordinary host also takes. Where others used
less than ``LEAST_OTHERS`` cores, and no quota or hypervisor took any, an engine waited for its own threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_llmperf.measurement.units import SECONDS, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_llmperf.measurement.host.state import HostState
    from pytest_llmperf.measurement.measurement import Measurement
    from pytest_llmperf.metrics.metric import Metric

MOST_WAITED = 0.2
LEAST_LOST = 0.1
SHORTEST_WAIT_S = 0.02
MOST_STOLEN = 0.1
LEAST_OTHERS = 0.1


def why_starved(measurement: Measurement) -> str:
    """Why the times and rates are not the engine's own, in one sentence; empty if they are, or it is not known."""
    parts = measurement.parts or (measurement,)
    return "; ".join(dict.fromkeys(filter(None, map(_why_one_starved, parts))))


def take_off_wait(value: float, metric: Metric, measurement: Measurement) -> float:
    """What the value would be at best had the engine got its cores at once, in the base unit of the metric.

    While a thread waits, the work of the engine may stand still: at most so much of its time was lost.
    """
    parts = measurement.parts or (measurement,)
    left = 1.0 - max((_find_lost(part.host, part.engine_seconds) for part in parts if part.host), default=0.0)
    if metric.better == "lower":
        return value * left
    return value / left if left > 0 else float("inf")


def _why_one_starved(measurement: Measurement) -> str:
    host = measurement.host
    if host is None:
        return ""
    waited = _is_starved(host, measurement.engine_seconds)
    stolen = host.steal is not None and host.steal > MOST_STOLEN
    if not (waited or stolen):
        return ""
    return "; ".join(_describe(host, measurement.label, waited=waited, stolen=stolen))


def _is_starved(host: HostState, engine_seconds: float) -> bool:
    if host.threads is None or host.threads.share_waited <= MOST_WAITED or _waited_for_itself(host):
        return False
    return host.threads.waited > max(SHORTEST_WAIT_S, LEAST_LOST * engine_seconds)


def _waited_for_itself(host: HostState) -> bool:
    """Whether nothing but the engine's own threads can have taken the cores: it has more of them than cores."""
    others = host.other_cores
    return others is not None and others < LEAST_OTHERS and not host.throttled_seconds and (host.steal or 0.0) < 0.01


def _find_lost(host: HostState, engine_seconds: float) -> float:
    """The largest share of the engine's time that may have been lost."""
    waited = host.threads.waited if host.threads is not None else 0.0
    lost = min(1.0, waited / engine_seconds) if engine_seconds > 0 else 0.0
    return 1.0 - (1.0 - lost) * (1.0 - (host.steal or 0.0))


def _describe(host: HostState, label: str, *, waited: bool, stolen: bool) -> Iterator[str]:
    if waited and host.threads is not None:
        others = host.other_cores
        used = "" if others is None else f"; others used {others:.1f} of {host.processors} cores"
        throttled = host.throttled_seconds
        held = f", and its cgroup was throttled for {format_value(throttled, SECONDS)}" if throttled else ""
        whose = f"{label}: " if label else ""
        yield f"{whose}the engine waited {_percent(host.threads.share_waited)} of its time for a core{used}{held}"
    if stolen and host.steal is not None:
        yield f"the hypervisor gave {_percent(host.steal)} of the host's processor time to other machines"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
