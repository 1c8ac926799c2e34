"""The parts of a measurement, without what is usual in each and with rows of numbers in few characters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_llmperf.reports.compact.differences import fill_in, leave_out
from pytest_llmperf.reports.compact.numbers import read_counts, read_timeline, write_counts, write_timeline

Usual = Mapping[str, Mapping[str, Any]]

SHARED: dict[str, tuple[str, ...]] = {
    "host": ("processors", "steal", "frequency_limit", "on_battery", "unknown"),
    "memory": ("source",),
    "device_memory": ("source", "attribution"),
    "energy": ("idle_watts", "tick_s", "how", "reason"),
    "conditions": ("throttled_s", "unknown"),
}
"""What tests of one run mostly have alike, by the part of a measurement."""

_HOST = {"throttled_periods": 0, "throttled_s": 0, "swapped_in_bytes": 0, "thermal_throttles": 0}
_PRESSURE = {"memory": 0, "io": 0}
_MEMORY = {"attribution": "tree", "missing": ""}
_HISTOGRAM = {"step": 1, "zeros": 0}
_RATE = ("unit", "units", "effective", "noise")


@dataclass(frozen=True)
class Way:
    """How parts are changed: into what a file holds, or back.

    Attributes:
        change: leaves out what is usual, or fills it in.
        counts: those of a histogram.
        timeline: levels over time.
        rate: what tells the noise of a rate.
    """

    change: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]
    counts: Callable[[Any], Any]
    timeline: Callable[[Any], Any]
    rate: Callable[[Any], Any]

    def change_parts(self, measurement: Mapping[str, Any], usual: Usual) -> dict[str, Any]:
        """The measurement with each of its parts changed. ``usual`` is what most tests have alike, by part."""
        total = measurement.get("requests", {}).get("total")
        ways: dict[str, Callable[[Any], Any]] = {
            "window": lambda one: self.change(one, {"name": ""}),
            "requests": lambda one: self._requests(one, total),
            "distributions": lambda them: {key: self._distribution(one, total) for key, one in them.items()},
            "evidence": lambda them: {key: self.rate(one) for key, one in them.items()},
            "loads": lambda them: [self._load(one, total) for one in them],
            "host": lambda one: self._host(one, usual),
            "memory": lambda one: self._memory(one, {**_MEMORY, **usual.get("memory", {})}),
            "devices": lambda them: [self._device(one, usual) for one in them],
        }
        changed = {key: make(measurement[key]) for key, make in ways.items() if measurement.get(key)}
        return {**measurement, **changed}

    def _distribution(self, one: Mapping[str, Any], requests: Any) -> dict[str, Any]:
        histogram = self.change(one["histogram"], _HISTOGRAM)
        if "counts" in histogram:
            histogram["counts"] = self.counts(histogram["counts"])
        return self.change({**one, "histogram": histogram}, {"requests": requests})

    def _requests(self, requests: Mapping[str, Any], total: Any) -> dict[str, Any]:
        usual = {"failed": 0, "streamed": total, "short": {"answers": 0, "cut_off": 0}, "requests_left_out": 0}
        tokens = {"tokens": self.change(requests["tokens"], {"cached": 0})} if "tokens" in requests else {}
        return self.change({**requests, **tokens}, usual)

    def _load(self, load: Mapping[str, Any], total: Any) -> dict[str, Any]:
        changed = self.change(load, {"max_error_rate": 0, "full_answers": total})
        for key in ("prompt_tokens", "output_tokens"):
            tokens = changed.get(key) or {}
            if "asked" in tokens:
                tokens = self.change(tokens, {"came": tokens["asked"]})
                spreads = {
                    side: self.change(tokens[side], {"count": total}) for side in ("asked", "came") if side in tokens
                }
                changed[key] = {**tokens, **spreads}
        return changed

    def _host(self, host: Mapping[str, Any], usual: Usual) -> dict[str, Any]:
        pressures = {key: self.change(host[key], _PRESSURE) for key in ("pressure", "cgroup_pressure") if key in host}
        return self.change({**host, **pressures}, {**_HOST, **usual.get("host", {})})

    def _memory(self, memory: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
        timeline = {"timeline": self.timeline(memory["timeline"])} if "timeline" in memory else {}
        return self.change({**memory, **timeline}, usual)

    def _device(self, device: Mapping[str, Any], usual: Usual) -> dict[str, Any]:
        changed = {**device}
        if "memory" in device:
            changed["memory"] = self._memory(device["memory"], {"missing": "", **usual.get("device_memory", {})})
        for key in ("energy", "conditions"):
            if key in device:
                changed[key] = self.change(device[key], usual.get(key, {}))
        return changed


def _write_rate(evidence: Mapping[str, Any]) -> Any:
    """A rate as a list of ``_RATE``; what is kept of a sensor as it is."""
    return [evidence[key] for key in _RATE] if evidence.keys() == set(_RATE) else dict(evidence)


def _read_rate(written: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
    return dict(written) if isinstance(written, Mapping) else dict(zip(_RATE, written, strict=True))


WRITING = Way(leave_out, write_counts, write_timeline, _write_rate)
READING = Way(fill_in, read_counts, read_timeline, _read_rate)


def list_shared(measurement: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    """What a measurement, and that of each of its engines, has of a part in ``SHARED``."""
    devices = measurement.get("devices", ())
    match part:
        case "host" | "memory":
            own = [measurement[part]] if measurement.get(part) else []
        case "device_memory":
            own = [device["memory"] for device in devices if "memory" in device]
        case _:
            own = [device[part] for device in devices if part in device]
    return own + [found for one in measurement.get("parts", ()) for found in list_shared(one, part)]
