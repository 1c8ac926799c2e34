"""The host's own counters at one moment: processors, pressure, cgroup, swap, clocks and battery.

Each is read by itself: what a host does not tell is noted with the reason, and the others are read all the same.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_llmperf.measurement.host.state import RESOURCES
from pytest_llmperf.telemetry.sources.cgroups import find_cpu_cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
# Of the fields of a "cpu" line: user, nice, system, idle, iowait, irq, softirq, steal.
_BUSY, _STEAL = (0, 1, 2, 5, 6), 7


@dataclass(frozen=True)
class ProcessorTimes:
    """Seconds since the host started, added up over its processors: in use, and taken by the hypervisor."""

    processors: int
    busy: float
    steal: float
    total: float


@dataclass(frozen=True)
class Throttling:
    """Of a cgroup with a quota: its periods so far, those in which it was throttled, and for how many seconds."""

    periods: int
    throttled: int
    seconds: float


@dataclass(frozen=True)
class HostCounters:
    """All counters at ``at_ns``; None, or missing in a mapping, for the reason in ``unknown``.

    ``pressure`` and ``cgroup_pressure`` are in seconds; ``throttling`` is that of the cgroup or of one above it that
    was throttled most, by its folder. The others are as in ``HostState``.
    """

    at_ns: int
    processors: ProcessorTimes | None = None
    pressure: Mapping[str, float] = field(default_factory=dict)
    cgroup_pressure: Mapping[str, float] = field(default_factory=dict)
    throttling: Mapping[str, Throttling] = field(default_factory=dict)
    swapped_in_bytes: int | None = None
    frequency_limit: float | None = None
    thermal_throttles: int | None = None
    on_battery: bool | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)


class HostReader:
    """Reads the counters of this host. ``proc`` and ``sys`` are where the kernel shows them."""

    def __init__(self, proc: Path = Path("/proc"), sys: Path = Path("/sys")) -> None:
        self._proc = proc
        self._sys = sys
        self._unknown: dict[str, str] = {}

    def read(self, pid: int | None = None) -> HostCounters:
        """Reads all counters; those of a cgroup are of that of the process ``pid``, None for none."""
        self._unknown = {}
        cgroups = [] if pid is None else find_cpu_cgroups(pid, self._proc)
        return HostCounters(
            at_ns=time.monotonic_ns(),
            processors=self._try("processors", self._read_processors),
            pressure=self._read_pressures("pressure", self._proc / "pressure"),
            cgroup_pressure=self._read_cgroup_pressure(cgroups),
            throttling=self._read_throttling(cgroups),
            swapped_in_bytes=self._try("swapped_in_bytes", self._read_swapped_in),
            frequency_limit=self._try("frequency_limit", self._read_frequency_limit),
            thermal_throttles=self._try("thermal_throttles", self._read_thermal_throttles),
            on_battery=self._try("on_battery", self._read_battery),
            unknown=self._unknown,
        )

    def read_processors(self, pid: int | None = None) -> HostCounters:
        """Reads what changes from moment to moment: the processors' times, and the throttling of that cgroup."""
        self._unknown = {}
        return HostCounters(
            at_ns=time.monotonic_ns(),
            processors=self._try("processors", self._read_processors),
            throttling=self._read_throttling([] if pid is None else find_cpu_cgroups(pid, self._proc)),
            unknown=self._unknown,
        )

    def _try(self, name: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (OSError, ValueError, LookupError) as error:
            self._unknown[name] = _describe(error)
            return None

    def _read_processors(self) -> ProcessorTimes:
        lines = _read(self._proc / "stat").splitlines()
        each = [line.split() for line in lines if line.startswith("cpu")]
        fields = [int(number) / _TICKS for number in each[0][1:]]
        if len(each) < 2 or len(fields) <= _STEAL:
            raise ValueError(f"{self._proc / 'stat'} does not tell of processors")
        return ProcessorTimes(len(each) - 1, sum(fields[i] for i in _BUSY), fields[_STEAL], sum(fields[: _STEAL + 1]))

    def _read_pressures(self, name: str, folder: Path, end: str = "") -> dict[str, float]:
        found = {}
        for kind in RESOURCES:
            seconds = self._try(f"{name}.{kind}", partial(_read_pressure, folder / f"{kind}{end}"))
            if seconds is not None:
                found[kind] = seconds
        return found

    def _read_cgroup_pressure(self, cgroups: list[Path]) -> dict[str, float]:
        own = next((folder for folder in cgroups if (folder / "cpu.pressure").exists()), None)
        if own is None:
            self._unknown |= {f"cgroup_pressure.{kind}": "the cgroup does not tell of pressure" for kind in RESOURCES}
            return {}
        return self._read_pressures("cgroup_pressure", own, ".pressure")

    def _read_throttling(self, cgroups: list[Path]) -> dict[str, Throttling]:
        found = {}
        for folder in cgroups:
            one = self._try("throttling", partial(_read_throttling, folder / "cpu.stat"))
            if one is not None:
                found[str(folder)] = one
        if found:
            self._unknown.pop("throttling", None)
        else:
            self._unknown["throttling"] = "no cgroup of the engine tells of throttling"
        return found

    def _read_swapped_in(self) -> int:
        return _read_fields(self._proc / "vmstat")["pswpin"] * _PAGE

    def _read_frequency_limit(self) -> float:
        folders = [folder for cpu in self._list_processors() if (folder := cpu / "cpufreq").is_dir()]
        if not folders:
            raise LookupError("the host tells of no clocks")
        limits = [(_read(folder / "scaling_max_freq"), _read(folder / "cpuinfo_max_freq")) for folder in folders]
        return min(int(limit) / int(largest) for limit, largest in limits)

    def _read_thermal_throttles(self) -> int:
        files = [cpu / "thermal_throttle" / "core_throttle_count" for cpu in self._list_processors()]
        counts = [int(_read(file)) for file in files if file.exists()]
        if not counts:
            raise LookupError("the processors do not count it")
        return sum(counts)

    def _list_processors(self) -> Iterator[Path]:
        return (self._sys / "devices" / "system" / "cpu").glob("cpu[0-9]*")

    def _read_battery(self) -> bool:
        supplies = sorted((self._sys / "class" / "power_supply").iterdir())
        kinds = {supply: _read(supply / "type").strip() for supply in supplies}
        batteries = [supply for supply, kind in kinds.items() if kind == "Battery" and _is_for_host(supply)]
        if not batteries:
            raise LookupError("the host tells of no battery")
        return any(_read(supply / "status").strip() == "Discharging" for supply in batteries)


def _is_for_host(supply: Path) -> bool:
    """Whether a battery is that of the host, and not that of a mouse or a keyboard."""
    scope = supply / "scope"
    return not scope.exists() or _read(scope).strip() != "Device"


def _read_pressure(file: Path) -> float:
    """Seconds in which some task waited: the total of ``some avg10=0.00 avg60=0.00 avg300=0.00 total=1234``."""
    for line in _read(file).splitlines():
        kind, *fields = line.split()
        if kind == "some":
            return int(dict(one.split("=", 1) for one in fields)["total"]) / 1e6
    raise ValueError(f"{file} tells of no pressure")


def _read_throttling(file: Path) -> Throttling:
    fields = _read_fields(file)
    # Version 1 counts ns under another name.
    seconds = fields["throttled_usec"] / 1e6 if "throttled_usec" in fields else fields["throttled_time"] / 1e9
    return Throttling(fields["nr_periods"], fields["nr_throttled"], seconds)


def _read_fields(file: Path) -> dict[str, int]:
    """A file of lines with a name and a number."""
    pairs = (line.split() for line in _read(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _describe(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read: {error.strerror or error}"
    return f"it is not told ({error})" if isinstance(error, KeyError) else str(error)
