"""The host in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_llmperf.measurement.units import BYTES, SECONDS, format_value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def describe_host(host: Mapping[str, Any]) -> list[str]:
    """What the host did over a test, from its wire form, as two sentences; a third names what was out of the common."""
    found = [", ".join(_cores(host)), "; ".join(_pressure(host))]
    return [*found, *([", ".join(troubles)] if (troubles := list(_troubles(host))) else [])]


def _cores(host: Mapping[str, Any]) -> Iterator[str]:
    threads, others, busy = host["threads"], host["other_cores"], host["busy_cores"]
    if threads is None:
        yield f"how long the engine waited for a core is not known: {host['unknown'].get('threads', 'it was not read')}"
    else:
        ran, waited = (format_value(threads[key], SECONDS) for key in ("ran_s", "waited_s"))
        yield f"the engine ran for {ran} and waited {waited} for a core ({_percent(threads['share_waited'])})"
    if others is not None:
        yield f"others used {others:.1f} of {host['processors']} cores"
    elif busy is not None:
        yield f"{busy:.1f} of {host['processors']} cores were in use"
    yield f"steal {_percent(host['steal'])}"


def _pressure(host: Mapping[str, Any]) -> Iterator[str]:
    for name, words in (("pressure", "pressure of the host"), ("cgroup_pressure", "of the engine's cgroup")):
        known = {kind: share for kind, share in host[name].items() if share is not None}
        if known:
            yield f"{words}: " + ", ".join(f"{kind} {_percent(share)}" for kind, share in known.items())
        else:
            yield f"{words} not known"
    if host["throttled_s"] is None:
        yield "throttling not known"
    elif not host["throttled_s"]:
        yield "not throttled"
    else:
        periods = _percent(host["throttled_periods"])
        yield f"throttled for {format_value(host['throttled_s'], SECONDS)}, in {periods} of the periods"


def _troubles(host: Mapping[str, Any]) -> Iterator[str]:
    if host["swapped_in_bytes"]:
        yield f"{format_value(host['swapped_in_bytes'], BYTES)} read back from swap"
    if host["frequency_limit"] is not None and host["frequency_limit"] < 1:
        yield f"clocks limited to {_percent(host['frequency_limit'])} of their largest"
    if host["thermal_throttles"]:
        yield f"processors slowed down by their temperature {host['thermal_throttles']} times"
    if host["on_battery"]:
        yield "on battery"


def _percent(share: float | None) -> str:
    return "not known" if share is None else f"{100 * share:.0f} %"
